/*
 * v0.3, legal holds and the chain of custody over the real API: what each action leaves in a run's chain, what a hold keeps, and that a
 * custody file of the server is accepted by the real arpctl, which tells what is here, what was deleted by policy and what vanished.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tests/support/pg.h"
#include "tests/support/record.h"
#include "tests/support/suite.h"

static struct stack *stack;
static long to_noon_s; /* from noon of yesterday, UTC, to the start of the tests */

/* The custody clock: so many days before that noon, and what has gone by since the start. No midnight falls into a test. */
static bool clock_back_by(const char *days)
{
    char sql[200];
    snprintf(sql, sizeof(sql),
        "CREATE OR REPLACE FUNCTION custody_now() RETURNS timestamptz LANGUAGE sql VOLATILE AS 'SELECT "
        "clock_timestamp() - interval ''%s days %ld seconds'''",
        days, to_noon_s);
    return pg_sql(sql) != NULL;
}

static int set_up(void)
{
    stack = stack_start(NULL);
    to_noon_s = (long)(time(NULL) % 86400) + 43200;
    return stack && clock_back_by("0") ? 0 : 1;
}

static int tear_down(void)
{
    return stack_stop(stack);
}

/* A run of one command whose bundle is ready, and was not fetched yet. */
static void make_run(const struct tenant *t, char *ret_id)
{
    struct reply r = {0};
    ASSERT_INT(stack_run(stack, t, "[[\"true\"]]", &r), 200);
    snprintf(ret_id, 40, "%s", reply_str(&r, "runId"));
    reply_done(&r);
    char sql[160];
    snprintf(sql, sizeof(sql), "SELECT status FROM evidence_bundles WHERE run_id = '%s'", ret_id);
    for (int i = 0; i < 600 && strcmp(pg_sql(sql), "ready") != 0; i++)
        nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
    ASSERT_STR(pg_sql(sql), "ready");
}

static void make_tenant(const char *name, struct tenant *t)
{
    ASSERT_TRUE(stack_tenant(stack, name, -1, t));
}

static long call(const char *key, const char *method, const char *what, const char *id, const char *rest,
    const char *body, struct reply *r)
{
    char path[160];
    snprintf(path, sizeof(path), "/%s/%s%s", what, id, rest);
    return stack_call(stack, key, method, path, body, r);
}

/* GET a run's bundle with one more header. */
static long fetch(const char *key, const char *run, const char *method, const char *header)
{
    struct reply r = {0};
    char url[256];
    snprintf(url, sizeof(url), "%s/runs/%s/evidence", stack_url(stack), run);
    const struct call c = {
        .method = method, .url = url, .key = key, .headers = (const char *const[]){header, NULL}};
    long status = client_call(&c, &r);
    reply_done(&r);
    return status;
}

/* The types of a run's lines, in order, each after a blank; the chain is recomputed. Static buffer. */
static const char *types_of(const struct tenant *t, const char *run)
{
    static char types[512];
    struct reply r = {0};
    struct jsonl lines = {0};
    char *text = calloc(1, 1u << 20);
    types[0] = '\0';
    ASSERT_INT(call(t->key, "GET", "runs", run, "/custody", NULL, &r), 200);
    ASSERT_STR(reply_str(&r, "runId"), run);
    const cJSON *line;
    cJSON_ArrayForEach(line, reply_at(&r, "lines"))
    {
        strcat(text, line->valuestring);
        strcat(text, "\n");
    }
    ASSERT_TRUE(jsonl_parse(text, &lines) && jsonl_chain_ok(&lines, run, "custody.jsonl"));
    for (size_t i = 0; i < lines.n; i++) {
        strcat(types, " ");
        strcat(types, str_at(lines.obj[i], "type"));
    }
    jsonl_done(&lines);
    reply_done(&r);
    return types;
}

/* Member of the last line of a run's chain. Static buffer. */
static const char *last_line(const struct tenant *t, const char *run, const char *member)
{
    static char value[256];
    struct reply r = {0};
    ASSERT_INT(call(t->key, "GET", "runs", run, "/custody", NULL, &r), 200);
    const cJSON *lines = reply_at(&r, "lines");
    cJSON *obj = cJSON_Parse(cJSON_GetArrayItem(lines, cJSON_GetArraySize(lines) - 1)->valuestring);
    const char *s = str_at(obj, member);
    snprintf(value, sizeof(value), "%s", s ? s : "(none)");
    cJSON_Delete(obj);
    reply_done(&r);
    return value;
}

static void key_of(const struct tenant *t, const char *scopes, char *ret_key, char *ret_id)
{
    struct reply r = {0};
    char body[128];
    snprintf(body, sizeof(body), "{\"name\":\"another\",\"scopes\":%s}", scopes);
    ASSERT_INT(stack_call(stack, t->key, "POST", "/api-keys", body, &r), 201);
    snprintf(ret_key, 80, "%s", reply_str(&r, "key"));
    snprintf(ret_id, 40, "%s", reply_str(&r, "id"));
    reply_done(&r);
}

static void each_download_that_gets_bytes_is_a_line(void)
{
    struct tenant t, other;
    char run[40], key[80], key_id[40];
    make_tenant("downloads", &t);
    make_tenant("downloads-other", &other);
    make_run(&t, run);
    key_of(&t, "[\"read\"]", key, key_id);
    ASSERT_STR(types_of(&t, run), " created");
    ASSERT_INT(fetch(t.key, run, "HEAD", NULL), 200);
    ASSERT_INT(fetch(t.key, run, "GET", "If-None-Match: *"), 304);
    ASSERT_INT(fetch(t.key, run, "GET", "Range: bytes=99999999-"), 416);
    ASSERT_INT(fetch(other.key, run, "GET", NULL), 404);
    ASSERT_STR(types_of(&t, run), " created");
    ASSERT_INT(
        fetch(key, run, "GET", "Range: bytes=100-"), 206); /* its first: nobody gets bytes without a line */
    ASSERT_STR(types_of(&t, run), " created downloaded");
    ASSERT_STR(last_line(&t, run, "actor"), key_id);
    ASSERT_STR(last_line(&t, run, "userId"), t.user_id);
    ASSERT_STR(last_line(&t, run, "remote"), "127.0.0.1");
    ASSERT_INT(fetch(key, run, "GET", "Range: bytes=200-"), 206); /* goes on with it */
    ASSERT_STR(types_of(&t, run), " created downloaded");
    ASSERT_INT(fetch(key, run, "GET", "Range: bytes=0-9"), 206);
    ASSERT_INT(fetch(t.key, run, "GET", NULL), 200);
    ASSERT_STR(types_of(&t, run), " created downloaded downloaded downloaded");
    char sql[160];
    snprintf(sql, sizeof(sql), "SELECT 'sha256:' || sha256 FROM evidence_bundles WHERE run_id = '%s'", run);
    ASSERT_STR(last_line(&t, run, "zipSha256"), pg_sql(sql));
}

static void a_verification_is_noted_with_its_verdict(void)
{
    struct tenant t, other;
    struct reply r = {0};
    char run[40], body[256], key[80], key_id[40];
    make_tenant("verified", &t);
    make_tenant("verified-other", &other);
    make_run(&t, run);
    key_of(&t, "[\"read\"]", key, key_id);
    snprintf(body, sizeof(body),
        "{\"action\":\"verified\",\"zipSha256\":\"sha256:%064d\",\"verdict\":\"failed\"}", 7);
    ASSERT_INT(call(key, "POST", "runs", run, "/custody", body, &r), 204);
    ASSERT_STR(types_of(&t, run), " created verified");
    ASSERT_STR(last_line(&t, run, "verdict"), "failed");
    ASSERT_STR(last_line(&t, run, "actor"), key_id);
    ASSERT_INT(call(other.key, "POST", "runs", run, "/custody", body, &r), 404);
    ASSERT_INT(call(other.key, "GET", "runs", run, "/custody", NULL, &r), 404);
    ASSERT_INT(call(t.key, "GET", "runs", "00000000-0000-4000-8000-000000000000", "/custody", NULL, &r), 404);
    static const char *const bad[] = {"{}",
        "{\"action\":\"purged\",\"zipSha256\":\"sha256:%064d\",\"verdict\":\"failed\"}",
        "{\"action\":\"verified\",\"zipSha256\":\"%064d\",\"verdict\":\"failed\"}",
        "{\"action\":\"verified\",\"zipSha256\":\"sha256:%064d\",\"verdict\":\"good\"}",
        "{\"action\":\"verified\",\"zipSha256\":\"sha256:%064d\",\"verdict\":\"failed\",\"x\":1}"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        char *zeros = strstr(strcpy(body, bad[i]), "%064d");
        if (zeros) {
            char tail[128];
            snprintf(tail, sizeof(tail), "%s", zeros + 5);
            snprintf(zeros, sizeof(body) - (size_t)(zeros - body), "%064d%s", 7, tail);
        }
        ASSERT_INT(call(t.key, "POST", "runs", run, "/custody", body, &r), 400);
    }
    ASSERT_STR(types_of(&t, run), " created verified");
    ASSERT_INT(call(t.key, "GET", "runs", run, "/custody?before=1", NULL, &r), 400);
    reply_done(&r);
}

static void holds_are_placed_shown_and_released(void)
{
    struct tenant t, other;
    struct reply r = {0};
    char run[40];
    make_tenant("holds", &t);
    make_tenant("holds-other", &other);
    make_run(&t, run);
    ASSERT_INT(call(t.key, "GET", "runs", run, "", NULL, &r), 200);
    ASSERT_TRUE(cJSON_IsNull(reply_at(&r, "legalHold")));
    ASSERT_INT(call(t.key, "PUT", "projects", t.project_id, "/hold", "{\"reason\":\"case P\"}", &r), 201);
    ASSERT_STR(reply_str(&r, "scope"), "project");
    ASSERT_INT(reply_num(&r, "covered"), 1);
    ASSERT_INT(reply_num(&r, "deletedBefore"), 0);
    ASSERT_INT(call(t.key, "PUT", "projects", t.project_id, "/hold", "{\"reason\":\"case P\"}", &r), 200);
    ASSERT_INT(call(t.key, "PUT", "projects", t.project_id, "/hold", "{\"reason\":\"case Q\"}", &r), 409);
    ASSERT_STR(reply_str(&r, "error.details.reason"), "case P");
    ASSERT_INT(call(t.key, "GET", "runs", run, "", NULL, &r), 200);
    ASSERT_STR(reply_str(&r, "legalHold.reason"), "case P");
    ASSERT_STR(reply_str(&r, "legalHold.scope"), "project");
    ASSERT_INT(strlen(reply_str(&r, "legalHold.since")), 24);
    ASSERT_INT(strlen(reply_str(&r, "legalHold.by")), 36);
    ASSERT_INT(call(t.key, "PUT", "runs", run, "/hold", "{\"reason\":\"case R\"}", &r), 201);
    ASSERT_INT(call(t.key, "GET", "runs", run, "", NULL, &r), 200);
    ASSERT_STR(reply_str(&r, "legalHold.reason"), "case R"); /* the narrowest */
    /* on a user only by an admin, who may hold anybody */
    ASSERT_INT(call(t.key, "PUT", "users", t.user_id, "/hold", "{\"reason\":\"case U\"}", &r), 403);
    ASSERT_INT(
        call(stack_admin_key(stack), "PUT", "users", t.user_id, "/hold", "{\"reason\":\"case U\"}", &r), 201);
    ASSERT_STR(reply_str(&r, "userId"), t.user_id);
    ASSERT_STR(types_of(&t, run), " created held held held");
    ASSERT_INT(stack_call(stack, t.key, "GET", "/holds?limit=2", NULL, &r), 200);
    ASSERT_INT(cJSON_GetArraySize(reply_at(&r, "holds")), 2);
    ASSERT_STR(reply_str(&r, "holds.0.scope"), "user");
    char path[160];
    snprintf(path, sizeof(path), "/holds?cursor=%s", reply_str(&r, "nextCursor"));
    ASSERT_INT(stack_call(stack, t.key, "GET", path, NULL, &r), 200);
    ASSERT_INT(cJSON_GetArraySize(reply_at(&r, "holds")), 1);
    ASSERT_STR(reply_str(&r, "holds.0.reason"), "case P");
    ASSERT_INT(stack_call(stack, other.key, "GET", "/holds", NULL, &r), 200);
    ASSERT_INT(cJSON_GetArraySize(reply_at(&r, "holds")), 0);
    /* others' and bad ones */
    ASSERT_INT(call(other.key, "PUT", "runs", run, "/hold", "{\"reason\":\"x\"}", &r), 404);
    ASSERT_INT(call(other.key, "DELETE", "runs", run, "/hold", NULL, &r), 404);
    ASSERT_INT(call(other.key, "PUT", "projects", t.project_id, "/hold", "{\"reason\":\"x\"}", &r), 404);
    ASSERT_INT(call(t.key, "PUT", "runs", run, "/hold", "{\"reason\":\"\"}", &r), 400);
    ASSERT_INT(call(t.key, "PUT", "runs", run, "/hold", "{}", &r), 400);
    ASSERT_INT(call(t.key, "DELETE", "users", t.user_id, "/hold", NULL, &r), 403);
    ASSERT_INT(call(stack_admin_key(stack), "DELETE", "users", t.user_id, "/hold", NULL, &r), 204);
    ASSERT_INT(call(t.key, "DELETE", "runs", run, "/hold", NULL, &r), 204);
    ASSERT_INT(call(t.key, "DELETE", "runs", run, "/hold", NULL, &r), 404);
    ASSERT_INT(call(t.key, "DELETE", "projects", t.project_id, "/hold", NULL, &r), 204);
    ASSERT_STR(types_of(&t, run), " created held held held released released released");
    ASSERT_INT(call(t.key, "GET", "runs", run, "", NULL, &r), 200);
    ASSERT_TRUE(cJSON_IsNull(reply_at(&r, "legalHold")));
    reply_done(&r);
}

/* --- days, and what the real arpctl says ------------------------------------------------------------------------------------------ */

/* Where custody files are put. */
static const char *files_dir(void)
{
    static const char *dir;
    if (!dir)
        dir = temp_dir();
    return dir;
}

/* Fetch a run's custody with arpctl and verify it; zip may be NULL. *ret_out: what it printed (free()). Returns the exit code. */
static int verify(const struct tenant *t, const char *run, const char *zip, char **ret_out)
{
    char file[256];
    snprintf(file, sizeof(file), "%s/%s.json", files_dir(), run);
    setenv("ARP_URL", stack_url(stack), 1);
    setenv("ARP_API_KEY", t->key, 1);
    ASSERT_INT(RUN_ARGV(NULL, NULL, program_path("arpctl"), "custody", "-o", file, run), 0);
    return RUN_ARGV(NULL, ret_out, program_path("arpctl"), "verify", "--custody", file, "--keyring",
        keyring_file(stack), zip);
}

static void expect(const struct tenant *t, const char *run, const char *zip, int code, const char *evidence)
{
    char *out = NULL;
    int got = verify(t, run, zip, &out);
    if (got != code)
        fprintf(stderr, "%s\n", out ? out : "");
    ASSERT_INT(got, code);
    ASSERT_CONTAINS(out, evidence);
    free(out);
}

/* The first day's head of a custody file, checked with openssl alone as docs/formats/custody.md, section 6, says. */
static void check_with_openssl(const char *run)
{
    static const char TYPE[] = "application/vnd.arp.custody-head+json";
    char dir[200], name[100], script[2048];
    snprintf(dir, sizeof(dir), "%s", files_dir());
    snprintf(name, sizeof(name), "%s.json", run);
    char *text = read_text(dir, name);
    char *keys = read_text("", keyring_file(stack));
    ASSERT_TRUE(text && keys);
    cJSON *doc = cJSON_Parse(text), *ring = cJSON_Parse(keys);
    ASSERT_STR(str_at(doc, "days.0.payloadType"), TYPE);
    /* The shell is the reader's; what stands in quotes is base64. */
    snprintf(script, sizeof(script),
        "cd '%s' && printf %%s '%s' | base64 -d > head && printf %%s '%s' | base64 -d > sig && printf %%s "
        "'%s' > seal.pem &&"
        " { printf 'DSSEv1 %zu %s %%d ' \"$(wc -c < head)\"; cat head; } > pae &&"
        " openssl pkeyutl -verify -pubin -inkey seal.pem -rawin -in pae -sigfile sig",
        dir, str_at(doc, "days.0.payload"), str_at(doc, "days.0.signatures.0.sig"),
        str_at(ring, "keys.0.spkiPem"), strlen(TYPE), TYPE);
    ASSERT_INT(RUN_ARGV(NULL, NULL, "sh", "-c", script), 0);
    cJSON_Delete(doc);
    cJSON_Delete(ring);
    free(text);
    free(keys);
}

static void old_enough(const char *run)
{
    char sql[200];
    snprintf(sql, sizeof(sql),
        "UPDATE evidence_bundles SET created_at = now() - interval '191 days' WHERE run_id = '%s'", run);
    ASSERT_TRUE(pg_sql(sql) != NULL);
}

static void arpctl_tells_here_from_deleted_from_vanished(void)
{
    struct tenant t;
    struct reply r = {0};
    struct record rec;
    char here[40], purged[40], zip[192];
    /* everything so far is of one day: this test's chains begin two days earlier, in a database of their own */
    make_tenant("fates", &t);
    pg_sql("ALTER TABLE custody DISABLE TRIGGER ALL; DELETE FROM custody; ALTER TABLE custody ENABLE TRIGGER "
           "ALL; "
           "DELETE FROM custody_chains");
    ASSERT_TRUE(clock_back_by("2"));
    make_run(&t, here);
    make_run(&t, purged);
    ASSERT_TRUE(record_open(stack, &t, here, &rec));
    snprintf(zip, sizeof(zip), "%s", rec.zip);
    /* held: a pass goes by; released: it is deleted, and the chain says by which policy */
    old_enough(purged);
    ASSERT_INT(call(t.key, "PUT", "runs", purged, "/hold", "{\"reason\":\"case 1\"}", &r), 201);
    ASSERT_INT(stack_call(stack, stack_admin_key(stack), "POST", "/ops/gc", "{\"dryRun\":false}", &r), 200);
    ASSERT_INT(reply_num(&r, "evidence.skippedHeld"), 1);
    ASSERT_INT(reply_num(&r, "evidence.deleted"), 0);
    ASSERT_INT(call(t.key, "DELETE", "runs", purged, "/hold", NULL, &r), 204);
    ASSERT_INT(stack_call(stack, stack_admin_key(stack), "POST", "/ops/gc", "{\"dryRun\":false}", &r), 200);
    ASSERT_INT(reply_num(&r, "evidence.deleted"), 1);
    ASSERT_INT(fetch(t.key, purged, "GET", NULL), 410);
    ASSERT_INT(call(t.key, "PUT", "runs", purged, "/hold", "{\"reason\":\"too late\"}", &r), 409);
    ASSERT_STR(types_of(&t, purged), " created held released purged");
    expect(&t, here, zip, 3, "evidence:     HERE"); /* intact; the days are not signed yet */
    ASSERT_TRUE(clock_back_by("0"));
    for (int i = 0;
         i < 600 && strcmp(pg_sql("SELECT count(*) FROM custody_days WHERE head IS NOT NULL"), "2") != 0; i++)
        nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
    ASSERT_STR(pg_sql("SELECT count(*) FROM custody_days WHERE head IS NOT NULL"), "2");
    expect(&t, here, zip, 0, "evidence:     HERE");
    check_with_openssl(here);
    expect(&t, here, NULL, 1, "evidence:     VANISHED");
    expect(&t, purged, NULL, 0, "evidence:     DELETED BY POLICY EVIDENCE_TTL_DAYS=190");
    expect(&t, purged, zip, 1, "is not the one that was made");
    ASSERT_INT(stack_call(stack, t.key, "GET", "/custody/days?limit=1", NULL, &r), 200);
    ASSERT_INT(cJSON_GetArraySize(reply_at(&r, "days")), 1);
    char path[80];
    snprintf(path, sizeof(path), "/custody/days?cursor=%s", reply_str(&r, "nextCursor"));
    ASSERT_INT(stack_call(stack, t.key, "GET", path, NULL, &r), 200);
    ASSERT_INT(cJSON_GetArraySize(reply_at(&r, "days")), 1);
    ASSERT_INT(stack_call(stack, t.key, "GET", "/custody/days?cursor=yesterday", NULL, &r), 400);
    /* an operator who changes a signed line in the database is found out */
    pg_sql("ALTER TABLE custody DISABLE TRIGGER ALL");
    char sql[300];
    snprintf(sql, sizeof(sql),
        "UPDATE custody SET line = replace(line, '127.0.0.1', '127.0.0.2') WHERE run_id = '%s'", here);
    ASSERT_TRUE(pg_sql(sql) != NULL);
    pg_sql("ALTER TABLE custody ENABLE TRIGGER ALL");
    expect(&t, here, zip, 1, "integrity:    FAILED");
    record_done(&rec);
    reply_done(&r);
}

TEST_SUITE_WITH(custody_test, set_up, tear_down, TEST(each_download_that_gets_bytes_is_a_line),
    TEST(a_verification_is_noted_with_its_verdict), TEST(holds_are_placed_shown_and_released),
    TEST(arpctl_tells_here_from_deleted_from_vanished))
