/*
 * The gateway between a fake agent and a fake provider, over real sockets: what passes, what is refused, what is recorded.
 */
#include "orchestrator/gateway/gateway.h"

#include <dlfcn.h>
#include <netdb.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "orchestrator/gateway/ledger.h"
#include "shared/model_request.h"
#include "tests/unit/orchestrator/gateway/gateway_stage.h"

/* --- what passes ----------------------------------------------------------------------------------------------------------------- */

static void bytes_are_handed_on_as_they_come(void)
{
    static const char first[] = DELTA("one"), both[] = DELTA("one") DELTA("two");
    static const char all[] = DELTA("one") DELTA("two") DONE;
    BEGIN({200, SSE, .body = DELTA("one") "|" DELTA("two") "|" DONE, .mode = REPLY_STEPS});
    attach();
    fake_agent_call(agent, "POST", "/v1/responses",
        TYPE ",\"cookie\":\"a=b\",\"authorization\":\"Bearer of-the-workspace\",\"accept-encoding\":\"gzip\"",
        REQUEST);
    fake_provider_open_gate(provider);
    ASSERT_TRUE(FAKE_AGENT_WAIT(agent, 0, u->body.len == sizeof(first) - 1));
    fake_provider_open_gate(provider);
    ASSERT_TRUE(FAKE_AGENT_WAIT(agent, 0, u->body.len == sizeof(both) - 1));
    fake_provider_open_gate(provider);
    fake_provider_open_gate(provider);
    ASSERT_TRUE(FAKE_AGENT_WAIT(agent, 0, u->whole));
    ASSERT_STR(body_of(0), all);
    ASSERT_INT(agent->uploads[0].status, 200);
    ASSERT_STR(agent->uploads[0].type, SSE);
    ASSERT_STR(provider->method, "POST");
    ASSERT_STR(provider->url, "/v1/responses");
    ASSERT_STR(provider->authorization, "Bearer " KEY);
    ASSERT_STR(provider->cookie, "");
    ASSERT_STR(provider->encoding, "");
    ASSERT_STR(provider->expect, "");
    ASSERT_STR(provider->type, "application/json");
    struct gateway_sums sums;
    cJSON *lines = end(&sums);
    ASSERT_INT(cJSON_GetArraySize(lines), 1);
    const cJSON *line = line_of(lines, 0);
    expect_digest(line, "reqSha256", REQUEST, sizeof(REQUEST) - 1);
    expect_digest(line, "respSha256", all, sizeof(all) - 1);
    ASSERT_INT(json_get_int(line, "status", -1), 200);
    ASSERT_INT(json_get_int(line, "attempt", -1), 1);
    ASSERT_TRUE(!json_get_bool(line, "cut", true));
    ASSERT_STR(json_get_str(line, "lane"), "main");
    ASSERT_INT(json_get_int(cJSON_GetObjectItem(line, "usage"), "inputTokens", 0), 100);
    ASSERT_INT(sums.calls, 1);
    ASSERT_INT(sums.usage.output, 20);
    ASSERT_INT(sums.cut, 0);
    cJSON_Delete(lines);
}

static void stream_is_opened_until_the_run_is_there(void)
{
    BEGIN({200, SSE, .body = DONE});
    agent->open = false;
    ask(REQUEST);
    attach();
    ASSERT_TRUE(FAKE_AGENT_WAIT(agent, 0, agent->refused >= 3));
    pthread_mutex_lock(&agent->lock);
    agent->open = true;
    pthread_mutex_unlock(&agent->lock);
    ASSERT_TRUE(FAKE_AGENT_WAIT(agent, 0, u->whole));
    cJSON_Delete(end(NULL));
}

static void model_is_mapped_and_both_names_recorded(void)
{
    static const char *const models[] = {"gpt-5.5", NULL}, *const from[] = {"gpt-5.5", NULL},
                             *const to[] = {"local-model", NULL};
    BEGIN({200, SSE, .body = DONE});
    spec.provider.models = models;
    spec.provider.map_from = from;
    spec.provider.map_to = to;
    attach();
    ask(REQUEST);
    ASSERT_TRUE(FAKE_AGENT_WAIT(agent, 0, u->whole));
    cJSON *sent = cJSON_Parse(buf_str(&provider->body));
    ASSERT_STR(json_get_str(sent, "model"), "local-model");
    ASSERT_TRUE(cJSON_IsFalse(cJSON_GetObjectItem(sent, "store")));
    cJSON_Delete(sent);
    struct model_route route;
    struct model_request doc;
    char full[80] = "sha256:", shape[80] = "sha256:";
    ASSERT_INT(model_route_of("POST", "/v1/responses", &route, NULL), 0);
    ASSERT_INT(model_request_parse(&route, REQUEST, sizeof(REQUEST) - 1, &doc, NULL), 0);
    ASSERT_INT(model_request_digests(&doc, full + 7, shape + 7, NULL), 0);
    model_request_done(&doc);
    cJSON *lines = end(NULL);
    const cJSON *line = line_of(lines, 0);
    ASSERT_STR(json_get_str(line, "model"), "gpt-5.5");
    ASSERT_STR(json_get_str(line, "modelSent"), "local-model");
    ASSERT_STR(json_get_str(line, "fullSha256"), full);
    ASSERT_STR(json_get_str(line, "shapeSha256"), shape);
    ASSERT_TRUE(cJSON_GetArraySize(cJSON_GetObjectItem(line, "parts")) == 3);
    cJSON_Delete(lines);
}

static void tool_calls_and_results_are_recorded(void)
{
    static const char call[] =
        "event: response.output_item.done\ndata: {\"type\":\"response.output_item.done\",\"output_index\":0,"
        "\"item\":{\"type\":\"function_call\",\"id\":\"fc_1\",\"call_id\":\"call_1\",\"name\":\"shell\","
        "\"arguments\":\"{\\\"command\\\":[\\\"bash\\\",\\\"-lc\\\",\\\"make test\\\"]}\"}}\n\n" DONE;
    BEGIN({200, SSE, .body = call}, {200, SSE, .body = DONE});
    spec.record = MODEL_RECORD_FULL;
    attach();
    ask(REQUEST);
    ASSERT_TRUE(FAKE_AGENT_WAIT(agent, 0, u->whole));
    ask("{\"model\":\"m\",\"stream\":true,\"input\":[{\"type\":\"function_call\",\"call_id\":\"call_1\","
        "\"name\":"
        "\"shell\",\"arguments\":\"{}\"},{\"type\":\"function_call_output\",\"call_id\":\"call_1\","
        "\"output\":"
        "\"Exit code: 3\\nWall time: 1 seconds\\nOutput:\\nfailed\\n\"}]}");
    ASSERT_TRUE(FAKE_AGENT_WAIT(agent, 1, u->whole));
    cJSON *lines = end(NULL);
    const cJSON *tool = cJSON_GetArrayItem(cJSON_GetObjectItem(line_of(lines, 0), "toolCalls"), 0);
    ASSERT_STR(json_get_str(tool, "id"), "call_1");
    ASSERT_STR(json_get_str(tool, "name"), "shell");
    expect_digest(tool, "commandSha256", "make test", 9);
    const cJSON *result = cJSON_GetArrayItem(cJSON_GetObjectItem(line_of(lines, 1), "toolResults"), 0);
    ASSERT_STR(json_get_str(result, "id"), "call_1");
    ASSERT_INT(json_get_int(result, "exitCode", -1), 3);
    expect_digest(result, "outputSha256", "failed\n", 7);
    ASSERT_STR(json_get_str(line_of(lines, 1), "lane"), "side");
    /* Blobs: the answer and each part, under their digests. */
    const cJSON *part;
    char path[300];
    struct buf blob;
    cJSON_ArrayForEach(part, cJSON_GetObjectItem(line_of(lines, 0), "parts"))
    {
        snprintf(path, sizeof(path), "%s/" AGENT_RUN "/blobs/sha256-%s", root, part->valuestring);
        ASSERT_INT(access(path, R_OK), 0);
    }
    snprintf(path, sizeof(path), "%s/" AGENT_RUN "/blobs/sha256-%s", root,
        json_get_str(line_of(lines, 0), "respBlob"));
    buf_init(&blob, 1u << 20);
    ASSERT_INT(file_read(path, &blob, NULL), 0);
    ASSERT_STR(buf_str(&blob), call);
    buf_done(&blob);
    cJSON_Delete(lines);
}

/* --- back-pressure and cuts -------------------------------------------------------------------------------------------------------- */

/* The largest buffer that the kernel gives to a socket: tcp_rmem or tcp_wmem. */
static size_t socket_buffer(const char *name)
{
    char path[64];
    size_t max = 0;
    snprintf(path, sizeof(path), "/proc/sys/net/ipv4/%s", name);
    FILE *f = fopen(path, "r");
    ASSERT_TRUE(f && fscanf(f, "%*u %*u %zu", &max) == 1);
    fclose(f);
    return max;
}

/* Wait until the provider gets rid of nothing any more: how much it sent. */
static uint64_t wait_for_standstill(void)
{
    uint64_t sent = 0, before;
    do {
        before = sent;
        usleep(300000);
        pthread_mutex_lock(&provider->lock);
        sent = provider->sent;
        pthread_mutex_unlock(&provider->lock);
    } while (sent != before);
    return sent;
}

static void slow_reader_stops_the_provider(void)
{
    /* What fits into two pairs of socket buffers and our 256 KiB, not the answer. */
    const size_t sockets = 2 * (socket_buffer("tcp_rmem") + socket_buffer("tcp_wmem")) + (1u << 20);
    const size_t flood = sockets + (16u << 20);
    const struct fake_reply reply = {
        200, "application/octet-stream", .body = "", .mode = REPLY_FLOOD, .flood = flood};
    begin(&reply, 1);
    attach();
    agent->uploads[0].hold = true;
    ask(REQUEST);
    ASSERT_TRUE(FAKE_AGENT_WAIT(agent, 0, u->begun));
    ASSERT_TRUE(wait_for_standstill() < sockets);
    pthread_mutex_lock(&agent->lock);
    agent->uploads[0].hold = false;
    pthread_cond_broadcast(&agent->changed);
    pthread_mutex_unlock(&agent->lock);
    ASSERT_TRUE(FAKE_AGENT_WAIT(agent, 0, u->whole));
    ASSERT_INT(agent->uploads[0].body.len, flood);
    bool same = true;
    for (size_t i = 0; i < flood; i++)
        same = same && agent->uploads[0].body.data[i] == fake_provider_pattern(i);
    ASSERT_TRUE(same);
    char digest[80] = "sha256:";
    sha256_hex_of(agent->uploads[0].body.data, flood, digest + 7);
    cJSON *lines = end(NULL);
    ASSERT_STR(json_get_str(line_of(lines, 0), "respSha256"), digest);
    cJSON_Delete(lines);
}

/* Next to no work in one of many stretches: a loop that is kept awake works in all of them, also on a busy machine. */
static bool falls_quiet(void)
{
    bool quiet = false;
    for (int i = 0; i < 50 && !quiet; i++) {
        double before = cpu_ms();
        usleep(400000);
        quiet = cpu_ms() - before < 10;
    }
    return quiet;
}

/* A connection that is not read must not keep the loop awake, not even when its other end is gone. */
static void paused_streams_cost_nothing(void)
{
    BEGIN({200, "application/octet-stream", .body = "", .mode = REPLY_FLOOD, .flood = 48 << 20});
    attach();
    agent->uploads[0].hold = true;
    ask(REQUEST);
    ASSERT_TRUE(FAKE_AGENT_WAIT(agent, 0, u->begun));
    wait_for_standstill();
    ASSERT_TRUE(falls_quiet());
    pthread_mutex_lock(&provider->lock);
    provider->stopping = true;
    pthread_mutex_unlock(&provider->lock);
    MHD_stop_daemon(provider->daemon);
    provider->daemon = NULL;
    ASSERT_TRUE(falls_quiet());
    pthread_mutex_lock(&agent->lock);
    agent->uploads[0].hold = false;
    pthread_cond_broadcast(&agent->changed);
    pthread_mutex_unlock(&agent->lock);
    ASSERT_TRUE(FAKE_AGENT_WAIT(agent, 0, u->cut));
    cJSON *lines = end(NULL);
    ASSERT_TRUE(json_get_bool(line_of(lines, 0), "cut", false));
    cJSON_Delete(lines);
}

#ifndef __SANITIZE_ADDRESS__ /* its allocator is not to be stood before */

static _Atomic bool short_of_memory;

/* In libc's place: large blocks can't be had. */
void *realloc(void *p, size_t size)
{
    typedef void *realloc_fn(void *, size_t);
    static _Atomic(realloc_fn *) next;
    if (!next) {
        realloc_fn *found;
        *(void **)&found = dlsym(RTLD_NEXT, "realloc");
        next = found;
    }
    return short_of_memory && size > 65536 ? NULL : next(p, size);
}

/* Waiting for room would be waiting for ever, and without rest. */
static void answer_that_finds_no_memory_is_cut(void)
{
    BEGIN({200, "application/octet-stream", .body = "", .mode = REPLY_FLOOD, .flood = 48 << 20});
    attach();
    agent->uploads[0].hold = true;
    short_of_memory = true;
    ask(REQUEST);
    ASSERT_TRUE(FAKE_PROVIDER_WAIT(provider, p->aborted == 1));
    short_of_memory = false;
    pthread_mutex_lock(&agent->lock);
    agent->uploads[0].hold = false;
    pthread_cond_broadcast(&agent->changed);
    pthread_mutex_unlock(&agent->lock);
    cJSON *lines = end(NULL);
    ASSERT_TRUE(json_get_bool(line_of(lines, 0), "cut", false));
    cJSON_Delete(lines);
}

#define MEMORY_TESTS TEST(answer_that_finds_no_memory_is_cut),
#else
#define MEMORY_TESTS
#endif

static void client_that_leaves_aborts_the_provider(void)
{
    BEGIN({200, SSE, .body = DELTA("one"), .mode = REPLY_BEAT});
    attach();
    ask(REQUEST);
    ASSERT_TRUE(FAKE_AGENT_WAIT(agent, 0, u->body.len > 0));
    fake_agent_gone(agent, 0);
    ASSERT_TRUE(FAKE_PROVIDER_WAIT(provider, p->aborted == 1));
    agent->uploads[1].leave = true;
    ask(REQUEST);
    ASSERT_TRUE(FAKE_PROVIDER_WAIT(provider, p->aborted == 2));
    struct gateway_sums sums;
    cJSON *lines = end(&sums);
    ASSERT_TRUE(json_get_bool(line_of(lines, 0), "cut", false));
    ASSERT_TRUE(json_get_bool(line_of(lines, 1), "cut", false));
    ASSERT_INT(sums.cut, 2);
    cJSON_Delete(lines);
}

static void client_that_leaves_behind_the_end_is_not_cut(void)
{
    BEGIN({200, SSE, .body = DELTA("one") DONE, .mode = REPLY_BEAT});
    attach();
    ask(REQUEST);
    ASSERT_TRUE(FAKE_AGENT_WAIT(agent, 0, strstr(buf_str(&u->body), DONE) != NULL));
    fake_agent_gone(agent, 0);
    ASSERT_TRUE(FAKE_PROVIDER_WAIT(provider, p->aborted == 1));
    cJSON *lines = end(NULL);
    ASSERT_TRUE(!json_get_bool(line_of(lines, 0), "cut", true));
    cJSON_Delete(lines);
}

static void provider_that_breaks_off_cuts_the_answer(void)
{
    static const char part[] = DELTA("one");
    BEGIN({200, SSE, .body = DELTA("one"), .mode = REPLY_CUT});
    attach();
    ask(REQUEST);
    ASSERT_TRUE(FAKE_AGENT_WAIT(agent, 0, u->cut));
    ASSERT_TRUE(!agent->uploads[0].whole);
    ASSERT_STR(body_of(0), part);
    ASSERT_INT(asked(), 1);
    cJSON *lines = end(NULL);
    ASSERT_TRUE(json_get_bool(line_of(lines, 0), "cut", false));
    expect_digest(line_of(lines, 0), "respSha256", part, sizeof(part) - 1);
    cJSON_Delete(lines);
}

static void detach_in_the_middle_cuts_and_records(void)
{
    BEGIN({200, SSE, .body = DELTA("one"), .mode = REPLY_BEAT});
    spec.limits.concurrent = 1;
    ask(REQUEST);
    ask(REQUEST);
    attach(); /* they come together: the second is known when the first is being answered */
    ASSERT_TRUE(FAKE_AGENT_WAIT(agent, 0, u->body.len > 0));
    struct gateway_sums sums;
    cJSON *lines = end(&sums);
    ASSERT_INT(cJSON_GetArraySize(lines), 2);
    ASSERT_TRUE(json_get_bool(line_of(lines, 0), "cut", false));
    ASSERT_INT(json_get_int(line_of(lines, 0), "status", -1), 200);
    /* The second waited for a place. */
    ASSERT_TRUE(json_get_bool(line_of(lines, 1), "cut", false));
    ASSERT_INT(json_get_int(line_of(lines, 1), "status", -1), 0);
    ASSERT_INT(sums.calls, 1);
    cJSON_Delete(lines);
}

/* --- retries ----------------------------------------------------------------------------------------------------------------------- */

static void retry_after_is_waited_for(void)
{
    BEGIN({429, "application/json", "1", .body = "{\"error\":\"slow down\"}"}, {200, SSE, .body = DONE});
    attach();
    ask(REQUEST);
    ASSERT_TRUE(FAKE_AGENT_WAIT(agent, 0, u->whole));
    ASSERT_INT(agent->uploads[0].status, 200);
    ASSERT_STR(body_of(0), DONE);
    ASSERT_TRUE(provider->at_ns[1] - provider->at_ns[0] >= 1000000000);
    struct gateway_sums sums;
    cJSON *lines = end(&sums);
    ASSERT_INT(cJSON_GetArraySize(lines), 2);
    ASSERT_INT(json_get_int(line_of(lines, 0), "status", -1), 429);
    ASSERT_INT(json_get_int(line_of(lines, 1), "status", -1), 200);
    ASSERT_INT(json_get_int(line_of(lines, 1), "attempt", -1), 2);
    ASSERT_INT(sums.calls, 1);
    ASSERT_INT(sums.retries, 1);
    cJSON_Delete(lines);
}

static void last_of_five_failures_is_handed_on(void)
{
    BEGIN({503, "application/json", "0", .body = "{\"error\":\"down\"}"});
    attach();
    ask(REQUEST);
    ASSERT_TRUE(FAKE_AGENT_WAIT(agent, 0, u->whole));
    ASSERT_INT(agent->uploads[0].status, 503);
    ASSERT_STR(agent->uploads[0].retry_after, "0");
    ASSERT_STR(body_of(0), "{\"error\":\"down\"}");
    ASSERT_INT(asked(), 5);
    cJSON *lines = end(NULL);
    ASSERT_INT(cJSON_GetArraySize(lines), 5);
    cJSON_Delete(lines);
}

static void provider_that_is_not_there_is_told(void)
{
    BEGIN({200, SSE, .body = DONE});
    char address[64];
    int fd = fake_bind(address);
    snprintf(base_url, sizeof(base_url), "http://%s", address);
    attach();
    ask(REQUEST);
    ASSERT_TRUE(FAKE_AGENT_WAIT(agent, 0, u->whole));
    ASSERT_INT(agent->uploads[0].status, 502);
    ASSERT_CONTAINS(body_of(0), "arp_provider_unavailable");
    ASSERT_TRUE(strstr(body_of(0), address) == NULL);
    cJSON *lines = end(NULL);
    ASSERT_INT(cJSON_GetArraySize(lines), 5);
    cJSON_Delete(lines);
    close(fd);
}

/* The name is judged when it was resolved: by its looks it may be anywhere. */
static void address_out_of_reach_is_not_called(void)
{
    static const struct {
        const char *host;
        enum config_reach reach;
        bool called;
    } cases[] = {{"127.0.0.1", CONFIG_REACH_PUBLIC, false}, {"localhost", CONFIG_REACH_PUBLIC, false},
        {"localhost", CONFIG_REACH_LOOPBACK, true}, {"localhost", CONFIG_REACH_ANY, true}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        BEGIN({200, SSE, .body = DONE});
        snprintf(base_url, sizeof(base_url), "http://%s%s", cases[i].host, strchr(provider->address, ':'));
        spec.provider.reach = cases[i].reach;
        attach();
        ask(REQUEST);
        ASSERT_TRUE(FAKE_AGENT_WAIT(agent, 0, u->whole));
        ASSERT_INT(agent->uploads[0].status, cases[i].called ? 200 : 502);
        ASSERT_INT(provider->connections, cases[i].called ? 1 : 0);
        cJSON *lines = end(NULL);
        ASSERT_INT(cJSON_GetArraySize(lines), 1); /* it is not tried again */
        cJSON_Delete(lines);
    }
}

static void hang_ends_at_the_deadline(void)
{
    BEGIN({200, SSE, .body = "", .mode = REPLY_NEVER});
    spec.limits.deadline_ms = 3000;
    attach();
    ask(REQUEST);
    ASSERT_TRUE(FAKE_AGENT_WAIT(agent, 0, u->whole));
    ASSERT_INT(agent->uploads[0].status, 400);
    ASSERT_CONTAINS(body_of(0), "arp_budget_exceeded");
    ask(REQUEST);
    ASSERT_TRUE(FAKE_AGENT_WAIT(agent, 1, u->whole));
    ASSERT_INT(agent->uploads[1].status, 400);
    ASSERT_INT(asked(), 1);
    cJSON *lines = end(NULL);
    ASSERT_STR(json_get_str(line_of(lines, 1), "refused"), "budget");
    cJSON_Delete(lines);
}

/* --- answers that are none ----------------------------------------------------------------------------------------------------------- */

static void redirect_is_not_followed(void)
{
    BEGIN({302, "text/html", .location = "http://127.0.0.1:1/elsewhere", .body = "moved"});
    spec.record = MODEL_RECORD_FULL;
    attach();
    ask(REQUEST);
    ASSERT_TRUE(FAKE_AGENT_WAIT(agent, 0, u->whole));
    ASSERT_INT(agent->uploads[0].status, 502);
    ASSERT_INT(asked(), 1);
    ASSERT_TRUE(strstr(body_of(0), "moved") == NULL);
    /* The record has what the client got. */
    char digest[80] = "sha256:";
    sha256_hex_of(body_of(0), agent->uploads[0].body.len, digest + 7);
    cJSON *lines = end(NULL);
    ASSERT_STR(json_get_str(line_of(lines, 0), "respSha256"), digest);
    ASSERT_STR(json_get_str(line_of(lines, 0), "refused"), "provider");
    ASSERT_TRUE(cJSON_IsNull(cJSON_GetObjectItem(line_of(lines, 0), "respBlob")));
    cJSON_Delete(lines);
}

static void refused_key_is_told_without_the_providers_words(void)
{
    BEGIN({401, "application/json", .body = "{\"error\":\"Incorrect API key: " KEY "\"}"});
    attach();
    ask(REQUEST);
    ASSERT_TRUE(FAKE_AGENT_WAIT(agent, 0, u->whole));
    ASSERT_INT(agent->uploads[0].status, 400);
    ASSERT_CONTAINS(body_of(0), "arp_provider_key");
    ASSERT_TRUE(strstr(body_of(0), KEY) == NULL);
    ASSERT_INT(asked(), 1);
    cJSON_Delete(end(NULL));
}

static void *garbage_server(void *arg)
{
    static const char garbage[] = "SSH-2.0-OpenSSH_9.2\r\n\r\n\x01\x02";
    int fd = *(int *)arg;
    for (int c; (c = accept(fd, NULL, NULL)) >= 0; close(c)) {
        char request[4096];
        if (recv(c, request, sizeof(request), 0) > 0)
            (void)!write(c, garbage, sizeof(garbage) - 1);
    }
    return NULL;
}

static void garbage_is_no_answer(void)
{
    BEGIN({200, SSE, .body = DONE});
    char address[64];
    int fd = fake_listen(address);
    pthread_t thread;
    ASSERT_INT(pthread_create(&thread, NULL, garbage_server, &fd), 0);
    snprintf(base_url, sizeof(base_url), "http://%s/v1", address);
    attach();
    ask(REQUEST);
    ASSERT_TRUE(FAKE_AGENT_WAIT(agent, 0, u->whole));
    ASSERT_INT(agent->uploads[0].status, 502);
    ASSERT_TRUE(strstr(body_of(0), "SSH") == NULL);
    cJSON_Delete(end(NULL));
    shutdown(fd, SHUT_RDWR);
    pthread_join(thread, NULL);
    close(fd);
}

/* --- what is refused ------------------------------------------------------------------------------------------------------------------- */

static void refusals_make_no_connection(void)
{
    static const char *const models[] = {"gpt-5.5", NULL};
    BEGIN({200, SSE, .body = DONE});
    spec.provider.models = models;
    attach();
    expect_refusal(ask("{\"model\":\"gpt-5.5\",\"input\":\"x\",\"tools\":[{\"type\":\"web_search\"}]}"), 400,
        "arp_hosted_tool");
    expect_refusal(ask("{\"model\":\"gpt-6\",\"input\":\"x\"}"), 403, "arp_model_not_allowed");
    expect_refusal(
        ask("{\"model\":\"gpt-5.5\",\"input\":\"x\",\"previous_response_id\":\"r1\"}"), 400, "arp_policy");
    expect_refusal(ask("no JSON"), 400, "arp_policy");
    expect_refusal(fake_agent_call(agent, "POST", "/v1/files", TYPE, "{}"), 403, "arp_policy");
    expect_refusal(fake_agent_call(agent, "DELETE", "/v1/responses", TYPE, "{}"), 403, "arp_policy");
    expect_refusal(fake_agent_call(agent, "POST", "/v1/messages", TYPE,
                       "{\"model\":\"gpt-6\",\"max_tokens\":1,\"messages\":[]}"),
        403, "{\"type\":\"error\",\"error\":{\"type\":\"permission_error\"");
    ASSERT_INT(provider->connections, 0);
    struct gateway_sums sums;
    cJSON *lines = end(&sums);
    ASSERT_INT(cJSON_GetArraySize(lines), 7);
    ASSERT_STR(json_get_str(line_of(lines, 0), "refused"), "hosted_tool");
    ASSERT_STR(json_get_str(line_of(lines, 1), "refused"), "model");
    ASSERT_INT(sums.refused, 7);
    ASSERT_INT(sums.calls, 0);
    cJSON_Delete(lines);
}

/* Or a line could be longer than what a full ledger has room for. */
static void long_path_is_recorded_by_its_start(void)
{
    BEGIN({200, SSE, .body = DONE});
    attach();
    char path[9000], want[513] = "";
    memset(path, 'a', sizeof(path) - 1);
    path[0] = '/';
    path[sizeof(path) - 1] = '\0';
    memcpy(want, path, sizeof(want) - 1);
    fake_agent_call(agent, path + 1, path, TYPE, "{}");
    expect_refusal(0, 403, "arp_policy");
    ask(REQUEST);
    ASSERT_TRUE(FAKE_AGENT_WAIT(agent, 1, u->whole));
    cJSON *lines = end(NULL);
    ASSERT_STR(json_get_str(line_of(lines, 0), "path"), want);
    ASSERT_STR(json_get_str(line_of(lines, 0), "method"), "aaaaaaaaaaaaaaaa");
    ASSERT_STR(json_get_str(line_of(lines, 1), "path"), "/v1/responses");
    cJSON_Delete(lines);
}

static void body_over_the_limit_is_refused(void)
{
    BEGIN({200, SSE, .body = DONE});
    attach();
    char *large = malloc(MODEL_REQUEST_MAX + 2);
    ASSERT_TRUE(large != NULL);
    memset(large, ' ', MODEL_REQUEST_MAX + 1);
    large[MODEL_REQUEST_MAX + 1] = '\0';
    expect_refusal(ask(large), 400, "arp_policy");
    free(large);
    ask(REQUEST);
    ASSERT_TRUE(FAKE_AGENT_WAIT(agent, 1, u->whole));
    ASSERT_INT(agent->uploads[1].status, 200);
    cJSON *lines = end(NULL);
    ASSERT_TRUE(cJSON_IsNull(cJSON_GetObjectItem(line_of(lines, 0), "reqSha256")));
    cJSON_Delete(lines);
}

static void metrics_tell_what_happened(void)
{
    struct buf text;
    BEGIN({200, SSE, .body = DONE});
    struct metrics *all = metrics, *own = metrics_new();
    gateway_stop(gateway);
    ASSERT_INT(gateway_start(own, &gateway, NULL), 0);
    attach();
    ask(REQUEST);
    ASSERT_TRUE(FAKE_AGENT_WAIT(agent, 0, u->whole));
    expect_refusal(ask("no JSON"), 400, "arp_policy");
    cJSON_Delete(end(NULL));
    buf_init(&text, 1u << 20);
    ASSERT_INT(metrics_render(own, &text, NULL), 0);
    static const char *const lines[] = {"arp_model_calls_total{dialect=\"responses\",outcome=\"ok\"} 1\n",
        "arp_model_calls_total{dialect=\"responses\",outcome=\"refused\"} 1\n",
        "arp_model_refused_total{reason=\"policy\"} 1\n", "arp_model_tokens_total{kind=\"input\"} 100\n",
        "arp_model_tokens_total{kind=\"reasoning\"} 5\n", "arp_model_retries_total 0\n",
        "arp_model_call_seconds_count 2\n"};
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        if (!strstr(buf_str(&text), lines[i]))
            printf("missing: %s", lines[i]);
        ASSERT_TRUE(strstr(buf_str(&text), lines[i]) != NULL);
    }
    buf_done(&text);
    gateway_stop(gateway);
    metrics_free(own);
    ASSERT_INT(gateway_start(all, &gateway, NULL), 0);
}

static void many_values_are_refused(void)
{
    BEGIN({200, SSE, .body = DONE});
    attach();
    struct buf body;
    buf_init(&body, 8u << 20);
    buf_append_str(&body, "{\"model\":\"m\",\"input\":[0");
    for (int i = 0; i < 500001; i++)
        buf_append_str(&body, ",0");
    buf_append_str(&body, "]}");
    expect_refusal(ask(buf_str(&body)), 400, "values");
    /* Commas in texts are no values. */
    buf_reset(&body);
    buf_append_str(&body, "{\"model\":\"m\",\"input\":\"\\\"");
    for (int i = 0; i < 500001; i++)
        buf_append_str(&body, ",0");
    buf_append_str(&body, "\"}");
    ask(buf_str(&body));
    ASSERT_TRUE(FAKE_AGENT_WAIT(agent, 1, u->whole));
    ASSERT_INT(agent->uploads[1].status, 200);
    buf_done(&body);
    cJSON_Delete(end(NULL));
}

static void calls_wait_for_a_place(void)
{
    BEGIN({200, SSE, .body = DELTA("one") "|" DONE, .mode = REPLY_STEPS});
    spec.limits.concurrent = 2;
    attach();
    for (int i = 0; i < 4; i++)
        ask(REQUEST);
    fake_provider_open_gate(provider);
    ASSERT_TRUE(FAKE_AGENT_WAIT(agent, 0, u->body.len > 0));
    ASSERT_TRUE(FAKE_AGENT_WAIT(agent, 1, u->body.len > 0));
    usleep(100000);
    ASSERT_INT(asked(), 2);
    fake_agent_gone(agent, 2); /* while it waits */
    wait_for_lines(1);
    fake_provider_open_gate(provider);
    fake_provider_open_gate(provider);
    for (uint64_t i = 0; i < 4; i++)
        ASSERT_TRUE(i == 2 || FAKE_AGENT_WAIT(agent, i, u->whole));
    ASSERT_INT(asked(), 3);
    struct gateway_sums sums;
    cJSON *lines = end(&sums);
    ASSERT_INT(cJSON_GetArraySize(lines), 4);
    ASSERT_INT(sums.calls, 3);
    ASSERT_INT(sums.cut, 1);
    cJSON_Delete(lines);
}

static int day_used(void *ctx, uint64_t *ret_calls, uint64_t *ret_tokens, struct arp_err *err)
{
    (void)err;
    *ret_calls = ((uint64_t *)ctx)[0];
    *ret_tokens = ((uint64_t *)ctx)[1];
    return 0;
}

static void day_add(void *ctx, uint64_t calls, const struct model_usage *usage)
{
    ((uint64_t *)ctx)[0] += calls;
    ((uint64_t *)ctx)[1] += usage->input + usage->output;
}

static void budget_is_sticky(void)
{
    uint64_t day[2] = {0, 0};
    BEGIN({200, SSE, .body = DONE});
    spec.limits.tokens_per_run = 150;
    spec.limits.tokens_per_day = 1000000;
    spec.day = (struct gateway_day){day_used, day_add, day};
    attach();
    for (uint64_t i = 0; i < 2; i++) {
        ask(REQUEST);
        ASSERT_TRUE(FAKE_AGENT_WAIT(agent, i, u->whole));
        ASSERT_INT(agent->uploads[i].status, 200);
    }
    expect_refusal(ask(REQUEST), 400, "arp_budget_exceeded");
    expect_refusal(ask(REQUEST), 400, "arp_budget_exceeded");
    ASSERT_INT(asked(), 2);
    cJSON_Delete(end(NULL));
    ASSERT_INT(day[0], 2);
    ASSERT_INT(day[1], 240);
}

/* Nor is a budget gone round by leaving: not before the first byte, not before the last number. */
static void what_is_left_early_counts(void)
{
    static const char start[] =
        "data: {\"type\":\"message_start\",\"message\":{\"id\":\"m\",\"usage\":{\"input_tokens\":9,"
        "\"output_tokens\":1}}}\n\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":"
        "\"text_delta\",\"text\":\"0123456789012345678901234567890123456789\"}}\n\n";
    uint64_t day[2] = {0, 0};
    BEGIN({200, SSE, .body = start, .mode = REPLY_BEAT}, {200, SSE, .body = "", .mode = REPLY_NEVER});
    spec.day = (struct gateway_day){day_used, day_add, day};
    attach();
    fake_agent_call(agent, "POST", "/v1/messages", TYPE,
        "{\"model\":\"m\",\"stream\":true,\"max_tokens\":100,\"messages\":[]}");
    ASSERT_TRUE(FAKE_AGENT_WAIT(agent, 0, u->body.len >= sizeof(start) - 1));
    fake_agent_gone(agent, 0);
    ASSERT_TRUE(FAKE_PROVIDER_WAIT(provider, p->aborted == 1));
    ask(REQUEST);
    ASSERT_TRUE(FAKE_PROVIDER_WAIT(provider, p->requests == 2));
    fake_agent_gone(agent, 1);
    cJSON_Delete(end(NULL));
    ASSERT_INT(day[0], 2);
    ASSERT_INT(day[1], 9 + 10 + (sizeof(REQUEST) - 1) / 4);
}

static void nonsense_from_the_agent_ends_the_stream_only(void)
{
    BEGIN({200, SSE, .body = DELTA("one") "|" DONE, .mode = REPLY_STEPS});
    attach();
    ask(REQUEST);
    fake_provider_open_gate(provider);
    ASSERT_TRUE(FAKE_AGENT_WAIT(agent, 0, u->body.len > 0));
    fake_agent_send(agent, "nonsense\n", 9);
    ask(REQUEST);
    fake_provider_open_gate(provider);
    fake_provider_open_gate(provider);
    ASSERT_TRUE(FAKE_AGENT_WAIT(agent, 0, u->whole));
    ASSERT_TRUE(!agent->uploads[1].begun);
    cJSON *lines = end(NULL);
    ASSERT_INT(cJSON_GetArraySize(lines), 1);
    cJSON_Delete(lines);
}

static void calls_that_cannot_be_recorded_are_not_made(void)
{
    BEGIN({200, SSE, .body = DONE});
    attach();
    struct rlimit was;
    ASSERT_INT(getrlimit(RLIMIT_FSIZE, &was), 0);
    signal(SIGXFSZ, SIG_IGN);
    struct rlimit small = {100, was.rlim_max};
    setrlimit(RLIMIT_FSIZE, &small);
    ask(REQUEST);
    bool first = FAKE_AGENT_WAIT(agent, 0, u->whole);
    usleep(50000); /* the line is written behind the answer */
    ask(REQUEST);
    bool second = FAKE_AGENT_WAIT(agent, 1, u->whole);
    setrlimit(RLIMIT_FSIZE, &was);
    ASSERT_TRUE(first && second);
    ASSERT_INT(agent->uploads[1].status, 503);
    ASSERT_CONTAINS(body_of(1), "arp_unavailable");
    ASSERT_INT(asked(), 1);
    cJSON_Delete(end(NULL));
}

static void base_url_and_key_are_checked(void)
{
    struct arp_err err;
    BEGIN({200, SSE, .body = DONE});
    spec.provider.base_url = "http://192.0.2.1/v1";
    ASSERT_INT(gateway_attach(gateway, &spec, &run, &err), ARP_E_INVALID);
    ASSERT_TRUE(strstr(err.msg, KEY) == NULL);
    spec.provider.base_url = base_url;
    spec.provider.key = KEY "\r\nx-other: y";
    ASSERT_INT(gateway_attach(gateway, &spec, &run, &err), ARP_E_INVALID);
    ASSERT_TRUE(strstr(err.msg, KEY) == NULL);
    spec.provider.key = KEY;
    attach();
    cJSON_Delete(end(NULL));
}

#define SLOW_NAME "slow.invalid"

static _Atomic bool looking_up;

/* In libcurl's place: a name server that lets a name hang. */
int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **ret)
{
    typedef int lookup_fn(const char *, const char *, const struct addrinfo *, struct addrinfo **);
    lookup_fn *next = NULL;
    *(void **)&next = dlsym(RTLD_NEXT, "getaddrinfo");
    if (!node || strcmp(node, SLOW_NAME) != 0)
        return next(node, service, hints, ret);
    looking_up = true;
    sleep(10);
    return EAI_AGAIN;
}

static void name_that_hangs_holds_nobody_up(void)
{
    BEGIN({200, SSE, .body = DONE});
    spec.provider.base_url = "http://" SLOW_NAME "/v1";
    spec.provider.reach = CONFIG_REACH_ANY;
    attach();
    ask(REQUEST);
    for (int i = 0; i < 1000 && !looking_up; i++)
        usleep(10000);
    ASSERT_TRUE(looking_up);
    int64_t from = clock_mono_ns();
    cJSON *lines = end(NULL);
    ASSERT_TRUE(clock_mono_ns() - from < 5000000000);
    ASSERT_INT(cJSON_GetArraySize(lines), 1);
    cJSON_Delete(lines);
}

/* --- many ------------------------------------------------------------------------------------------------------------------------------ */

static void two_hundred_streams_at_once(void)
{
    enum { STREAMS = 200 };
    BEGIN({200, SSE, .body = DELTA("one") "|" DONE, .mode = REPLY_STEPS});
    attach();
    for (int i = 0; i < STREAMS; i++)
        ask(REQUEST);
    fake_provider_open_gate(provider);
    for (int i = 0; i < STREAMS; i++)
        ASSERT_TRUE(FAKE_AGENT_WAIT(agent, i, u->body.len == strlen(DELTA("one"))));
    ASSERT_INT(asked(), STREAMS);
    fake_provider_open_gate(provider);
    fake_provider_open_gate(provider);
    for (int i = 0; i < STREAMS; i++) {
        ASSERT_TRUE(FAKE_AGENT_WAIT(agent, i, u->whole));
        ASSERT_STR(body_of((uint64_t)i), DELTA("one") DONE);
    }
    struct gateway_sums sums;
    cJSON *lines = end(&sums);
    ASSERT_INT(cJSON_GetArraySize(lines), STREAMS);
    ASSERT_INT(sums.calls, STREAMS);
    ASSERT_INT(sums.cut, 0);
    ASSERT_INT(sums.usage.input, STREAMS * 100);
    cJSON_Delete(lines);
}

TEST_SUITE_WITH(gateway_test, set_up, tear_down, TEST(bytes_are_handed_on_as_they_come),
    TEST(stream_is_opened_until_the_run_is_there), TEST(model_is_mapped_and_both_names_recorded),
    TEST(tool_calls_and_results_are_recorded), TEST(slow_reader_stops_the_provider),
    TEST(paused_streams_cost_nothing), TEST(client_that_leaves_aborts_the_provider),
    TEST(client_that_leaves_behind_the_end_is_not_cut), TEST(provider_that_breaks_off_cuts_the_answer),
    TEST(detach_in_the_middle_cuts_and_records), TEST(retry_after_is_waited_for),
    TEST(last_of_five_failures_is_handed_on), TEST(provider_that_is_not_there_is_told),
    TEST(address_out_of_reach_is_not_called), TEST(hang_ends_at_the_deadline), TEST(redirect_is_not_followed),
    TEST(refused_key_is_told_without_the_providers_words), TEST(garbage_is_no_answer),
    TEST(refusals_make_no_connection), TEST(long_path_is_recorded_by_its_start),
    TEST(body_over_the_limit_is_refused), TEST(budget_is_sticky), TEST(what_is_left_early_counts),
    TEST(metrics_tell_what_happened), TEST(many_values_are_refused), TEST(calls_wait_for_a_place),
    TEST(nonsense_from_the_agent_ends_the_stream_only), TEST(calls_that_cannot_be_recorded_are_not_made),
    TEST(base_url_and_key_are_checked), MEMORY_TESTS TEST(name_that_hangs_holds_nobody_up),
    TEST(two_hundred_streams_at_once))
