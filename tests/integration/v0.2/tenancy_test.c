/*
 * v0.2, tenants: what a key opens, and that nothing of one tenant shows to another on any route of the route table.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "orchestrator/routes/table.h"
#include "shared/hash.h"
#include "shared/uuid.h"
#include "tests/support/docker.h"
#include "tests/support/pg.h"
#include "tests/support/stack.h"
#include "tests/support/suite.h"

#define MESSAGE "{\"commands\":[[\"true\"]]}"
#define VERIFIED                                                                                             \
    "{\"action\":\"verified\",\"zipSha256\":\"sha256:"                                                       \
    "0000000000000000000000000000000000000000000000000000000000000000\",\"verdict\":\"verified\"}"
#define OWNER_AGENT    "owners-agent"
#define OWNER_WORKFLOW "owners-workflow"
#define OWNER_PROVIDER "owners-provider"

static struct stack *stack;
static struct tenant owner;    /* whose things are tried */
static struct tenant stranger; /* who tries */
static char owner_run[40];
static char owner_key_id[40];
static char owner_container[40];
static char owner_workflow_run[40]; /* of one step, whose run is the owner's second */

static int set_up(void)
{
    stack = stack_start(NULL);
    struct reply r = {0};
    if (!stack || !stack_tenant(stack, "owner", -1, &owner) ||
        !stack_tenant(stack, "stranger", -1, &stranger))
        return 1;
    pg_wait_out_midnight(); /* what the owner has used is counted */
    bool ok = stack_run(stack, &owner, "[[\"echo\",\"owner's secret\"]]", &r) == 200;
    snprintf(owner_run, sizeof(owner_run), "%s", ok ? reply_str(&r, "runId") : "");
    ok = ok && stack_call(stack, owner.key, "GET", "/users/me", NULL, &r) == 200;
    snprintf(owner_key_id, sizeof(owner_key_id), "%s", ok ? reply_str(&r, "keyId") : "");
    char body[256];
    snprintf(body, sizeof(body), "{\"name\":\"owner's\",\"image\":\"%s\"}", docker_image());
    ok = ok && stack_call(stack, owner.key, "POST", "/containers", body, &r) == 201;
    snprintf(owner_container, sizeof(owner_container), "%s", ok ? reply_str(&r, "id") : "");
    ok = ok && stack_call(stack, owner.key, "PUT", "/agents/" OWNER_AGENT,
                   "{\"tools\":[\"code_interpreter\"]}", &r) == 201;
    snprintf(body, sizeof(body), "{\"containerId\":\"%s\"}", owner_container);
    ok = ok && stack_call(stack, owner.key, "PUT", "/agents/" OWNER_AGENT "/binding", body, &r) == 201;
    ok = ok && stack_call(stack, owner.key, "PUT", "/workflows/" OWNER_WORKFLOW,
                   "{\"steps\":[{\"key\":\"a\",\"commands\":[[\"true\"]]}]}", &r) == 201;
    ok = ok &&
         stack_call(stack, owner.key, "PUT", "/providers/" OWNER_PROVIDER,
             "{\"baseUrl\":\"https://models.example\",\"dialects\":[\"chat\"],\"auth\":\"none\"}", &r) == 201;
    snprintf(body, sizeof(body), "{\"projectId\":\"%s\"}", owner.project_id);
    ok = ok && stack_call(stack, owner.key, "POST", "/workflows/" OWNER_WORKFLOW "/runs", body, &r) == 200;
    snprintf(owner_workflow_run, sizeof(owner_workflow_run), "%s", ok ? reply_str(&r, "id") : "");
    reply_done(&r);
    return ok ? 0 : 1;
}

static int tear_down(void)
{
    return stack && stack_stop(stack) == 0 ? 0 : 1;
}

static bool is(const char *a, const char *b)
{
    return strcmp(a, b) == 0;
}

static bool begins(const char *s, const char *start)
{
    return strncmp(s, start, strlen(start)) == 0;
}

/* The path of a route with name in place of ":id" or ":key". */
static void path_of(const struct http_route *route, const char *name, char ret[256])
{
    const char *colon = strchr(route->pattern, ':');
    if (colon)
        snprintf(ret, 256, "%.*s%s%s", (int)(colon - route->pattern), route->pattern, name,
            colon + strcspn(colon, "/"));
    else
        snprintf(ret, 256, "%s", route->pattern);
}

/* A body that the route takes, NULL when it takes none. */
static const char *body_of(const struct http_route *route)
{
    static char binding[80];
    static char start[80];
    snprintf(binding, sizeof(binding), "{\"containerId\":\"%s\"}", owner_container);
    snprintf(start, sizeof(start), "{\"projectId\":\"%s\"}", owner.project_id);
    if (!route->body_limit)
        return NULL;
    return strstr(route->pattern, "/message")      ? MESSAGE
           : strstr(route->pattern, "/binding")    ? binding
           : strstr(route->pattern, "/hold")       ? "{\"reason\":\"a case\"}"
           : strstr(route->pattern, "/custody")    ? VERIFIED
           : begins(route->pattern, "/workflows/") ? start
                                                   : "{\"name\":\"new\"}";
}

static const char *owner_name_for(const struct http_route *route)
{
    return begins(route->pattern, "/projects/")        ? owner.project_id
           : begins(route->pattern, "/runs/")          ? owner_run
           : begins(route->pattern, "/api-keys/")      ? owner_key_id
           : begins(route->pattern, "/containers/")    ? owner_container
           : begins(route->pattern, "/agents/")        ? OWNER_AGENT
           : begins(route->pattern, "/workflows/")     ? OWNER_WORKFLOW
           : begins(route->pattern, "/providers/")     ? OWNER_PROVIDER
           : begins(route->pattern, "/workflow-runs/") ? owner_workflow_run
           : begins(route->pattern, "/workspaces/")    ? owner.workspace_id
           : begins(route->pattern, "/users/")         ? owner.user_id
                                                       : NULL;
}

/* Keys are each tenant's own: putting one makes it, whoever else has it. */
static bool makes_its_name(const struct http_route *route)
{
    return is(route->method, "PUT") &&
           (is(route->pattern, "/agents/:key") || is(route->pattern, "/workflows/:key") ||
               is(route->pattern, "/providers/:name"));
}

static void another_tenants_ids_answer_like_missing_ones_on_every_route(void)
{
    struct reply theirs = {0};
    struct reply missing = {0};
    char random[UUID_LEN + 1];
    char path[256];
    int tried = 0;
    uuid_make(random);
    for (size_t i = 0; i < route_table_len; i++) {
        const struct http_route *route = &route_table[i];
        if (!strchr(route->pattern, ':') || makes_its_name(route))
            continue;
        const char *name = owner_name_for(route);
        ASSERT_TRUE(name != NULL); /* a new kind of name: teach owner_name_for */
        path_of(route, name, path);
        /* What is an administrator's is closed to others before its name is looked at. */
        long want = route->scope == HTTP_SCOPE_ADMIN ? 403 : 404;
        long status = stack_call(stack, stranger.key, route->method, path, body_of(route), &theirs);
        if (status != want)
            fprintf(stderr, "%s %s\n", route->method, route->pattern);
        ASSERT_INT(status, want);
        ASSERT_STR(reply_str(&theirs, "error.code"), want == 403 ? "forbidden" : "not_found");
        path_of(route, random, path);
        ASSERT_INT(stack_call(stack, stranger.key, route->method, path, body_of(route), &missing), want);
        ASSERT_STR(theirs.body, missing.body);
        tried++;
    }
    ASSERT_TRUE(tried >= 25);
    reply_done(&theirs);
    reply_done(&missing);
}

static void another_tenant_changed_nothing(void)
{
    struct reply r = {0};
    char path[128];
    snprintf(path, sizeof(path), "/projects/%s/runs", owner.project_id);
    ASSERT_INT(stack_call(stack, owner.key, "GET", path, NULL, &r), 200);
    ASSERT_INT(cJSON_GetArraySize(reply_at(&r, "runs")), 2);
    ASSERT_TRUE(cJSON_IsNull(reply_at(&r, "runs.0.cancelRequestedAt")));
    ASSERT_TRUE(cJSON_IsNull(reply_at(&r, "runs.1.cancelRequestedAt")));
    ASSERT_INT(stack_call(stack, owner.key, "GET", "/workflows/" OWNER_WORKFLOW "/runs", NULL, &r), 200);
    ASSERT_TRUE(strstr(r.body, owner_workflow_run) != NULL);
    snprintf(path, sizeof(path), "/projects/%s", owner.project_id);
    ASSERT_INT(stack_call(stack, owner.key, "GET", path, NULL, &r), 200);
    ASSERT_STR(reply_str(&r, "workspace.state"), "warm");
    ASSERT_INT(stack_call(stack, owner.key, "GET", "/usage", NULL, &r), 200);
    ASSERT_INT(reply_num(&r, "used"), 2);
    ASSERT_INT(stack_call(stack, stranger.key, "GET", "/usage", NULL, &r), 200);
    ASSERT_INT(reply_num(&r, "used"), 0);
    ASSERT_INT(stack_call(stack, owner.key, "GET", "/agents/" OWNER_AGENT, NULL, &r), 200);
    ASSERT_STR(reply_str(&r, "binding.containerId"), owner_container);
    ASSERT_INT(stack_call(stack, owner.key, "GET", "/workflows/" OWNER_WORKFLOW, NULL, &r), 200);
    ASSERT_INT(reply_num(&r, "newest"), 1);
    ASSERT_INT(stack_call(stack, owner.key, "GET", "/providers/" OWNER_PROVIDER, NULL, &r), 200);
    reply_done(&r);
}

static void lists_show_nothing_of_another_tenant(void)
{
    struct reply r = {0};
    static const char *const secrets_of[] = {owner.user_id, owner.project_id, owner.workspace_id, owner_run,
        owner_key_id, owner_container, owner_workflow_run, OWNER_AGENT, OWNER_WORKFLOW, OWNER_PROVIDER};
    int tried = 0;
    for (size_t i = 0; i < route_table_len; i++) {
        const struct http_route *route = &route_table[i];
        if (route->scope == HTTP_SCOPE_NONE || strchr(route->pattern, ':') || !is(route->method, "GET"))
            continue;
        ASSERT_INT(stack_call(stack, stranger.key, "GET", route->pattern, NULL, &r), 200);
        for (size_t k = 0; k < sizeof(secrets_of) / sizeof(secrets_of[0]); k++)
            ASSERT_TRUE(!strstr(r.body, secrets_of[k]));
        tried++;
    }
    ASSERT_TRUE(tried >= 5);
    reply_done(&r);
}

static void a_cursor_of_another_tenant_shows_only_own_rows(void)
{
    struct reply r = {0};
    char path[256];
    snprintf(path, sizeof(path), "/projects?cursor=9999999999999999.%s", owner.project_id);
    ASSERT_INT(stack_call(stack, stranger.key, "GET", path, NULL, &r), 200);
    ASSERT_TRUE(!strstr(r.body, owner.project_id));
    ASSERT_TRUE(strstr(r.body, stranger.project_id) != NULL);
    reply_done(&r);
}

static void a_key_is_required_on_every_route_with_a_scope(void)
{
    struct reply r = {0};
    char path[256];
    char wrong[72];
    memset(wrong, '0', sizeof(wrong));
    memcpy(wrong, "arp_", 4);
    wrong[68] = '\0';
    const char *const keys[] = {NULL, "x", wrong, "arp_"};
    for (size_t i = 0; i < route_table_len; i++) {
        const struct http_route *route = &route_table[i];
        const char *name = owner_name_for(route);
        path_of(route, name ? name : "", path);
        for (size_t k = 0; k < 4; k++) {
            long status = stack_call(stack, keys[k], route->method, path, body_of(route), &r);
            if (route->scope == HTTP_SCOPE_NONE) {
                ASSERT_INT(status, 200);
                continue;
            }
            ASSERT_INT(status, 401);
            ASSERT_STR(reply_str(&r, "error.code"), "unauthenticated");
            ASSERT_CONTAINS(r.headers, "WWW-Authenticate: Bearer");
        }
    }
    reply_done(&r);
}

/* A key of the owner with these scopes (JSON array). */
static void make_key(const char *scopes, char ret_key[80], char ret_id[40])
{
    struct reply r = {0};
    char body[128];
    snprintf(body, sizeof(body), "{\"name\":\"scoped\",\"scopes\":%s}", scopes);
    ASSERT_INT(stack_call(stack, owner.key, "POST", "/api-keys", body, &r), 201);
    snprintf(ret_key, 80, "%s", reply_str(&r, "key"));
    snprintf(ret_id, 40, "%s", reply_str(&r, "id"));
    reply_done(&r);
}

static void a_scope_opens_its_routes_and_no_more(void)
{
    struct reply r = {0};
    char read_key[80];
    char id[40];
    char path[256];
    char random[UUID_LEN + 1];
    uuid_make(random);
    make_key("[\"read\"]", read_key, id);
    for (size_t i = 0; i < route_table_len; i++) {
        const struct http_route *route = &route_table[i];
        if (route->scope == HTTP_SCOPE_NONE)
            continue;
        path_of(route, random, path);
        long as_reader = stack_call(stack, read_key, route->method, path, body_of(route), &r);
        ASSERT_INT(as_reader == 403, route->scope != HTTP_SCOPE_READ);
        if (as_reader == 403)
            ASSERT_STR(reply_str(&r, "error.code"), "forbidden");
        if (is(route->pattern, "/api-keys") || is(route->pattern, "/projects"))
            continue; /* would make things */
        long as_runner = stack_call(stack, owner.key, route->method, path, body_of(route), &r);
        ASSERT_INT(as_runner == 403, route->scope == HTTP_SCOPE_ADMIN);
    }
    reply_done(&r);
}

static void a_key_does_not_make_a_stronger_key(void)
{
    struct reply r = {0};
    ASSERT_INT(
        stack_call(stack, owner.key, "POST", "/api-keys", "{\"name\":\"x\",\"scopes\":[\"admin\"]}", &r),
        403);
    ASSERT_INT(stack_call(stack, owner.key, "POST", "/api-keys", "{\"name\":\"x\",\"scopes\":[]}", &r), 400);
    ASSERT_INT(
        stack_call(stack, owner.key, "POST", "/api-keys", "{\"name\":\"x\",\"scopes\":[\"root\"]}", &r), 400);
    ASSERT_INT(stack_call(stack, owner.key, "POST", "/api-keys", "{\"name\":\"x\",\"scopes\":[1]}", &r), 400);
    reply_done(&r);
}

static void an_admin_is_a_tenant_like_any_other(void)
{
    struct reply r = {0};
    char path[128];
    snprintf(path, sizeof(path), "/runs/%s", owner_run);
    ASSERT_INT(stack_call(stack, stack_admin_key(stack), "GET", path, NULL, &r), 404);
    snprintf(path, sizeof(path), "/projects/%s", owner.project_id);
    ASSERT_INT(stack_call(stack, stack_admin_key(stack), "DELETE", path, NULL, &r), 404);
    reply_done(&r);
}

static void a_revoked_key_is_refused_at_once_and_others_go_on(void)
{
    struct reply r = {0};
    char key[80];
    char id[40];
    char path[128];
    make_key("[\"run\"]", key, id);
    ASSERT_INT(stack_call(stack, key, "GET", "/users/me", NULL, &r), 200); /* now it is cached */
    snprintf(path, sizeof(path), "/api-keys/%s", id);
    ASSERT_INT(stack_call(stack, owner.key, "DELETE", path, NULL, &r), 204);
    ASSERT_INT(stack_call(stack, key, "GET", "/users/me", NULL, &r), 401);
    ASSERT_INT(stack_call(stack, owner.key, "GET", "/users/me", NULL, &r), 200);
    ASSERT_INT(stack_call(stack, owner.key, "GET", "/api-keys", NULL, &r), 200);
    bool listed = false;
    for (const cJSON *k = reply_at(&r, "apiKeys")->child; k; k = k->next) {
        if (is(cJSON_GetStringValue(json_at(k, "id")), id))
            listed = cJSON_IsString(json_at(k, "revokedAt"));
    }
    ASSERT_TRUE(listed);
    reply_done(&r);
}

static void a_key_revoked_while_it_is_used_is_refused_at_once(void)
{
    struct reply r = {0};
    for (int i = 0; i < 10; i++) {
        char key[80];
        char id[40];
        char path[128];
        make_key("[\"read\"]", key, id);
        for (int k = 0; k < 3; k++)
            stack_call(stack, key, "GET", "/usage", NULL, &r);
        snprintf(path, sizeof(path), "/api-keys/%s", id);
        ASSERT_INT(stack_call(stack, owner.key, "DELETE", path, NULL, &r), 204);
        ASSERT_INT(stack_call(stack, key, "GET", "/usage", NULL, &r), 401);
    }
    reply_done(&r);
}

static void a_key_is_shown_once(void)
{
    struct reply r = {0};
    char key[80];
    char id[40];
    make_key("[\"read\"]", key, id);
    ASSERT_INT(strlen(key), 68);
    ASSERT_INT(stack_call(stack, owner.key, "GET", "/api-keys", NULL, &r), 200);
    ASSERT_TRUE(strstr(r.body, id) != NULL);
    ASSERT_TRUE(!strstr(r.body, key) && !strstr(r.body, key + 12));
    ASSERT_TRUE(!strstr(r.body, "\"key\"") && !strstr(r.body, "hash"));
    reply_done(&r);
}

/* Rows of all tables that hold text. */
static const char *rows_with(const char *text)
{
    char sql[512];
    snprintf(sql, sizeof(sql),
        "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'public' AND"
        " query_to_xml(format('SELECT * FROM %%I', table_name), true, false, '')::text LIKE '%%%s%%'",
        text);
    return pg_sql(sql);
}

static void keys_are_nowhere_at_rest(void)
{
    char hash[SHA256_HEX_LEN + 1];
    const char *const keys[] = {owner.key, stranger.key, stack_admin_key(stack)};
    for (size_t i = 0; i < 3; i++) {
        sha256_hex_of(keys[i], strlen(keys[i]), hash);
        ASSERT_STR(rows_with(hash), "1"); /* the search finds what is there */
        ASSERT_STR(rows_with(keys[i] + 4), "0");
        ASSERT_STR(rows_with(keys[i] + 20), "0");
        const char *const folders[] = {stack_state_dir(stack), stack_evidence_root(stack)};
        for (size_t k = 0; k < 2; k++)
            ASSERT_INT(RUN_ARGV(NULL, NULL, "grep", "-rqF", keys[i] + 20, folders[k]), 1);
        char *log = stack_log(stack);
        ASSERT_TRUE(!strstr(log, keys[i] + 20));
        free(log);
    }
}

static void bearer_and_header_mean_the_same_key(void)
{
    struct reply r = {0};
    char url[128];
    char bearer[128];
    snprintf(url, sizeof(url), "%s/users/me", stack_url(stack));
    snprintf(bearer, sizeof(bearer), "Authorization: Bearer %s", owner.key);
    struct call c = {.method = "GET", .url = url, .headers = (const char *const[]){bearer, NULL}};
    ASSERT_INT(client_call(&c, &r), 200);
    ASSERT_STR(reply_str(&r, "id"), owner.user_id);
    c.headers = (const char *const[]){"Authorization: Basic eDp5", NULL};
    ASSERT_INT(client_call(&c, &r), 401);
    reply_done(&r);
}

static void metrics_can_be_closed_to_all_but_admins(void)
{
    struct reply r = {0};
    char url[128];
    char bearer[128];
    ASSERT_INT(stack_call(stack, NULL, "GET", "/metrics", NULL, &r), 200);
    ASSERT_INT(stack_terminate(stack), 0);
    stack_set(stack, "ARP_METRICS_PUBLIC=false");
    ASSERT_TRUE(stack_restart(stack));
    ASSERT_INT(stack_call(stack, NULL, "GET", "/metrics", NULL, &r), 401);
    ASSERT_INT(stack_call(stack, owner.key, "GET", "/metrics", NULL, &r), 403);
    ASSERT_INT(stack_call(stack, stack_admin_key(stack), "GET", "/metrics", NULL, &r), 200);
    snprintf(url, sizeof(url), "%s/metrics", stack_url(stack));
    snprintf(bearer, sizeof(bearer), "Authorization: Bearer %s", stack_admin_key(stack));
    struct call c = {.method = "GET", .url = url, .headers = (const char *const[]){bearer, NULL}};
    ASSERT_INT(client_call(&c, &r), 200); /* how Prometheus sends a key */
    ASSERT_INT(stack_terminate(stack), 0);
    stack_set(stack, "ARP_METRICS_PUBLIC=true");
    ASSERT_TRUE(stack_restart(stack));
    reply_done(&r);
}

static void every_route_is_documented_with_its_scope(void)
{
    static const char *const scopes[] = {[HTTP_SCOPE_NONE] = "-",
        [HTTP_SCOPE_READ] = "read",
        [HTTP_SCOPE_RUN] = "run",
        [HTTP_SCOPE_ADMIN] = "admin"};
    char *page = read_text("docs", "API.md");
    ASSERT_TRUE(page != NULL);
    for (size_t i = 0; i < route_table_len; i++) {
        char heading[256];
        snprintf(heading, sizeof(heading), "\n### `%s %s`\n\nScope `%s`", route_table[i].method,
            route_table[i].pattern, scopes[route_table[i].scope]);
        ASSERT_CONTAINS(page, heading);
    }
    size_t headings = 0;
    for (const char *at = page; (at = strstr(at, "\n### `")); at++)
        headings++;
    ASSERT_INT(headings, route_table_len);
    free(page);
}

static void names_are_taken_once(void)
{
    struct reply r = {0};
    ASSERT_INT(stack_call(stack, stack_admin_key(stack), "POST", "/users", "{\"name\":\"owner\"}", &r), 409);
    ASSERT_INT(stack_call(stack, owner.key, "POST", "/projects", "{\"name\":\"project\"}", &r), 409);
    ASSERT_STR(reply_str(&r, "error.code"), "conflict");
    reply_done(&r);
}

TEST_SUITE_WITH(tenancy_test, set_up, tear_down,
    TEST(another_tenants_ids_answer_like_missing_ones_on_every_route), TEST(another_tenant_changed_nothing),
    TEST(lists_show_nothing_of_another_tenant), TEST(a_cursor_of_another_tenant_shows_only_own_rows),
    TEST(a_key_is_required_on_every_route_with_a_scope), TEST(a_scope_opens_its_routes_and_no_more),
    TEST(a_key_does_not_make_a_stronger_key), TEST(an_admin_is_a_tenant_like_any_other),
    TEST(a_revoked_key_is_refused_at_once_and_others_go_on),
    TEST(a_key_revoked_while_it_is_used_is_refused_at_once), TEST(a_key_is_shown_once),
    TEST(keys_are_nowhere_at_rest), TEST(bearer_and_header_mean_the_same_key),
    TEST(metrics_can_be_closed_to_all_but_admins), TEST(names_are_taken_once),
    TEST(every_route_is_documented_with_its_scope))
