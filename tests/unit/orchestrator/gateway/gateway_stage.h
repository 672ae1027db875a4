/*
 * The stage of the gateway's tests: a gateway between a fake agent and a fake provider, over real sockets. Header-only: its names are the test
 * program's own.
 */
#ifndef ARP_TESTS_GATEWAY_STAGE_H
#define ARP_TESTS_GATEWAY_STAGE_H

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "orchestrator/gateway/gateway.h"
#include "shared/chain.h"
#include "shared/fd.h"
#include "tests/support/fake_agent.h"
#include "tests/support/fake_provider.h"
#include "tests/support/process.h"
#include "tests/support/suite.h"

#define KEY "sk-secret-key-of-the-tenant"
#define REQUEST                                                                                              \
    "{\"model\":\"gpt-5.5\",\"stream\":true,\"input\":[{\"type\":\"message\",\"role\":\"user\",\"content\":" \
    "\"hi\"}],\"tools\":[{\"type\":\"function\",\"name\":\"shell\",\"parameters\":{}}]}"
#define TYPE "\"content-type\":\"application/json\""
#define DONE                                                                                                 \
    "event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{\"id\":\"r1\","         \
    "\"status\":\"completed\",\"output\":[],\"usage\":{\"input_tokens\":100,\"input_tokens_details\":"       \
    "{\"cached_tokens\":40},\"output_tokens\":20,\"output_tokens_details\":{\"reasoning_tokens\":5},"        \
    "\"total_tokens\":120}}}\n\n"
#define DELTA(text)                                                                                          \
    "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"delta\":\"" text    \
    "\"}\n\n"
#define SSE "text/event-stream"

static struct metrics *metrics;
static struct gateway *gateway;
static struct fake_agent *agent;
static struct fake_provider *provider;
static struct gateway_spec spec;
static struct gateway_run *run;
static char base_url[128];
static char root[128];
static unsigned roots;

static inline int set_up(void)
{
    metrics = metrics_new();
    return gateway_start(metrics, &gateway, NULL);
}

static inline int tear_down(void)
{
    gateway_stop(gateway);
    metrics_free(metrics);
    return 0;
}

/* Start both fakes and fill spec; the test may change it before attach(). */
static inline void begin(const struct fake_reply *replies, size_t n)
{
    agent = fake_agent_start();
    provider = fake_provider_start(replies, n);
    snprintf(base_url, sizeof(base_url), "http://%s/v1", provider->address);
    snprintf(root, sizeof(root), "%s/ledger-%u", temp_dir(), roots++);
    spec = (struct gateway_spec){.record = MODEL_RECORD_DIGEST, .ledger_root = root};
    snprintf(spec.target.address, sizeof(spec.target.address), "%s", agent->address);
    memcpy(spec.target.token, AGENT_TOKEN, sizeof(AGENT_TOKEN));
    memcpy(spec.run_id, AGENT_RUN, sizeof(AGENT_RUN));
    spec.provider = (struct gateway_provider){.name = "fake",
        .base_url = base_url,
        .key = KEY,
        .auth = MODEL_AUTH_BEARER,
        .reach = CONFIG_REACH_LOOPBACK};
}
#define BEGIN(...)                                                                                           \
    static const struct fake_reply replies_[] = {__VA_ARGS__};                                               \
    begin(replies_, sizeof(replies_) / sizeof(replies_[0]))

static inline void attach(void)
{
    struct arp_err err = {0};
    if (gateway_attach(gateway, &spec, &run, &err) != 0)
        printf("attach: %s\n", err.msg);
    ASSERT_TRUE(run != NULL);
}

/* Detach; what the ledger says, one object per line, its chain verified. */
static inline cJSON *end(struct gateway_sums *ret_sums)
{
    struct gateway_sums sums;
    char path[256];
    struct buf text;
    struct chain chain;
    cJSON *lines = cJSON_CreateArray();
    gateway_detach(run, ret_sums ? ret_sums : &sums);
    run = NULL;
    fake_agent_stop(agent);
    fake_provider_stop(provider);
    snprintf(path, sizeof(path), "%s/" AGENT_RUN "/model_log.jsonl", root);
    buf_init(&text, 64u << 20);
    ASSERT_INT(file_read(path, &text, NULL), 0);
    ASSERT_TRUE(strstr(buf_str(&text), KEY) == NULL);
    chain_init(&chain, AGENT_RUN, "model_log.jsonl");
    for (const char *at = buf_str(&text); *at;) {
        size_t n = strcspn(at, "\n");
        cJSON *line = NULL;
        ASSERT_INT(json_parse(at, n, &line, NULL), 0);
        ASSERT_INT(chain_accept(&chain, at, n, line, NULL), 0);
        ASSERT_STR(json_get_str(line, "runId"), AGENT_RUN);
        ASSERT_STR(json_get_str(line, "type"), "model_call");
        cJSON_AddItemToArray(lines, line);
        at += n + 1;
    }
    buf_done(&text);
    return lines;
}

static inline const cJSON *line_of(const cJSON *lines, int i)
{
    const cJSON *line = cJSON_GetArrayItem(lines, i);
    ASSERT_TRUE(line != NULL);
    return line;
}

/* Until the ledger has n lines. */
static inline void wait_for_lines(int n)
{
    char path[256];
    int lines = 0;
    snprintf(path, sizeof(path), "%s/" AGENT_RUN "/model_log.jsonl", root);
    for (int waited = 0; lines < n && waited < AGENT_WAIT_MS; waited += 10) {
        struct buf text;
        usleep(10000);
        buf_init(&text, 64u << 20);
        ASSERT_INT(file_read(path, &text, NULL), 0);
        lines = 0;
        for (const char *at = buf_str(&text); (at = strchr(at, '\n')) != NULL; at++)
            lines++;
        buf_done(&text);
    }
    ASSERT_INT(lines, n);
}

static inline void expect_digest(const cJSON *line, const char *member, const char *bytes, size_t len)
{
    char want[80] = "sha256:";
    sha256_hex_of(bytes, len, want + 7);
    ASSERT_STR(json_get_str(line, member), want);
}

static inline uint64_t ask(const char *body)
{
    return fake_agent_call(agent, "POST", "/v1/responses", TYPE, body);
}

/* Requests that reached the provider. */
static inline unsigned asked(void)
{
    pthread_mutex_lock(&provider->lock);
    unsigned n = provider->requests;
    pthread_mutex_unlock(&provider->lock);
    return n;
}

static inline const char *body_of(uint64_t n)
{
    return buf_str(&agent->uploads[n].body);
}

static inline double cpu_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static inline void expect_refusal(uint64_t n, int status, const char *code)
{
    ASSERT_TRUE(FAKE_AGENT_WAIT(agent, n, u->whole));
    ASSERT_INT(agent->uploads[n].status, status);
    ASSERT_CONTAINS(body_of(n), code);
}

#endif
