/*
 * v0.3, GET /openapi.json: real answers of a real server fit the schemas it publishes, and requests it refuses by name don't. Answers are
 * written down and held against the document by openapi_check.py, which also looks whether the schemas would refuse anything.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "orchestrator/routes/table.h"
#include "shared/buf.h"
#include "shared/json.h"
#include "tests/support/docker.h"
#include "tests/support/pg.h"
#include "tests/support/stack.h"
#include "tests/support/suite.h"

#define CHECKER     "tests/integration/v0.3/openapi_check.py"
#define UNKNOWN_ID  "00000000-0000-4000-8000-000000000000"
#define ANSWERS_MAX (64u << 20)
#define RUN_S       60

static struct stack *stack;
static struct tenant owner;
static const char *dir;
static char document[256], answers[256], all_answers[256];

static bool write_file(const char *path, const char *mode, const char *text, size_t len)
{
    FILE *f = fopen(path, mode);
    bool ok = f && fwrite(text, 1, len, f) == len;
    return f && fclose(f) == 0 && ok;
}

static int set_up(void)
{
    struct reply r = {0};
    stack = stack_start((const char *const[]){"ARP_CONTAINERS_PER_USER=4", "ARP_WARM_WORKSPACES_PER_USER=4",
        "ARP_SECRETS_KEY=000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f", NULL});
    if (!stack || !stack_tenant(stack, "owner", -1, &owner))
        return 1;
    dir = temp_dir();
    snprintf(document, sizeof(document), "%s/openapi.json", dir);
    snprintf(answers, sizeof(answers), "%s/answers.jsonl", dir);
    snprintf(all_answers, sizeof(all_answers), "%s/all.jsonl", dir);
    bool ok = stack_call(stack, NULL, "GET", "/openapi.json", NULL, &r) == 200 &&
              write_file(document, "w", r.body, r.len);
    reply_done(&r);
    return ok ? 0 : 1;
}

static int tear_down(void)
{
    return stack && stack_stop(stack) == 0 ? 0 : 1;
}

/* --- writing down what was asked and answered -------------------------------------------------------------------------------------- */

struct question {
    const char *key;
    const char *method;
    const char *path;
    const char *body;
    const char *const *headers;
    bool unsaid; /* no schema can tell why the body is refused */
};

static void write_down(const struct question *q, const struct reply *r)
{
    bool zip = strstr(r->headers, "application/zip") != NULL;
    cleanup_buf struct buf line;
    struct json j;
    buf_init(&line, ANSWERS_MAX);
    json_init(&j, &line);
    json_obj_open(&j);
    json_kstr(&j, "method", q->method);
    json_kstr(&j, "path", q->path);
    json_kstr(&j, "request", q->body);
    json_kbool(&j, "unsaid", q->unsaid);
    json_kint(&j, "status", r->status);
    json_kstr(&j, "headers", r->headers);
    json_kstrn(&j, "body", r->body, zip ? 0 : r->len);
    json_obj_close(&j);
    buf_append_char(&line, '\n');
    ASSERT_TRUE(line.error == 0);
    ASSERT_TRUE(write_file(answers, "a", line.data, line.len));
    ASSERT_TRUE(write_file(all_answers, "a", line.data, line.len));
}

static long put(const struct question *q, struct reply *r)
{
    char url[2048];
    snprintf(url, sizeof(url), "%s%s", stack_url(stack), q->path);
    struct call c = {.method = q->method, .url = url, .key = q->key, .body = q->body, .headers = q->headers};
    long status = client_call(&c, r);
    ASSERT_TRUE(status != 0);
    write_down(q, r);
    return status;
}

/* "/runs/:id/events" with an id in its place. */
static void fill_in(const char *pattern, const char *id, char ret[256])
{
    const char *at = strchr(pattern, ':');
    size_t before = at ? (size_t)(at - pattern) : strlen(pattern);
    snprintf(ret, 256, "%.*s%s%s", (int)before, pattern, at ? id : "", at ? at + strcspn(at, "/?") : "");
}

/* What the owner asks; id takes the place of the path's parameter. */
static long ask(const char *method, const char *path, const char *id, const char *body, struct reply *r)
{
    char text[256];
    fill_in(path, id, text);
    return put(&(struct question){.key = owner.key, .method = method, .path = text, .body = body}, r);
}

static long ask_with(const char *method, const char *path, const char *id, const char *header,
    const char *body, struct reply *r)
{
    char text[256];
    const char *const headers[] = {header, NULL};
    fill_in(path, id, text);
    return put(
        &(struct question){
            .key = owner.key, .method = method, .path = text, .body = body, .headers = headers},
        r);
}

static void keep(char ret[40], const struct reply *r, const char *member)
{
    const char *id = reply_str(r, member);
    ASSERT_TRUE(id != NULL);
    snprintf(ret, 40, "%s", id);
}

static int run_checker(const char *const *argv)
{
    char *out = NULL;
    int code = process_run(argv, NULL, &out);
    if (code != 0)
        printf("\n%s", out ? out : "the checker could not be run");
    free(out);
    return code;
}

/* Everything written down since the last time fits. */
static void check(void)
{
    int code = run_checker((const char *const[]){CHECKER, document, answers, NULL});
    ASSERT_TRUE(write_file(answers, "w", "", 0));
    ASSERT_INT(code, 0);
}

/* --- the answers ------------------------------------------------------------------------------------------------------------------- */

static void the_document_is_the_page_of_this_tree(void)
{
    char *made = NULL;
    char *served = read_text(dir, "openapi.json");
    ASSERT_INT(RUN_ARGV(NULL, &made, "docs/openapi.py", "json", "docs/openapi.yaml"), 0);
    ASSERT_TRUE(served && strcmp(served, made) == 0);
    free(made);
    free(served);
}

static void the_checker_finds_faults(void)
{
    static const char *const wrong[] = {
        /* a member too many, one too few, a wrong one, a status and a content type that are not described, no request id */
        "200,\"headers\":\"X-Request-Id: a\\r\\nContent-Type: "
        "application/json\",\"body\":\"{\\\"apiKeys\\\":[],\\\"n\\\":1}\"",
        "200,\"headers\":\"X-Request-Id: a\\r\\nContent-Type: application/json\",\"body\":\"{}\"",
        "200,\"headers\":\"X-Request-Id: a\\r\\nContent-Type: "
        "application/json\",\"body\":\"{\\\"apiKeys\\\":[7]}\"",
        "201,\"headers\":\"X-Request-Id: a\\r\\nContent-Type: "
        "application/json\",\"body\":\"{\\\"apiKeys\\\":[]}\"",
        "200,\"headers\":\"X-Request-Id: a\\r\\nContent-Type: text/html\",\"body\":\"\"",
        "200,\"headers\":\"Content-Type: application/json\",\"body\":\"{\\\"apiKeys\\\":[]}\"",
    };
    static const char right[] = "200,\"headers\":\"X-Request-Id: a\\r\\nContent-Type: "
                                "application/json\",\"body\":\"{\\\"apiKeys\\\":[]}\"";
    for (size_t i = 0; i <= sizeof(wrong) / sizeof(wrong[0]); i++) {
        bool good = i == sizeof(wrong) / sizeof(wrong[0]);
        char line[512], path[256];
        snprintf(line, sizeof(line),
            "{\"method\":\"GET\",\"path\":\"/api-keys\",\"request\":null,\"unsaid\":false,\"status\":%s}\n",
            good ? right : wrong[i]);
        snprintf(path, sizeof(path), "%s/made-up.jsonl", dir);
        ASSERT_TRUE(write_file(path, "w", line, strlen(line)));
        ASSERT_INT(RUN_ARGV(NULL, NULL, CHECKER, document, path), good ? 0 : 1);
    }
}

static void the_server_itself(void)
{
    struct reply r = {0};
    ASSERT_INT(ask("GET", "/healthz", "", NULL, &r), 200);
    ASSERT_INT(ask("GET", "/readyz", "", NULL, &r), 200);
    ASSERT_INT(ask("GET", "/metrics", "", NULL, &r), 200);
    ASSERT_INT(ask("GET", "/openapi.json", "", NULL, &r), 200);
    ASSERT_INT(ask("GET", "/.well-known/arp-keys.json", "", NULL, &r), 200);
    ASSERT_INT(ask("GET", "/.well-known/arp-allowed-signers", "", NULL, &r), 200);
    ASSERT_INT(ask("GET", "/no-such-route", "", NULL, &r), 404);
    ASSERT_INT(ask("DELETE", "/projects", "", NULL, &r), 405);
    check();
    reply_done(&r);
}

/* Every route with a scope, without a key and with one that may only read; every route of an id, with an unknown one. */
static void refusals_of_every_route(void)
{
    struct reply r = {0};
    char reader[80];
    ASSERT_INT(ask("POST", "/api-keys", "", "{\"name\":\"reader\",\"scopes\":[\"read\"]}", &r), 201);
    snprintf(reader, sizeof(reader), "%s", reply_str(&r, "key"));
    for (size_t i = 0; i < route_table_len; i++) {
        const struct http_route *route = &route_table[i];
        bool of_one = strchr(route->pattern, ':') != NULL;
        char path[256];
        fill_in(route->pattern, UNKNOWN_ID, path);
        struct question q = {.method = route->method, .path = path, .body = route->body_limit ? "{}" : NULL};
        if (route->scope != HTTP_SCOPE_NONE)
            ASSERT_INT(put(&q, &r), 401);
        q.key = reader;
        if (route->scope > HTTP_SCOPE_READ)
            ASSERT_INT(put(&q, &r), 403);
        q.key = owner.key;
        if (of_one && !route->body_limit)
            ASSERT_INT(put(&q, &r), route->scope == HTTP_SCOPE_ADMIN ? 403 : 404);
        q.body = "[]";
        if (route->body_limit && route->scope == HTTP_SCOPE_RUN)
            ASSERT_TRUE(put(&q, &r) >= 400);
        q.body = "{";
        if (route->body_limit && route->scope == HTTP_SCOPE_RUN)
            ASSERT_TRUE(put(&q, &r) >= 400);
    }
    check();
    reply_done(&r);
}

static void users_and_keys(void)
{
    static const char *const bad[] = {"{}", "{\"name\":\"\"}", "{\"name\":\"a\",\"admin\":true}",
        "{\"name\":7}", "{\"name\":\"a\",\"dailyRunLimit\":-1}", "{\"name\":\"a\",\"dailyRunLimit\":\"1\"}",
        "{\"name\":\"a\\u0007\"}"};
    const char *admin = stack_admin_key(stack);
    struct reply r = {0};
    struct question q = {.key = admin, .method = "POST", .path = "/users"};
    q.body = "{\"name\":\"alice\",\"dailyRunLimit\":500}";
    ASSERT_INT(put(&q, &r), 201);
    ASSERT_INT(put(&q, &r), 409);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        q.body = bad[i];
        ASSERT_INT(put(&q, &r), 400);
    }
    ASSERT_INT(ask("GET", "/users/me", "", NULL, &r), 200);
    ASSERT_INT(ask("GET", "/usage", "", NULL, &r), 200);
    char key_id[40];
    ASSERT_INT(ask("POST", "/api-keys", "", "{\"name\":\"ci\",\"scopes\":null}", &r), 201);
    keep(key_id, &r, "id");
    ASSERT_INT(ask("POST", "/api-keys", "", "{\"name\":\"ci\",\"scopes\":[\"root\"]}", &r), 400);
    ASSERT_INT(ask("POST", "/api-keys", "", "{\"name\":\"ci\",\"scopes\":[]}", &r), 400);
    ASSERT_INT(ask("POST", "/api-keys", "", "{\"name\":\"ci\",\"scopes\":[\"admin\"]}", &r), 403);
    ASSERT_INT(ask("DELETE", "/api-keys/:id", key_id, NULL, &r), 204);
    ASSERT_INT(ask("GET", "/api-keys", "", NULL, &r), 200);
    ASSERT_TRUE(strstr(r.body, "\"revokedAt\":\"") != NULL);
    check();
    reply_done(&r);
}

static void projects_and_workspaces(void)
{
    struct reply r = {0};
    char project[40], cursor[160];
    ASSERT_INT(ask("POST", "/projects", "", "{\"name\":\"demo\"}", &r), 201);
    keep(project, &r, "id");
    ASSERT_INT(ask("POST", "/projects", "", "{\"name\":\"demo\"}", &r), 409);
    ASSERT_INT(ask("POST", "/projects", "", "{\"name\":\"x\",\"color\":\"red\"}", &r), 400);
    cleanup_buf struct buf large;
    buf_init(&large, 1 << 20);
    buf_printf(&large, "{\"name\":\"%020000d\"}", 0);
    ASSERT_INT(ask("POST", "/projects", "", buf_str(&large), &r), 413);
    ASSERT_INT(ask("GET", "/projects?limit=1", "", NULL, &r), 200);
    snprintf(cursor, sizeof(cursor), "/projects?cursor=%s", reply_str(&r, "nextCursor"));
    ASSERT_INT(ask("GET", cursor, "", NULL, &r), 200);
    ASSERT_INT(ask("GET", "/projects?limit=0", "", NULL, &r), 400);
    ASSERT_INT(ask("GET", "/projects?page=2", "", NULL, &r), 400);
    ASSERT_INT(ask("GET", "/projects?cursor=x", "", NULL, &r), 400);
    ASSERT_INT(ask("GET", "/projects/:id", project, NULL, &r), 200);
    ASSERT_INT(ask("POST", "/projects/:id/open", project, NULL, &r), 200);
    ASSERT_STR(reply_str(&r, "state"), "warm");
    ASSERT_INT(ask("GET", "/workspaces", "", NULL, &r), 200);
    ASSERT_INT(ask("POST", "/projects/:id/close", project, NULL, &r), 200);
    ASSERT_STR(reply_str(&r, "state"), "cold");
    ASSERT_INT(ask("DELETE", "/projects/:id", project, NULL, &r), 204);
    ASSERT_INT(ask("GET", "/projects/:id", project, NULL, &r), 404);
    check();
    reply_done(&r);
}

/* POST or PATCH; members beside the image may be "". */
static long define(const char *method, const char *path, const char *id, const char *name,
    const char *members, struct reply *r)
{
    char body[1024];
    snprintf(body, sizeof(body), "{\"name\":\"%s\",\"image\":\"%s\"%s%s}", name, docker_image(),
        members[0] ? "," : "", members);
    return ask(method, path, id, body, r);
}

static void containers(void)
{
    static const char *const bad[] = {"\"cpuMillis\":9", "\"cpuMillis\":0.5", "\"memoryBytes\":1048576",
        "\"pids\":1", "\"pids\":\"64\"", "\"network\":\"host\"", "\"sandboxProfile\":\"unconfined\"",
        "\"sandboxProfile\":7", "\"sandboxProfile\":{}", "\"sandboxProfile\":{\"defaultAction\":\"ALLOW\"}",
        "\"sandboxProfile\":{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"flags\":[]}", "\"privileged\":true",
        "\"idleExpirySeconds\":0", "\"idleExpirySeconds\":31536001", "\"status\":\"active\""};
    static const char profile[] =
        "\"sandboxProfile\":{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"architectures\":[\"SCMP_ARCH_X86_64\"],"
        "\"syscalls\":[{\"names\":[\"mkdir\"],\"action\":\"SCMP_ACT_ERRNO\",\"errnoRet\":1,"
        "\"args\":[{\"index\":1,\"value\":511,\"op\":\"SCMP_CMP_EQ\"}]}]}";
    struct reply r = {0};
    char id[40], other[40];
    ASSERT_INT(define("POST", "/containers", "", "plain", "", &r), 201);
    keep(id, &r, "id");
    ASSERT_INT(define("POST", "/containers", "", "plain", "", &r), 409);
    ASSERT_INT(define("POST", "/containers", "", "full", profile, &r), 201);
    keep(other, &r, "id");
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        ASSERT_INT(define("POST", "/containers", "", "bad", bad[i], &r), 400);
        ASSERT_INT(define("PATCH", "/containers/:id", id, "bad", bad[i], &r), 400);
    }
    ASSERT_INT(define("PATCH", "/containers/:id", id, "changed",
                   "\"cpuMillis\":500,\"memoryBytes\":268435456,\"pids\":64,\"network\":null,"
                   "\"sandboxProfile\":\"strict\"",
                   &r),
        200);
    ASSERT_INT(ask("PATCH", "/containers/:id", id, "{\"pids\":null}", &r), 200);
    ASSERT_INT(ask("PATCH", "/containers/:id", id, "{\"name\":\"full\"}", &r), 409);
    ASSERT_INT(ask("GET", "/containers/:id", id, NULL, &r), 200);
    ASSERT_INT(ask("GET", "/containers/:id", other, NULL, &r), 200);
    ASSERT_INT(ask("GET", "/containers", "", NULL, &r), 200);
    ASSERT_INT(ask("DELETE", "/containers/:id", id, NULL, &r), 204);
    ASSERT_INT(ask("DELETE", "/containers/:id", other, NULL, &r), 204);
    check();
    reply_done(&r);
}

static void expire(const char *container)
{
    char sql[256];
    snprintf(sql, sizeof(sql),
        "UPDATE containers SET idle_expiry_seconds = 1, last_used_at = now() - interval '1 hour' WHERE id = "
        "'%s'",
        container);
    ASSERT_TRUE(pg_sql(sql) != NULL);
}

static void agents_and_bindings(void)
{
    static const char *const bad[] = {"{\"tools\":[\"browser\"]}",
        "{\"tools\":[\"code_interpreter\",\"code_interpreter\"]}", "{\"tools\":\"code_interpreter\"}",
        "{\"containerId\":\"x\"}", "{\"mode\":\"manual\"}", "{\"fallbackToAuto\":1}", "{\"engine\":\"gpt\"}",
        "{\"model\":\"\"}", "{\"instructions\":7}", "{\"key\":\"tester\"}"};
    static const char whole[] = "{\"tools\":[\"code_interpreter\"],\"containerId\":null,\"mode\":"
                                "\"explicit\",\"fallbackToAuto\":true,"
                                "\"engine\":\"shell\",\"model\":\"m\",\"instructions\":\"be brief\"}";
    struct reply r = {0};
    char id[40], body[128];
    ASSERT_INT(define("POST", "/containers", "", "of-agent", "\"idleExpirySeconds\":60", &r), 201);
    keep(id, &r, "id");
    ASSERT_INT(ask("PUT", "/agents/tester", "", "{}", &r), 201);
    snprintf(body, sizeof(body), "{\"containerId\":\"%s\"}", id);
    ASSERT_INT(ask("PUT", "/agents/tester/binding", "", body, &r), 409);
    ASSERT_INT(ask("PUT", "/agents/tester", "", whole, &r), 200);
    ASSERT_INT(ask("PUT", "/agents/tester/binding", "", body, &r), 201);
    ASSERT_INT(ask("PUT", "/agents/tester/binding", "", body, &r), 200);
    ASSERT_INT(ask("PUT", "/agents/tester/binding", "", "{\"containerId\":null}", &r), 400);
    ASSERT_INT(ask("PUT", "/agents/tester/binding", "", "{\"containerId\":\"x\"}", &r), 400);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        ASSERT_INT(ask("PUT", "/agents/tester", "", bad[i], &r), 400);
    ASSERT_INT(ask("PUT", "/agents/of-container", "", body, &r), 201);
    ASSERT_INT(ask("GET", "/agents/tester", "", NULL, &r), 200);
    ASSERT_INT(ask("GET", "/agents/tester/binding", "", NULL, &r), 200);
    ASSERT_INT(ask("GET", "/agents/default", "", NULL, &r), 200);
    ASSERT_INT(ask("GET", "/agents", "", NULL, &r), 200);
    ASSERT_INT(ask("GET", "/agents?limit=1", "", NULL, &r), 400);
    ASSERT_INT(ask("DELETE", "/agents/tester/binding", "", NULL, &r), 204);
    ASSERT_INT(ask("DELETE", "/agents/tester", "", NULL, &r), 204);
    ASSERT_INT(ask("DELETE", "/agents/of-container", "", NULL, &r), 204);
    expire(id);
    ASSERT_INT(ask("GET", "/containers/:id", id, NULL, &r), 200);
    ASSERT_STR(reply_str(&r, "status"), "expired");
    ASSERT_INT(ask("DELETE", "/containers/:id", id, NULL, &r), 204);
    check();
    reply_done(&r);
}

static void providers(void)
{
    static const char *const bad[] = {"{}", "{\"baseUrl\":\"https://m.example\"}",
        "{\"baseUrl\":\"https://m.example/\",\"dialects\":[\"chat\"],\"apiKey\":\"k\"}",
        "{\"baseUrl\":\"https://m.example?x\",\"dialects\":[\"chat\"],\"apiKey\":\"k\"}",
        "{\"baseUrl\":\"https://u@m.example\",\"dialects\":[\"chat\"],\"apiKey\":\"k\"}",
        "{\"baseUrl\":\"ftp://m.example\",\"dialects\":[\"chat\"],\"apiKey\":\"k\"}",
        "{\"baseUrl\":\"https://m.example\",\"dialects\":[],\"apiKey\":\"k\"}",
        "{\"baseUrl\":\"https://m.example\",\"dialects\":[\"morse\"],\"apiKey\":\"k\"}",
        "{\"baseUrl\":\"https://m.example\",\"dialects\":[\"chat\",\"chat\"],\"apiKey\":\"k\"}",
        "{\"baseUrl\":\"https://m.example\",\"dialects\":[\"chat\"],\"apiKey\":\"\"}",
        "{\"baseUrl\":\"https://m.example\",\"dialects\":[\"chat\"],\"apiKey\":\"a b\"}",
        "{\"baseUrl\":\"https://m.example\",\"dialects\":[\"chat\"],\"auth\":\"basic\"}",
        "{\"baseUrl\":\"https://m.example\",\"dialects\":[\"chat\"],\"auth\":\"none\",\"models\":[\"\"]}",
        "{\"baseUrl\":\"https://m.example\",\"dialects\":[\"chat\"],\"auth\":\"none\",\"models\":[7]}",
        "{\"baseUrl\":\"https://"
        "m.example\",\"dialects\":[\"chat\"],\"auth\":\"none\",\"modelMap\":{\"a\":7}}",
        "{\"baseUrl\":\"https://"
        "m.example\",\"dialects\":[\"chat\"],\"auth\":\"none\",\"modelMap\":{\"\":\"a\"}}",
        "{\"baseUrl\":\"https://m.example\",\"dialects\":[\"chat\"],\"auth\":\"none\",\"record\":\"some\"}",
        "{\"baseUrl\":\"https://"
        "m.example\",\"dialects\":[\"chat\"],\"auth\":\"none\",\"limits\":{\"concurrent\":0}}",
        "{\"baseUrl\":\"https://"
        "m.example\",\"dialects\":[\"chat\"],\"auth\":\"none\",\"limits\":{\"callsPerRun\":0}}",
        "{\"baseUrl\":\"https://"
        "m.example\",\"dialects\":[\"chat\"],\"auth\":\"none\",\"limits\":{\"callsPerHour\":1}}",
        "{\"baseUrl\":\"https://m.example\",\"dialects\":[\"chat\"],\"auth\":\"none\",\"hasKey\":true}"};
    static const char whole[] =
        "{\"baseUrl\":\"https://m.example:8443/x\",\"dialects\":[\"chat\",\"gemini\"],\"auth\":\"x-api-key\","
        "\"apiKey\":\"k\",\"models\":[\"m-1\"],\"modelMap\":{\"m-1\":\"m-2\"},\"allowHostedTools\":true,"
        "\"record\":\"digest\",\"limits\":{\"callsPerRun\":1,\"tokensPerRun\":2,\"callsPerDay\":3,"
        "\"tokensPerDay\":4,"
        "\"concurrent\":5}}";
    static const char least[] =
        "{\"baseUrl\":\"https://m.example\",\"dialects\":[\"chat\"],\"auth\":\"none\"}";
    struct reply r = {0};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        ASSERT_INT(ask("PUT", "/providers/main", "", bad[i], &r), 400);
    ASSERT_INT(ask("PUT", "/providers/main", "", whole, &r), 201);
    ASSERT_INT(ask("PUT", "/providers/main", "", whole, &r), 200);
    ASSERT_INT(ask("PUT", "/providers/plain", "", least, &r), 201);
    ASSERT_INT(ask("GET", "/providers/main", "", NULL, &r), 200);
    ASSERT_INT(ask("GET", "/providers", "", NULL, &r), 200);
    ASSERT_INT(ask("GET", "/providers?limit=1", "", NULL, &r), 400);
    ASSERT_INT(
        ask("POST", "/projects/:id/message", owner.project_id, "{\"prompt\":\"p\",\"engine\":\"codex\"}", &r),
        400);
    ASSERT_STR(reply_str(&r, "error.code"), "provider_unresolved");
    ASSERT_INT(ask("DELETE", "/providers/main", "", NULL, &r), 204);
    ASSERT_INT(ask("DELETE", "/providers/plain", "", NULL, &r), 204);
    ASSERT_INT(ask("DELETE", "/providers/plain", "", NULL, &r), 404);
    check();
    reply_done(&r);
}

/* Every way in which an agent has no container. */
static void containers_that_cannot_be_used(void)
{
    static const char any[] = "{\"agent\":\"worker\",\"commands\":[[\"true\"]]}";
    struct reply r = {0};
    char id[40], body[256];
    ASSERT_INT(define("POST", "/containers", "", "short-lived", "", &r), 201);
    keep(id, &r, "id");
    snprintf(body, sizeof(body),
        "{\"tools\":[\"code_interpreter\"],\"engine\":\"shell\",\"containerId\":\"%s\"}", id);
    ASSERT_INT(ask("PUT", "/agents/worker", "", body, &r), 201);
    ASSERT_INT(ask("POST", "/projects/:id/message", owner.project_id,
                   "{\"agent\":\"worker\",\"prompt\":\"echo hi\"}", &r),
        200);
    char run[40];
    keep(run, &r, "runId");
    ASSERT_INT(ask("GET", "/runs/:id", run, NULL, &r), 200);
    ASSERT_STR(reply_str(&r, "container_context.source"), "spec");
    expire(id);
    ASSERT_INT(ask("POST", "/projects/:id/message", owner.project_id, any, &r), 400);
    ASSERT_STR(reply_str(&r, "error.code"), "container_unresolved");
    ASSERT_STR(reply_str(&r, "error.details.reason"), "expired");
    snprintf(body, sizeof(body),
        "{\"agent\":\"worker\",\"commands\":[[\"true\"]],\"container_overrides\":{\"worker\":\"%s\"}}", id);
    ASSERT_INT(ask("POST", "/projects/:id/message", owner.project_id, body, &r), 400);
    ASSERT_STR(reply_str(&r, "error.details.reason"), "expired");
    ASSERT_INT(ask("DELETE", "/containers/:id", id, NULL, &r), 204);
    ASSERT_INT(ask("POST", "/projects/:id/message", owner.project_id, any, &r), 400);
    ASSERT_STR(reply_str(&r, "error.details.reason"), "deleted");
    ASSERT_INT(
        ask("PUT", "/agents/worker", "", "{\"tools\":[\"code_interpreter\"],\"mode\":\"explicit\"}", &r),
        200);
    ASSERT_INT(ask("POST", "/projects/:id/message", owner.project_id, any, &r), 400);
    ASSERT_STR(reply_str(&r, "error.details.source"), "explicit");
    ASSERT_INT(ask("DELETE", "/agents/worker", "", NULL, &r), 204);
    check();
    reply_done(&r);
}

static void messages_that_are_refused(void)
{
    static const struct {
        const char *body;
        bool unsaid;
    } bad[] = {{"{}", false}, {"{\"prompt\":\"x\"}", true}, {"{\"commands\":[]}", false},
        {"{\"commands\":[[]]}", false}, {"{\"commands\":[[\"\"]]}", false}, {"{\"commands\":[[7]]}", false},
        {"{\"commands\":7}", false}, {"{\"commands\":[[\"true\"]],\"engine\":\"gpt\"}", false},
        {"{\"commands\":[{\"argv\":[\"true\"],\"env\":{}}]}", false},
        {"{\"commands\":[{\"argv\":[\"true\"],\"cwd\":\"/\"}]}", false},
        {"{\"commands\":[{\"argv\":[\"true\"],\"cwd\":\"a/../..\"}]}", true},
        {"{\"commands\":[[\"true\"]],\"timeoutMs\":0}", false},
        {"{\"commands\":[[\"true\"]],\"timeoutMs\":86400001}", false},
        {"{\"commands\":[[\"true\"]],\"prompt\":\"a\",\"text\":\"b\"}", false},
        {"{\"commands\":[[\"true\"]],\"container_overrides\":[]}", false},
        {"{\"commands\":[[\"true\"]],\"model\":\"x\"}", false},
        {"{\"commands\":[[\"true\"]],\"engine\":\"codex\"}", false},
        {"{\"prompt\":\"x\",\"engine\":\"codex\",\"threadId\":\"\"}", false},
        {"{\"prompt\":\"x\",\"engine\":\"codex\",\"threadId\":\"--last\"}", false},
        {"{\"prompt\":\"x\",\"engine\":\"codex\",\"model\":\"-c\"}", false},
        {"{\"prompt\":\"x\",\"engine\":\"codex\",\"model\":\"a\\\"b\"}", false},
        {"{\"prompt\":\"x\",\"engine\":\"codex\",\"limits\":{\"maxSteps\":10001}}", false},
        {"{\"prompt\":\"x\",\"engine\":\"codex\",\"limits\":{\"maxSteps\":0}}", false},
        {"{\"prompt\":\"x\",\"engine\":\"codex\",\"limits\":{\"maxCost\":1}}", false}};
    static const char *const overrides[] = {"\"nobody\":\"" UNKNOWN_ID "\"", "\"default\":\"x\"",
        "\"default\":null", "\"default\":\"" UNKNOWN_ID "\""};
    struct reply r = {0};
    char path[256], body[256];
    fill_in("/projects/:id/message", owner.project_id, path);
    struct question q = {.key = owner.key, .method = "POST", .path = path};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        q.body = bad[i].body;
        q.unsaid = bad[i].unsaid;
        ASSERT_INT(put(&q, &r), 400);
    }
    for (size_t i = 0; i < sizeof(overrides) / sizeof(overrides[0]); i++) {
        snprintf(
            body, sizeof(body), "{\"commands\":[[\"true\"]],\"container_overrides\":{%s}}", overrides[i]);
        ASSERT_INT(ask("POST", "/projects/:id/message", owner.project_id, body, &r), 400);
        ASSERT_STR(reply_str(&r, "error.code"), "invalid_container_override");
    }
    q.body = "{\"commands\":[[\"true\"]]}";
    q.headers = (const char *const[]){"Idempotency-Key: \xc3\xa4", NULL};
    q.unsaid = true; /* the header is what is wrong */
    ASSERT_INT(put(&q, &r), 400);
    check();
    reply_done(&r);
}

/* A run in a container of the tenant's, its record and its evidence. */
static void a_run_and_its_evidence(void)
{
    struct reply r = {0};
    char container[40], run[40], body[512];
    ASSERT_INT(define("POST", "/containers", "", "of-run", "\"sandboxProfile\":\"no-network\"", &r), 201);
    keep(container, &r, "id");
    snprintf(body, sizeof(body),
        "{\"prompt\":\"say hello\",\"commands\":[[\"sh\",\"-c\",\"echo hello > results/hello.txt\"],"
        "{\"argv\":[\"false\"],\"cwd\":\"results\",\"timeoutMs\":60000}],"
        "\"container_overrides\":{\"default\":\"%s\"}}",
        container);
    ASSERT_INT(ask("POST", "/projects/:id/message", owner.project_id, body, &r), 200);
    keep(run, &r, "runId");
    ASSERT_INT(ask("GET", "/runs/:id", run, NULL, &r), 200);
    ASSERT_STR(reply_str(&r, "container_context.source"), "override");
    ASSERT_INT(ask("GET", "/projects/:id/runs", owner.project_id, NULL, &r), 200);
    ASSERT_INT(ask("GET", "/runs/:id/events", run, NULL, &r), 200);
    ASSERT_INT(ask("GET", "/runs/:id/events?after=x", run, NULL, &r), 400);
    ASSERT_INT(ask_with("GET", "/runs/:id/events", run, "Accept: text/event-stream", NULL, &r), 200);
    ASSERT_INT(
        ask_with("GET", "/runs/:id/events?after=9999", run, "Accept: text/event-stream", NULL, &r), 204);
    ASSERT_INT(ask("POST", "/runs/:id/cancel", run, NULL, &r), 409);
    char path[256];
    fill_in("/runs/:id/evidence", run, path);
    ASSERT_INT(stack_wait(stack, owner.key, path, 200, RUN_S, &r), 200);
    ASSERT_INT(ask("GET", "/runs/:id/evidence", run, NULL, &r), 200);
    char match[128];
    const char *etag = strcasestr(r.headers, "ETag: ");
    ASSERT_TRUE(etag != NULL);
    snprintf(match, sizeof(match), "If-None-Match: %.66s", etag + strlen("ETag: "));
    ASSERT_INT(ask_with("GET", "/runs/:id/evidence", run, match, NULL, &r), 304);
    ASSERT_INT(ask_with("GET", "/runs/:id/evidence", run, "Range: bytes=0-99", NULL, &r), 206);
    ASSERT_INT(ask_with("GET", "/runs/:id/evidence", run, "Range: bytes=999999999-", NULL, &r), 416);
    char sql[256];
    snprintf(sql, sizeof(sql),
        "UPDATE evidence_bundles SET status = 'error', error_message = 'no space' WHERE run_id = '%s'", run);
    ASSERT_TRUE(pg_sql(sql) != NULL);
    ASSERT_INT(ask("GET", "/runs/:id/evidence", run, NULL, &r), 500);
    snprintf(sql, sizeof(sql),
        "UPDATE evidence_bundles SET status = 'deleted', deleted_at = now() WHERE run_id = '%s'", run);
    ASSERT_TRUE(pg_sql(sql) != NULL);
    ASSERT_INT(ask("GET", "/runs/:id/evidence", run, NULL, &r), 410);
    check();
    reply_done(&r);
}

#define VERIFIED                                                                                             \
    "{\"action\":\"verified\",\"zipSha256\":\"sha256:"                                                       \
    "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\",\"verdict\":\"failed\"}"

static void holds_custody_and_retention(void)
{
    static const char reason[] = "{\"reason\":\"case 7\"}";
    static const struct {
        const char *path;
        bool admin;
    } holds[] = {{"/runs/:id/hold", false}, {"/projects/:id/hold", false}, {"/users/:id/hold", true}};
    struct tenant t;
    struct reply r = {0};
    char run[40], path[256];
    ASSERT_TRUE(stack_tenant(stack, "held", -1, &t));
    ASSERT_INT(stack_run(stack, &t, "[[\"true\"]]", &r), 200);
    keep(run, &r, "runId");
    fill_in("/runs/:id/evidence", run, path);
    ASSERT_INT(stack_wait(stack, t.key, path, 200, RUN_S, &r), 200);
    struct question q = {.path = path};
    for (size_t i = 0; i < 3; i++) {
        fill_in(holds[i].path, i == 0 ? run : i == 1 ? t.project_id : t.user_id, path);
        q = (struct question){
            holds[i].admin ? stack_admin_key(stack) : t.key, "PUT", path, reason, NULL, false};
        ASSERT_INT(put(&q, &r), 201);
        ASSERT_INT(put(&q, &r), 200);
        q.body = "{\"reason\":\"case 8\"}";
        ASSERT_INT(put(&q, &r), 409);
        q.body = "{\"reason\":\"\"}";
        ASSERT_INT(put(&q, &r), 400);
    }
    static const struct {
        const char *method, *path, *body;
        long status;
    } of_run[] = {{"GET", "/runs/:id", NULL, 200}, {"GET", "/runs/:id/custody", NULL, 200},
        {"GET", "/runs/:id/custody?after=x", NULL, 400}, {"POST", "/runs/:id/custody", VERIFIED, 204},
        {"POST", "/runs/:id/custody", "{\"action\":\"burnt\"}", 400}, {"GET", "/holds", NULL, 200},
        {"GET", "/holds?limit=0", NULL, 400}, {"GET", "/custody/days", NULL, 200},
        {"GET", "/custody/days?limit=x", NULL, 400}};
    for (size_t i = 0; i < sizeof(of_run) / sizeof(of_run[0]); i++) {
        fill_in(of_run[i].path, run, path);
        q = (struct question){t.key, of_run[i].method, path, of_run[i].body, NULL, false};
        ASSERT_INT(put(&q, &r), of_run[i].status);
    }
    for (size_t i = 0; i < 3; i++) {
        fill_in(holds[i].path, i == 0 ? run : i == 1 ? t.project_id : t.user_id, path);
        q = (struct question){
            holds[i].admin ? stack_admin_key(stack) : t.key, "DELETE", path, NULL, NULL, false};
        ASSERT_INT(put(&q, &r), 204);
        ASSERT_INT(put(&q, &r), 404);
    }
    q = (struct question){stack_admin_key(stack), "POST", path, "{\"dryRun\":true}", NULL, false};
    snprintf(path, sizeof(path), "/ops/gc");
    ASSERT_INT(put(&q, &r), 200);
    q = (struct question){stack_admin_key(stack), "POST", path, NULL, NULL, false};
    snprintf(path, sizeof(path), "/ops/bundles/retry");
    ASSERT_INT(put(&q, &r), 200);
    q = (struct question){t.key, "POST", path, NULL, NULL, false};
    fill_in("/workspaces/:id/pin", t.workspace_id, path);
    ASSERT_INT(put(&q, &r), 200);
    fill_in("/workspaces/:id", t.workspace_id, path);
    q.method = "DELETE";
    ASSERT_INT(put(&q, &r), 409);
    fill_in("/workspaces/:id/unpin", t.workspace_id, path);
    q.method = "POST";
    ASSERT_INT(put(&q, &r), 200);
    fill_in("/workspaces/:id", t.workspace_id, path);
    q.method = "DELETE";
    ASSERT_INT(put(&q, &r), 204);
    ASSERT_INT(put(&q, &r), 410);
    check();
    reply_done(&r);
}

static void runs_in_progress(void)
{
    static const char asleep[] = "{\"engine\":\"shell\",\"text\":\"sleep 60\"}";
    struct reply r = {0};
    char run[40];
    ASSERT_INT(
        ask_with("POST", "/projects/:id/message", owner.project_id, "Prefer: respond-async", asleep, &r),
        202);
    keep(run, &r, "runId");
    ASSERT_INT(ask("GET", "/runs/:id", run, NULL, &r), 200);
    ASSERT_INT(ask("GET", "/runs/:id/evidence", run, NULL, &r), 202);
    ASSERT_INT(ask("POST", "/projects/:id/message", owner.project_id, asleep, &r), 409);
    ASSERT_INT(ask("POST", "/projects/:id/open", owner.project_id, NULL, &r), 409);
    ASSERT_INT(ask("POST", "/projects/:id/close", owner.project_id, NULL, &r), 409);
    ASSERT_INT(ask("DELETE", "/projects/:id", owner.project_id, NULL, &r), 409);
    ASSERT_INT(ask("POST", "/runs/:id/cancel", run, NULL, &r), 202);
    /* The row has its end a moment before the workspace is free; who saw the end of the stream finds both. */
    ASSERT_INT(ask_with("GET", "/runs/:id/events", run, "Accept: text/event-stream", NULL, &r), 200);
    ASSERT_INT(ask("GET", "/runs/:id", run, NULL, &r), 200);
    ASSERT_STR(reply_str(&r, "reason"), "cancelled");
    ASSERT_INT(ask("POST", "/projects/:id/message/stream", owner.project_id,
                   "{\"commands\":\"echo hi\",\"container_overrides\":null}", &r),
        200);
    check();
    reply_done(&r);
}

static void definitions_of_workflows(void)
{
    static const struct {
        const char *body;
        bool unsaid;
    } bad[] = {{"{}", false}, {"{\"steps\":[]}", false}, {"{\"steps\":[{\"key\":\"a\"}]}", false},
        {"{\"steps\":[{\"key\":\"a\",\"prompt\":\"\"}]}", false},
        {"{\"steps\":[{\"key\":\"a b\",\"prompt\":\"x\"}]}", false},
        {"{\"steps\":[{\"key\":\"a\",\"prompt\":\"x\",\"agent\":\".x\"}]}", false},
        {"{\"steps\":[{\"key\":\"a\",\"prompt\":\"x\",\"engine\":\"gpt\"}]}", false},
        {"{\"steps\":[{\"key\":\"a\",\"prompt\":\"x\",\"timeoutMs\":0}]}", false},
        {"{\"steps\":[{\"key\":\"a\",\"prompt\":\"x\",\"needs\":[7]}]}", false},
        {"{\"steps\":[{\"key\":\"a\",\"prompt\":\"x\",\"continueOnFailure\":1}]}", false},
        {"{\"steps\":[{\"key\":\"a\",\"commands\":[[]]}]}", false},
        {"{\"steps\":[{\"key\":\"a\",\"prompt\":\"x\",\"text\":\"x\"}]}", false},
        {"{\"steps\":[{\"key\":\"a\",\"prompt\":\"x\"}],\"version\":1}", false},
        {"{\"steps\":[{\"key\":\"a\",\"prompt\":\"{{x}}\"}]}", true},
        {"{\"steps\":[{\"key\":\"a\",\"prompt\":\"x\",\"needs\":[\"b\"]}]}", true},
        {"{\"steps\":[{\"key\":\"a\",\"prompt\":\"x\"},{\"key\":\"a\",\"prompt\":\"x\"}]}", true}};
    static const char two[] =
        "{\"description\":null,\"steps\":[{\"key\":\"a\",\"commands\":[[\"true\"],{\"argv\":[\"true\"]}]},"
        "{\"key\":\"b\",\"commands\":\"echo "
        "{{steps.a.status}}\",\"needs\":[\"a\"],\"continueOnFailure\":true,"
        "\"engine\":\"shell\",\"timeoutMs\":60000}]}";
    struct reply r = {0};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        ASSERT_INT(put(&(struct question){.key = owner.key,
                           .method = "PUT",
                           .path = "/workflows/ci",
                           .body = bad[i].body,
                           .unsaid = bad[i].unsaid},
                       &r),
            400);
    ASSERT_INT(ask("PUT", "/workflows/ci", "", two, &r), 201);
    ASSERT_INT(ask("PUT", "/workflows/ci", "", two, &r), 200);
    ASSERT_INT(ask("PUT", "/workflows/ci", "",
                   "{\"description\":\"d\",\"steps\":[{\"key\":\"a\",\"prompt\":\"true\"}]}", &r),
        201);
    ASSERT_INT(ask("GET", "/workflows/ci", "", NULL, &r), 200);
    ASSERT_INT(ask("GET", "/workflows/ci?version=1", "", NULL, &r), 200);
    ASSERT_INT(ask("GET", "/workflows/ci?version=9", "", NULL, &r), 404);
    ASSERT_INT(ask("GET", "/workflows/ci?version=x", "", NULL, &r), 400);
    ASSERT_INT(ask("GET", "/workflows", "", NULL, &r), 200);
    ASSERT_INT(ask("GET", "/workflows?limit=1", "", NULL, &r), 400);
    ASSERT_INT(ask("DELETE", "/workflows/ci", "", NULL, &r), 204);
    check();
    reply_done(&r);
}

static void a_workflow_run_and_its_evidence(void)
{
    static const char definition[] =
        "{\"steps\":[{\"key\":\"first\",\"commands\":[[\"echo\",\"{{input}}\"]]},"
        "{\"key\":\"fails\",\"commands\":\"exit 1\"},{\"key\":\"rest\",\"commands\":\"true\"}]}";
    struct reply r = {0};
    char run[40], path[256], body[256];
    ASSERT_INT(ask("PUT", "/workflows/flow", "", definition, &r), 201);
    snprintf(body, sizeof(body), "{\"projectId\":\"%s\",\"input\":\"1.2\",\"version\":1}", owner.project_id);
    ASSERT_INT(ask("POST", "/workflows/flow/runs", "", body, &r), 200);
    keep(run, &r, "id");
    ASSERT_STR(reply_str(&r, "status"), "failed");
    ASSERT_INT(ask("GET", "/workflow-runs/:id", run, NULL, &r), 200);
    ASSERT_INT(ask("GET", "/workflows/flow/runs?limit=1", "", NULL, &r), 200);
    ASSERT_INT(ask("GET", "/workflows/flow/runs?limit=x", "", NULL, &r), 400);
    ASSERT_INT(ask("GET", "/workflow-runs/:id/events", run, NULL, &r), 200);
    ASSERT_INT(ask("GET", "/workflow-runs/:id/events?after=x", run, NULL, &r), 400);
    ASSERT_INT(ask_with("GET", "/workflow-runs/:id/events", run, "Accept: text/event-stream", NULL, &r), 200);
    ASSERT_INT(
        ask_with("GET", "/workflow-runs/:id/events?after=9999", run, "Accept: text/event-stream", NULL, &r),
        204);
    ASSERT_INT(ask("POST", "/workflow-runs/:id/cancel", run, NULL, &r), 409);
    fill_in("/workflow-runs/:id/evidence", run, path);
    ASSERT_INT(stack_wait(stack, owner.key, path, 200, RUN_S, &r), 200);
    ASSERT_INT(ask("GET", "/workflow-runs/:id/evidence", run, NULL, &r), 200);
    ASSERT_INT(ask_with("GET", "/workflow-runs/:id/evidence", run, "Range: bytes=0-99", NULL, &r), 206);
    ASSERT_INT(ask_with("GET", "/workflow-runs/:id/evidence", run, "Range: bytes=999999999-", NULL, &r), 416);
    ASSERT_INT(ask("POST", "/workflow-runs/:id/custody", run, VERIFIED, &r), 204);
    ASSERT_INT(ask("GET", "/workflow-runs/:id/custody", run, NULL, &r), 200);
    /* made, downloaded whole by the test's helper and by the question, a part from the start, verified */
    ASSERT_INT(cJSON_GetArraySize(reply_at(&r, "lines")), 5);
    check();
    reply_done(&r);
}

static void workflow_runs_in_progress(void)
{
    static const char *const bad[] = {"{}", "{\"projectId\":7}",
        "{\"projectId\":\"" UNKNOWN_ID "\",\"input\":7}", "{\"projectId\":\"" UNKNOWN_ID "\",\"version\":0}",
        "{\"projectId\":\"" UNKNOWN_ID "\",\"steps\":[]}"};
    struct reply r = {0};
    char run[40], body[256];
    ASSERT_INT(ask("PUT", "/workflows/sleep", "",
                   "{\"steps\":[{\"key\":\"s\",\"engine\":\"shell\",\"prompt\":\"sleep {{ input }}\"}]}", &r),
        201);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        ASSERT_INT(ask("POST", "/workflows/sleep/runs", "", bad[i], &r), 400);
    snprintf(body, sizeof(body),
        "{\"projectId\":\"%s\",\"container_overrides\":{\"default\":\"" UNKNOWN_ID "\"}}", owner.project_id);
    ASSERT_INT(ask("POST", "/workflows/sleep/runs", "", body, &r), 400);
    ASSERT_STR(reply_str(&r, "error.code"), "invalid_container_override");
    snprintf(body, sizeof(body), "{\"projectId\":\"%s\",\"input\":\"60\"}", owner.project_id);
    ASSERT_INT(ask_with("POST", "/workflows/sleep/runs", "", "Prefer: respond-async", body, &r), 202);
    keep(run, &r, "workflowRunId");
    ASSERT_INT(ask("GET", "/workflow-runs/:id", run, NULL, &r), 200);
    ASSERT_INT(ask("GET", "/workflow-runs/:id/evidence", run, NULL, &r), 202);
    ASSERT_INT(ask("POST", "/workflows/sleep/runs", "", body, &r), 409);
    ASSERT_INT(ask("POST", "/workflow-runs/:id/cancel", run, NULL, &r), 202);
    ASSERT_INT(ask_with("GET", "/workflow-runs/:id/events", run, "Accept: text/event-stream", NULL, &r), 200);
    ASSERT_INT(ask("GET", "/workflow-runs/:id", run, NULL, &r), 200);
    ASSERT_STR(reply_str(&r, "reason"), "cancelled");
    snprintf(body, sizeof(body), "{\"projectId\":\"%s\",\"input\":\"0\"}", owner.project_id);
    ASSERT_INT(ask("POST", "/workflows/sleep/runs/stream", "", body, &r), 200);
    ASSERT_INT(ask("DELETE", "/workflows/sleep", "", NULL, &r), 204);
    ASSERT_INT(ask("POST", "/workflows/sleep/runs", "", body, &r), 404);
    check();
    reply_done(&r);
}

static void a_quota_that_is_used_up(void)
{
    struct tenant t;
    struct reply r = {0};
    char path[256];
    ASSERT_TRUE(stack_tenant(stack, "poor", 0, &t));
    fill_in("/projects/:id/message", t.project_id, path);
    struct question q = {.key = t.key, .method = "POST", .path = path, .body = "{\"commands\":[[\"true\"]]}"};
    ASSERT_INT(put(&q, &r), 429);
    check();
    reply_done(&r);
}

/* The last: it looks at what the others wrote down. */
static void every_operation_was_answered(void)
{
    ASSERT_INT(run_checker((const char *const[]){CHECKER, "--all", document, all_answers, NULL}), 0);
}

TEST_SUITE_WITH(openapi_test, set_up, tear_down, TEST(the_document_is_the_page_of_this_tree),
    TEST(the_checker_finds_faults), TEST(the_server_itself), TEST(refusals_of_every_route),
    TEST(users_and_keys), TEST(projects_and_workspaces), TEST(containers), TEST(agents_and_bindings),
    TEST(providers), TEST(containers_that_cannot_be_used), TEST(messages_that_are_refused),
    TEST(a_run_and_its_evidence), TEST(holds_custody_and_retention), TEST(runs_in_progress),
    TEST(definitions_of_workflows), TEST(a_workflow_run_and_its_evidence), TEST(workflow_runs_in_progress),
    TEST(a_quota_that_is_used_up), TEST(every_operation_was_answered))
