/*
 * Thrust 3 of devguide v0.3: every completed run becomes a sealed bundle, the API tells where it stands, and tools nobody here wrote
 * accept it. A trigger holds rows back where a test needs to stand between the end of a run and its bundle.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "shared/buf.h"
#include "shared/hash.h"
#include "tests/support/pg.h"
#include "tests/support/record.h"
#include "tests/support/suite.h"

static struct stack *stack;

static int set_up(void)
{
    static const char *const env[] = {"ARP_BUNDLE_SCAN_SECONDS=1", "ARP_LEASE_SECONDS=3", NULL};
    stack = stack_start(env);
    return stack ? 0 : 1;
}

static int tear_down(void)
{
    return stack_stop(stack);
}

/* Run body to an end of that status. */
static void run_to(const struct tenant *t, const char *body, const char *status, char *ret_id)
{
    struct reply r = {0};
    ASSERT_INT(run_post(stack, t, body, &r), 200);
    ASSERT_STR(reply_str(&r, "status"), status);
    snprintf(ret_id, 40, "%s", reply_str(&r, "runId"));
    reply_done(&r);
}

static const char *bundle_column(const char *run_id, const char *column)
{
    char sql[256];
    snprintf(sql, sizeof(sql), "SELECT %s FROM evidence_bundles WHERE run_id = '%s'", column, run_id);
    return pg_sql(sql);
}

static void change_bundle(const char *run_id, const char *set)
{
    char sql[512];
    snprintf(sql, sizeof(sql), "UPDATE evidence_bundles SET %s WHERE run_id = '%s'", set, run_id);
    ASSERT_TRUE(pg_sql(sql) != NULL);
}

#define RELEASED "claim_holder = NULL, claim_expires_at = NULL"

/* GET /runs/:id/evidence. */
static long get_evidence(const char *key, const char *run_id, struct reply *ret)
{
    char path[80];
    snprintf(path, sizeof(path), "/runs/%s/evidence", run_id);
    return stack_call(stack, key, "GET", path, NULL, ret);
}

static bool wait_status(const char *run_id, const char *status)
{
    for (int i = 0; i < 30 * 20; i++) {
        if (strcmp(bundle_column(run_id, "status"), status) == 0)
            return true;
        nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
    }
    fprintf(stderr, "evidence of %s: status %s, not %s\n", run_id, bundle_column(run_id, "status"), status);
    return false;
}

/* --- rows ---------------------------------------------------------------------------------------------------------------------- */

static void evidence_table_has_the_columns_of_the_spec(void)
{
    ASSERT_STR(
        pg_sql("SELECT string_agg(column_name || ' ' || data_type, ', ' ORDER BY column_name) FROM "
               "information_schema.columns "
               "WHERE table_name = 'evidence_bundles' AND column_name IN ('id', 'run_id', 'user_id', "
               "'project_id', "
               "'workspace_id', 'status', 'bundle_path', 'created_at', 'updated_at', 'error_message')"),
        "bundle_path text, created_at timestamp with time zone, error_message text, id uuid, project_id "
        "uuid, run_id uuid, status "
        "text, updated_at timestamp with time zone, user_id uuid, workspace_id uuid");
}

static void every_completed_run_gets_a_row_that_becomes_ready(void)
{
    struct tenant t;
    struct record rec;
    char run[3][40], want[160], path[160];
    static const char *const status[] = {"succeeded", "failed", "timeout"};
    static const char *const body[] = {"{\"commands\":[[\"true\"]]}", "{\"commands\":[[\"false\"]]}",
        "{\"commands\":[{\"argv\":[\"sleep\",\"600\"],\"timeoutMs\":200}]}"};
    ASSERT_TRUE(stack_tenant(stack, "rows", -1, &t));
    for (int i = 0; i < 3; i++) {
        run_to(&t, body[i], status[i], run[i]);
        ASSERT_TRUE(wait_status(run[i], "ready"));
        snprintf(want, sizeof(want), "%s %s %s", t.user_id, t.project_id, t.workspace_id);
        ASSERT_STR(bundle_column(run[i], "concat_ws(' ', user_id, project_id, workspace_id)"), want);
        snprintf(path, sizeof(path), "%s.zip", run[i]);
        ASSERT_STR(bundle_column(run[i], "bundle_path"), path);
        ASSERT_STR(bundle_column(run[i], "complete"), "t");
        ASSERT_TRUE(record_open(stack, &t, run[i], &rec));
        ASSERT_STR(str_at(rec.metadata, "status"), status[i]);
        ASSERT_INT(arpctl_verify(rec.zip, keyring_file(stack), NULL), 0);
        record_done(&rec);
    }
    ASSERT_STR(pg_sql("SELECT count(*) FROM runs r WHERE finished_at IS NOT NULL AND NOT EXISTS (SELECT 1 "
                      "FROM evidence_bundles e "
                      "WHERE e.run_id = r.id)"),
        "0");
}

static void listing_says_which_runs_have_evidence(void)
{
    struct tenant t;
    struct reply r = {0};
    char done[40], live[40], path[80];
    ASSERT_TRUE(stack_tenant(stack, "listing", -1, &t));
    run_to(&t, "{\"commands\":[[\"true\"]]}", "succeeded", done);
    ASSERT_TRUE(wait_status(done, "ready"));
    ASSERT_TRUE(run_begin(stack, &t, "{\"commands\":[[\"sleep\",\"600\"]]}", live));
    ASSERT_TRUE(run_wait_event(stack, &t, live, "RunCommandStarted"));
    snprintf(path, sizeof(path), "/projects/%s/runs", t.project_id);
    ASSERT_INT(stack_call(stack, t.key, "GET", path, NULL, &r), 200);
    ASSERT_STR(reply_str(&r, "runs.0.id"), live);
    ASSERT_TRUE(cJSON_IsFalse(reply_at(&r, "runs.0.hasEvidence")));
    ASSERT_STR(reply_str(&r, "runs.1.id"), done);
    ASSERT_TRUE(cJSON_IsTrue(reply_at(&r, "runs.1.hasEvidence")));
    /* A run that goes on has its evidence still to come. */
    ASSERT_INT(get_evidence(t.key, live, &r), 202);
    ASSERT_STR(reply_str(&r, "status"), "pending");
    snprintf(path, sizeof(path), "/runs/%s/cancel", live);
    ASSERT_INT(stack_call(stack, t.key, "POST", path, NULL, &r), 202);
    ASSERT_TRUE(stack_wait_run(stack, &t, live, 30, &r));
    ASSERT_TRUE(wait_status(live, "ready"));
    reply_done(&r);
}

/* --- content -------------------------------------------------------------------------------------------------------------------- */

static void zip_has_one_folder_with_the_files_of_the_spec_and_of_the_bag(void)
{
    struct tenant t;
    struct record rec;
    char run[40], line[128];
    char *names = NULL;
    static const char *const files[] = {"metadata.json", "env_snapshot.json", "command_log.jsonl",
        "processes.jsonl", "outputs.json", "events.jsonl", "diff.patch", "README.txt", "bagit.txt",
        "bag-info.txt", "manifest-sha256.txt", "tagmanifest-sha256.txt", "ro-crate-metadata.json",
        "data/replay.json", "attestation/run.intoto.jsonl", "attestation/tagmanifest-sha256.txt.sig"};
    enum { FILES = sizeof(files) / sizeof(files[0]) };
    ASSERT_TRUE(stack_tenant(stack, "names", -1, &t));
    run_to(&t, "{\"commands\":[[\"sh\",\"-c\",\"echo out; echo x > '../repo/results/a b.txt'\"]]}",
        "succeeded", run);
    ASSERT_TRUE(record_open(stack, &t, run, &rec));
    ASSERT_INT(RUN_ARGV(NULL, &names, "unzip", "-Z1", rec.zip), 0);
    for (size_t i = 0; i < FILES; i++) {
        snprintf(line, sizeof(line), "%s/%s\n", run, files[i]);
        ASSERT_CONTAINS(names, line);
    }
    size_t n = 0, blobs = 0;
    snprintf(line, sizeof(line), "%s/data/blobs/sha256-", run);
    for (char *save = NULL, *name = strtok_r(names, "\n", &save); name;
         name = strtok_r(NULL, "\n", &save), n++)
        blobs += strncmp(name, line, strlen(line)) == 0 && strlen(name) == strlen(line) + 64;
    ASSERT_INT(n, FILES + blobs);
    ASSERT_TRUE(blobs >= 1);
    free(names);
    record_done(&rec);
}

static void metadata_tells_whose_run_it_was_and_how_it_ended(void)
{
    struct tenant t;
    struct record rec;
    struct reply r = {0};
    char run[40], path[64];
    ASSERT_TRUE(stack_tenant(stack, "metadata", -1, &t));
    run_to(&t, "{\"prompt\":\"try it\",\"commands\":[[\"echo\",\"x\"],[\"false\"]]}", "failed", run);
    ASSERT_TRUE(record_open(stack, &t, run, &rec));
    snprintf(path, sizeof(path), "/runs/%s", run);
    ASSERT_INT(stack_call(stack, t.key, "GET", path, NULL, &r), 200);
    const cJSON *m = rec.metadata;
    ASSERT_STR(str_at(m, "runId"), run);
    ASSERT_STR(str_at(m, "userId"), t.user_id);
    ASSERT_STR(str_at(m, "projectId"), t.project_id);
    ASSERT_STR(str_at(m, "projectName"), "project");
    ASSERT_STR(str_at(m, "workspaceId"), t.workspace_id);
    ASSERT_STR(str_at(m, "prompt"), "try it");
    ASSERT_STR(str_at(m, "status"), "failed");
    ASSERT_STR(str_at(m, "errorMessage"), "command 1 exited with code 1");
    static const char *const same[] = {
        "imageName", "imageDigest", "gitCommit", "createdAt", "errorMessage", "status"};
    for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++)
        ASSERT_STR(str_at(m, same[i]), reply_str(&r, same[i]));
    ASSERT_TRUE(cJSON_Compare(json_at(m, "runContext"), reply_at(&r, "runContext"), true));
    ASSERT_INT(num_at(m, "events.lines"), rec.events.n);
    ASSERT_INT(num_at(m, "processes.lines"), rec.processes.n);
    ASSERT_INT(num_at(m, "commandLog.lines"), 2);
    ASSERT_TRUE(cJSON_IsTrue(json_at(m, "closed")) && cJSON_IsTrue(json_at(m, "complete")) &&
                cJSON_IsTrue(json_at(m, "volumeMatch")));
    ASSERT_STR(str_at(rec.snapshot, "runId"), run);
    ASSERT_STR(str_at(rec.snapshot, "imageDigest"), str_at(m, "imageDigest"));
    reply_done(&r);
    record_done(&rec);
}

static void events_in_the_zip_are_the_bytes_the_stream_sent(void)
{
    struct tenant t;
    struct record rec;
    struct stream st;
    size_t len = 0;
    ASSERT_TRUE(stack_tenant(stack, "bytes", -1, &t));
    ASSERT_INT(stream_run(stack, &t,
                   "{\"commands\":[[\"sh\",\"-c\",\"echo hi > results/a.txt; git add -A; exit 3\"]]}", &st),
        200);
    static const char *const order[] = {
        "run-start", "tool-context", "command-start", "command-finish", "diff", "run-complete"};
    size_t k = 0;
    for (size_t i = 0; i < st.n; i++) {
        if (strcmp(st.events[i].name, "process") == 0 || strcmp(st.events[i].name, "heartbeat") == 0)
            continue;
        ASSERT_TRUE(k < 6);
        ASSERT_STR(st.events[i].name, order[k++]);
    }
    ASSERT_INT(k, 6);
    ASSERT_TRUE(record_open(stack, &t, st.run_id, &rec));
    char *sent = stream_lines(&st);
    char *kept = read_bytes(rec.dir, "events.jsonl", &len);
    ASSERT_TRUE(kept && len == strlen(sent) && memcmp(kept, sent, len) == 0);
    free(kept);
    free(sent);
    stream_done(&st);
    record_done(&rec);
}

static void diff_of_a_run_that_changed_nothing_is_there_and_empty(void)
{
    struct tenant t;
    struct record rec;
    char run[40];
    size_t len = 1;
    ASSERT_TRUE(stack_tenant(stack, "nodiff", -1, &t));
    run_to(&t, "{\"commands\":[[\"true\"]]}", "succeeded", run);
    ASSERT_TRUE(record_open(stack, &t, run, &rec));
    free(read_bytes(rec.dir, "diff.patch", &len));
    ASSERT_INT(len, 0);
    record_done(&rec);
}

/* --- answers of the API ---------------------------------------------------------------------------------------------------------- */

static void api_answers_the_row_s_status(void)
{
    struct tenant t;
    struct reply r = {0};
    char run[40], file[256];
    ASSERT_TRUE(stack_tenant(stack, "status", -1, &t));
    run_to(&t, "{\"commands\":[[\"true\"]]}", "succeeded", run);
    ASSERT_TRUE(wait_status(run, "ready"));
    ASSERT_INT(get_evidence(t.key, run, &r), 200);
    ASSERT_CONTAINS(r.headers, "application/zip");
    ASSERT_TRUE(r.len > 4 && memcmp(r.body, "PK\3\4", 4) == 0);
    change_bundle(
        run, "status = 'pending', claim_holder = 'test', claim_expires_at = now() + interval '1 hour'");
    ASSERT_INT(get_evidence(t.key, run, &r), 202);
    ASSERT_STR(r.body, "{\"status\":\"pending\"}");
    change_bundle(run, "status = 'error', error_message = 'the reason'");
    ASSERT_INT(get_evidence(t.key, run, &r), 500);
    ASSERT_STR(r.body, "{\"status\":\"error\",\"message\":\"the reason\"}");
    change_bundle(run, "status = 'deleted', deleted_at = now()");
    ASSERT_INT(get_evidence(t.key, run, &r), 410);
    ASSERT_STR(reply_str(&r, "error.code"), "gone");
    change_bundle(run, "status = 'ready', deleted_at = NULL");
    ASSERT_INT(get_evidence(t.key, run, &r), 200);
    snprintf(file, sizeof(file), "%s/%s.zip", stack_evidence_root(stack), run);
    ASSERT_INT(unlink(file), 0);
    ASSERT_INT(get_evidence(t.key, run, &r), 500);
    ASSERT_STR(reply_str(&r, "status"), "error");
    reply_done(&r);
}

static void evidence_of_others_is_not_found(void)
{
    struct tenant a, b;
    struct reply r = {0};
    char run[40];
    ASSERT_TRUE(stack_tenant(stack, "owner", -1, &a));
    ASSERT_TRUE(stack_tenant(stack, "other", -1, &b));
    run_to(&a, "{\"commands\":[[\"true\"]]}", "succeeded", run);
    ASSERT_TRUE(wait_status(run, "ready"));
    ASSERT_INT(get_evidence(b.key, run, &r), 404);
    ASSERT_STR(reply_str(&r, "error.code"), "not_found");
    ASSERT_INT(get_evidence(stack_admin_key(stack), run, &r), 404);
    ASSERT_INT(get_evidence(NULL, run, &r), 401);
    ASSERT_INT(get_evidence(a.key, "00000000-0000-4000-8000-000000000000", &r), 404);
    ASSERT_INT(get_evidence(a.key, "not-a-run", &r), 404);
    ASSERT_INT(get_evidence(a.key, "..%2f..%2fetc%2fpasswd", &r), 400);
    ASSERT_INT(get_evidence(a.key, run, &r), 200);
    reply_done(&r);
}

/* Value of a header into ret; false when it is not there. */
static bool header(const struct reply *r, const char *name, char *ret, size_t size)
{
    char pattern[64];
    snprintf(pattern, sizeof(pattern), "\n%s: ", name);
    const char *at = strcasestr(r->headers, pattern);
    if (!at)
        return false;
    at += strlen(pattern);
    snprintf(ret, size, "%.*s", (int)strcspn(at, "\r\n"), at);
    return true;
}

static long get_with(
    const struct tenant *t, const char *run_id, const char *method, const char *h, struct reply *ret)
{
    char url[160];
    const char *const headers[] = {h, NULL};
    snprintf(url, sizeof(url), "%s/runs/%s/evidence", stack_url(stack), run_id);
    struct call c = {.method = method, .url = url, .key = t->key, .headers = headers};
    return client_call(&c, ret);
}

static void zip_is_served_with_ranges_entity_tag_and_digest(void)
{
    struct tenant t;
    struct reply whole = {0}, part = {0};
    char run[40], etag[128], value[160], hex[65], want[160];
    unsigned char digest[SHA256_BYTES];
    ASSERT_TRUE(stack_tenant(stack, "ranges", -1, &t));
    run_to(&t, "{\"commands\":[[\"true\"]]}", "succeeded", run);
    ASSERT_TRUE(wait_status(run, "ready"));
    ASSERT_INT(get_evidence(t.key, run, &whole), 200);
    hex_sha256(whole.body, whole.len, hex);
    ASSERT_STR(bundle_column(run, "sha256"), hex);
    ASSERT_TRUE(header(&whole, "ETag", etag, sizeof(etag)));
    snprintf(want, sizeof(want), "\"%s\"", hex);
    ASSERT_STR(etag, want);
    cleanup_buf struct buf b;
    buf_init(&b, 128);
    sha256_of(whole.body, whole.len, digest);
    base64_encode(digest, sizeof(digest), &b);
    snprintf(want, sizeof(want), "sha-256=:%s:", buf_str(&b));
    ASSERT_TRUE(header(&whole, "Repr-Digest", value, sizeof(value)));
    ASSERT_STR(value, want);
    ASSERT_INT(get_with(&t, run, "GET", "Range: bytes=10-19", &part), 206);
    ASSERT_TRUE(part.len == 10 && memcmp(part.body, whole.body + 10, 10) == 0);
    snprintf(want, sizeof(want), "bytes 10-19/%zu", whole.len);
    ASSERT_TRUE(header(&part, "Content-Range", value, sizeof(value)));
    ASSERT_STR(value, want);
    ASSERT_INT(get_with(&t, run, "GET", "Range: bytes=-7", &part), 206);
    ASSERT_TRUE(part.len == 7 && memcmp(part.body, whole.body + whole.len - 7, 7) == 0);
    ASSERT_INT(get_with(&t, run, "GET", "Range: bytes=99999999-", &part), 416);
    snprintf(want, sizeof(want), "If-None-Match: %s", etag);
    ASSERT_INT(get_with(&t, run, "GET", want, &part), 304);
    ASSERT_INT(part.len, 0);
    reply_done(&part);
    reply_done(&whole);
}

/* --- verification ---------------------------------------------------------------------------------------------------------------- */

static void stock_tools_accept_the_bundle(void)
{
    struct tenant t;
    struct record rec;
    struct reply r = {0};
    char run[40], pem[128], allowed[128], work[128];
    const char *dir = temp_dir();
    char *said = NULL;
    ASSERT_TRUE(stack_tenant(stack, "stock", -1, &t));
    run_to(&t, "{\"commands\":[[\"sh\",\"-c\",\"echo out; echo err >&2; echo x > results/x\"]]}", "succeeded",
        run);
    ASSERT_TRUE(record_open(stack, &t, run, &rec));
    ASSERT_INT(RUN_ARGV(rec.dir, NULL, "sha256sum", "--strict", "-c", "tagmanifest-sha256.txt"), 0);
    ASSERT_INT(RUN_ARGV(rec.dir, NULL, "sha256sum", "--strict", "-c", "manifest-sha256.txt"), 0);
    snprintf(pem, sizeof(pem), "%s/seal.pub", dir);
    snprintf(allowed, sizeof(allowed), "%s/allowed_signers", dir);
    snprintf(work, sizeof(work), "%s/unpacked", dir);
    ASSERT_INT(stack_call(stack, NULL, "GET", "/.well-known/arp-keys.json", NULL, &r), 200);
    FILE *f = fopen(pem, "w");
    fputs(reply_str(&r, "keys.0.spkiPem"), f);
    fclose(f);
    ASSERT_INT(stack_call(stack, NULL, "GET", "/.well-known/arp-allowed-signers", NULL, &r), 200);
    f = fopen(allowed, "w");
    fwrite(r.body, 1, r.len, f);
    fclose(f);
    int code = RUN_ARGV(NULL, &said, "/bin/sh", "tests/tamper/foreign_tools.sh", rec.zip, pem, allowed, work);
    ASSERT_CONTAINS(said, "ACCEPTED");
    ASSERT_INT(code, 0);
    free(said);
    reply_done(&r);
    record_done(&rec);
}

static void verify_accepts_the_bundle_and_refuses_it_with_any_byte_flipped(void)
{
    struct tenant t;
    struct record rec;
    char run[40], bad[224], keyring[128];
    size_t len = 0;
    ASSERT_TRUE(stack_tenant(stack, "verify", -1, &t));
    run_to(&t, "{\"commands\":[[\"echo\",\"hello\"]]}", "succeeded", run);
    ASSERT_TRUE(record_open(stack, &t, run, &rec));
    snprintf(keyring, sizeof(keyring), "%s", keyring_file(stack));
    ASSERT_INT(arpctl_verify(rec.zip, keyring, NULL), 0);
    ASSERT_INT(arpctl_verify(rec.zip, NULL, NULL), 3);
    char *bytes = read_bytes("", rec.zip, &len);
    snprintf(bad, sizeof(bad), "%s.bad", rec.zip);
    /* tests/tamper flips every byte of a fixture; here it is the product's own bundle. */
    for (size_t at = 0; at < len; at += len / 23) {
        bytes[at] ^= 0x20;
        FILE *f = fopen(bad, "w");
        fwrite(bytes, 1, len, f);
        fclose(f);
        ASSERT_INT(arpctl_verify(bad, keyring, NULL), 1);
        bytes[at] ^= 0x20;
    }
    free(bytes);
    record_done(&rec);
}

static void verify_does_not_trust_the_key_of_another_installation(void)
{
    struct tenant t;
    struct record rec;
    struct reply r = {0};
    char run[40], other[128];
    ASSERT_TRUE(stack_tenant(stack, "foreign", -1, &t));
    run_to(&t, "{\"commands\":[[\"true\"]]}", "succeeded", run);
    ASSERT_TRUE(record_open(stack, &t, run, &rec));
    snprintf(other, sizeof(other), "%s/other.pem", temp_dir());
    char private_key[160];
    snprintf(private_key, sizeof(private_key), "%s.key", other);
    ASSERT_INT(RUN_ARGV(NULL, NULL, "openssl", "genpkey", "-algorithm", "ed25519", "-out", private_key), 0);
    ASSERT_INT(RUN_ARGV(NULL, NULL, "openssl", "pkey", "-in", private_key, "-pubout", "-out", other), 0);
    ASSERT_INT(RUN_ARGV(NULL, NULL, program_path("arpctl"), "verify", "--public-key", other, rec.zip), 3);
    reply_done(&r);
    record_done(&rec);
}

/* --- the builder ----------------------------------------------------------------------------------------------------------------- */

/* The staging directory goes right after the row is ready; a copy put in its place before that would go with it. */
static bool wait_gone(const char *path)
{
    for (int i = 0; i < 500 && access(path, F_OK) == 0; i++)
        nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
    return access(path, F_OK) != 0;
}

static void bundle_built_again_from_the_same_staging_is_the_same_bytes(void)
{
    struct tenant t;
    char run[40], staging[256], copy[160], first[80];
    ASSERT_TRUE(stack_tenant(stack, "again", -1, &t));
    ASSERT_TRUE(evidence_hold(true));
    run_to(&t, "{\"commands\":[[\"sh\",\"-c\",\"echo out; echo x > results/x\"]]}", "succeeded", run);
    ASSERT_TRUE(evidence_hold(false));
    snprintf(staging, sizeof(staging), "%s/staging/%s", stack_evidence_root(stack), run);
    snprintf(copy, sizeof(copy), "%s/copy", temp_dir());
    ASSERT_INT(RUN_ARGV(NULL, NULL, "cp", "-a", staging, copy), 0);
    change_bundle(run, RELEASED);
    ASSERT_TRUE(wait_status(run, "ready"));
    snprintf(first, sizeof(first), "%s", bundle_column(run, "sha256"));
    ASSERT_TRUE(wait_gone(staging));
    ASSERT_INT(RUN_ARGV(NULL, NULL, "cp", "-a", copy, staging), 0);
    change_bundle(run, "status = 'pending', sha256 = NULL, " RELEASED);
    ASSERT_TRUE(wait_status(run, "ready"));
    ASSERT_STR(bundle_column(run, "sha256"), first);
}

static void changed_staging_is_never_sealed_as_a_second_story(void)
{
    struct tenant t;
    char run[40], staging[256], copy[160], file[320];
    ASSERT_TRUE(stack_tenant(stack, "second", -1, &t));
    ASSERT_TRUE(evidence_hold(true));
    run_to(&t, "{\"commands\":[[\"false\"]]}", "failed", run);
    ASSERT_TRUE(evidence_hold(false));
    snprintf(staging, sizeof(staging), "%s/staging/%s", stack_evidence_root(stack), run);
    snprintf(copy, sizeof(copy), "%s/copy", temp_dir());
    ASSERT_INT(RUN_ARGV(NULL, NULL, "cp", "-a", staging, copy), 0);
    change_bundle(run, RELEASED);
    ASSERT_TRUE(wait_status(run, "ready"));
    ASSERT_TRUE(wait_gone(staging));
    ASSERT_INT(RUN_ARGV(NULL, NULL, "cp", "-a", copy, staging), 0);
    snprintf(file, sizeof(file), "%s/diff.patch", staging);
    FILE *f = fopen(file, "a");
    fputs("one line more\n", f);
    fclose(f);
    change_bundle(run, "status = 'pending', " RELEASED);
    ASSERT_TRUE(wait_status(run, "error"));
    ASSERT_CONTAINS(bundle_column(run, "error_message"), "sealed");
}

static void pending_row_left_by_a_crash_is_built_after_the_next_start(void)
{
    struct tenant t;
    struct record rec;
    char run[40];
    ASSERT_TRUE(stack_tenant(stack, "crash", -1, &t));
    ASSERT_TRUE(evidence_hold(true));
    run_to(&t, "{\"commands\":[[\"echo\",\"x\"]]}", "succeeded", run);
    ASSERT_TRUE(evidence_hold(false));
    stack_kill(stack);
    ASSERT_STR(bundle_column(run, "status"), "pending");
    change_bundle(run, "claim_expires_at = now() - interval '1 second'");
    ASSERT_TRUE(stack_restart(stack));
    ASSERT_TRUE(record_open(stack, &t, run, &rec));
    ASSERT_INT(arpctl_verify(rec.zip, keyring_file(stack), NULL), 0);
    record_done(&rec);
}

static void bundle_that_can_not_be_built_is_an_error_with_its_reason(void)
{
    struct tenant t;
    struct reply r = {0};
    char run[40], staging[256], zip[256];
    ASSERT_TRUE(stack_tenant(stack, "broken", -1, &t));
    ASSERT_TRUE(evidence_hold(true));
    run_to(&t, "{\"commands\":[[\"true\"]]}", "succeeded", run);
    ASSERT_TRUE(evidence_hold(false));
    snprintf(staging, sizeof(staging), "%s/staging/%s", stack_evidence_root(stack), run);
    snprintf(zip, sizeof(zip), "%s/%s.zip", stack_evidence_root(stack), run);
    double errors = stack_metric(stack, "arp_evidence_bundles_total{status=\"error\"}");
    ASSERT_INT(RUN_ARGV(NULL, NULL, "rm", "-rf", staging), 0);
    change_bundle(run, RELEASED);
    ASSERT_TRUE(wait_status(run, "error"));
    ASSERT_INT(get_evidence(t.key, run, &r), 500);
    ASSERT_STR(reply_str(&r, "status"), "error");
    ASSERT_STR(reply_str(&r, "message"), bundle_column(run, "error_message"));
    ASSERT_TRUE(strlen(reply_str(&r, "message")) > 0);
    ASSERT_TRUE(access(zip, F_OK) != 0);
    ASSERT_INT(stack_metric(stack, "arp_evidence_bundles_total{status=\"error\"}") - errors, 1);
    /* The next run's is not its business. */
    run_to(&t, "{\"commands\":[[\"true\"]]}", "succeeded", run);
    ASSERT_TRUE(wait_status(run, "ready"));
    reply_done(&r);
}

TEST_SUITE_WITH(evidence_bundle_test, set_up, tear_down, TEST(evidence_table_has_the_columns_of_the_spec),
    TEST(every_completed_run_gets_a_row_that_becomes_ready), TEST(listing_says_which_runs_have_evidence),
    TEST(zip_has_one_folder_with_the_files_of_the_spec_and_of_the_bag),
    TEST(metadata_tells_whose_run_it_was_and_how_it_ended),
    TEST(events_in_the_zip_are_the_bytes_the_stream_sent),
    TEST(diff_of_a_run_that_changed_nothing_is_there_and_empty), TEST(api_answers_the_row_s_status),
    TEST(evidence_of_others_is_not_found), TEST(zip_is_served_with_ranges_entity_tag_and_digest),
    TEST(stock_tools_accept_the_bundle), TEST(verify_accepts_the_bundle_and_refuses_it_with_any_byte_flipped),
    TEST(verify_does_not_trust_the_key_of_another_installation),
    TEST(bundle_built_again_from_the_same_staging_is_the_same_bytes),
    TEST(changed_staging_is_never_sealed_as_a_second_story),
    TEST(pending_row_left_by_a_crash_is_built_after_the_next_start),
    TEST(bundle_that_can_not_be_built_is_an_error_with_its_reason))
