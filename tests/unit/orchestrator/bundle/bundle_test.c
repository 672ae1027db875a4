/*
 * The bundle builder: what it makes, that it makes it again with the same bytes, and what it refuses.
 */
#include "orchestrator/bundle/bundle.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shared/fd.h"
#include "shared/hash.h"
#include "shared/json.h"
#include "tests/support/evidence_fixture.h"
#include "tests/support/suite.h"

static struct fixture fx;

static int set_up(void)
{
    fixture_open(&fx);
    return 0;
}

static int tear_down(void)
{
    fixture_close(&fx);
    return 0;
}

static void write_in(const char *dir, const char *name, const char *text)
{
    char path[PATH_MAX + 96];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    FILE *f = fopen(path, "w");
    ASSERT_TRUE(f != NULL);
    fputs(text, f);
    fclose(f);
}

static void remove_in(const char *dir, const char *name)
{
    char path[PATH_MAX + 96];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    ASSERT_INT(unlink(path), 0);
}

static void bundle_has_the_files_in_order(void)
{
    static const char *const names[] = {"README.txt", "attestation/run.intoto.jsonl",
        "attestation/tagmanifest-sha256.txt.sig", "bag-info.txt", "bagit.txt", "command_log.jsonl",
        "data/blobs/"};
    char zip[PATH_MAX];
    cleanup_entries struct entries e;
    fixture_build(&fx, FIXTURE_RUN_A, FIXTURE_FULL, zip);
    fixture_unpack(zip, &e);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        ASSERT_CONTAINS(e.items[i].name, names[i]);
    for (size_t i = 1; i < e.count; i++)
        ASSERT_TRUE(strcmp(e.items[i - 1].name, e.items[i].name) < 0);
    ASSERT_INT(e.count, 16 + 5);
}

/* Again from the same staging, in another time zone: the same bytes, and the signer allows it. */
static void same_input_gives_the_same_bytes(void)
{
    struct bundle_input in;
    struct bundle_result first, again;
    struct arp_err err = {0};
    fixture_stage(&fx, FIXTURE_RUN_A, FIXTURE_FULL, &in);
    ASSERT_INT(bundle_build(&in, fx.signer, fx.out, &first, &err), 0);
    setenv("TZ", "Pacific/Auckland", 1);
    ASSERT_INT(bundle_build(&in, fx.signer, fx.out, &again, &err), 0);
    unsetenv("TZ");
    ASSERT_STR(again.sha256, first.sha256);
    ASSERT_STR(again.dsse_sha256, first.dsse_sha256);
    ASSERT_INT(again.size_bytes, first.size_bytes);
    struct stat st;
    ASSERT_INT(stat(again.path, &st), 0);
    ASSERT_INT(st.st_size, again.size_bytes);
    char work[PATH_MAX];
    snprintf(work, sizeof(work), "%s/.build-%s", fx.out, FIXTURE_RUN_A);
    ASSERT_INT(access(work, F_OK), -1);
}

static void other_content_for_a_sealed_run_is_refused(void)
{
    struct bundle_input in;
    struct bundle_result res;
    struct arp_err err = {0};
    fixture_stage(&fx, FIXTURE_RUN_A, FIXTURE_FULL, &in);
    write_in(in.staging_dir, "metadata.json", "{}");
    ASSERT_INT(bundle_build(&in, fx.signer, fx.out, &res, &err), ARP_E_CONFLICT);
}

static void left_over_of_a_crash_is_cleared(void)
{
    char work[PATH_MAX], zip[PATH_MAX];
    snprintf(work, sizeof(work), "%s/.build-%s", fx.out, FIXTURE_RUN_A);
    ASSERT_INT(mkdir(work, 0700), 0);
    write_in(work, "bundle.zip", "half");
    write_in(work, "bundle.zip.Ab12Cd", "half");
    fixture_build(&fx, FIXTURE_RUN_A, FIXTURE_FULL, zip);
    ASSERT_INT(access(work, F_OK), -1);
}

static void strange_staging_is_refused(void)
{
    struct bundle_input in;
    struct bundle_result res;
    struct arp_err err = {0};
    fixture_stage(&fx, FIXTURE_RUN_B, FIXTURE_EMPTY, &in);
    write_in(in.staging_dir, "extra.txt", "x");
    ASSERT_INT(bundle_build(&in, fx.signer, fx.out, &res, &err), ARP_E_EVIDENCE);
    remove_in(in.staging_dir, "extra.txt");

    char blobs[PATH_MAX];
    snprintf(blobs, sizeof(blobs), "%s/blobs", in.staging_dir);
    write_in(blobs, "..evil", "x");
    ASSERT_INT(bundle_build(&in, fx.signer, fx.out, &res, &err), ARP_E_EVIDENCE);
    remove_in(blobs, "..evil");

    const char *liar = "sha256-0000000000000000000000000000000000000000000000000000000000000000";
    write_in(blobs, liar, "x");
    ASSERT_INT(bundle_build(&in, fx.signer, fx.out, &res, &err), ARP_E_EVIDENCE);
    ASSERT_CONTAINS(err.msg, "holds other bytes");
    remove_in(blobs, liar);

    remove_in(in.staging_dir, "diff.patch");
    ASSERT_INT(bundle_build(&in, fx.signer, fx.out, &res, &err), ARP_E_EVIDENCE);
    char link[PATH_MAX];
    snprintf(link, sizeof(link), "%s/diff.patch", in.staging_dir);
    ASSERT_INT(symlink("/etc/passwd", link), 0);
    ASSERT_INT(bundle_build(&in, fx.signer, fx.out, &res, &err), ARP_E_EVIDENCE);
    ASSERT_INT(unlink(link), 0);
    write_in(in.staging_dir, "diff.patch", "");
    ASSERT_INT(bundle_build(&in, fx.signer, fx.out, &res, &err), 0);
}

static void chain_that_is_not_the_records_is_refused(void)
{
    struct bundle_input in;
    struct bundle_result res;
    struct arp_err err = {0};
    fixture_stage(&fx, FIXTURE_RUN_B, FIXTURE_EMPTY, &in);
    in.events.lines++;
    ASSERT_INT(bundle_build(&in, fx.signer, fx.out, &res, &err), ARP_E_EVIDENCE);
    in.events.lines--;
    in.command_log.head[0] = in.command_log.head[0] == 'a' ? 'b' : 'a';
    ASSERT_INT(bundle_build(&in, fx.signer, fx.out, &res, &err), ARP_E_EVIDENCE);
    ASSERT_CONTAINS(err.msg, "command_log.jsonl");
    fixture_stage(&fx, FIXTURE_RUN_B, FIXTURE_EMPTY, &in);
    in.processes.lines++;
    ASSERT_INT(bundle_build(&in, fx.signer, fx.out, &res, &err), ARP_E_EVIDENCE);
    ASSERT_CONTAINS(err.msg, "processes.jsonl");
    remove_in(in.staging_dir, "processes.jsonl");
    ASSERT_INT(bundle_build(&in, fx.signer, fx.out, &res, &err), ARP_E_EVIDENCE);
    ASSERT_CONTAINS(err.msg, "processes.jsonl");
}

static void bad_input_is_refused(void)
{
    struct bundle_input in;
    struct bundle_result res;
    fixture_stage(&fx, FIXTURE_RUN_B, FIXTURE_EMPTY, &in);
    struct bundle_input bad = in;
    bad.run_id = "../../../tmp/x";
    ASSERT_INT(bundle_build(&bad, fx.signer, fx.out, &res, NULL), ARP_E_INVALID);
    bad = in;
    bad.salt = "short";
    ASSERT_INT(bundle_build(&bad, fx.signer, fx.out, &res, NULL), ARP_E_INVALID);
    bad = in;
    bad.git_commit = "main";
    ASSERT_INT(bundle_build(&bad, fx.signer, fx.out, &res, NULL), ARP_E_INVALID);
    bad = in;
    bad.image_digest = "arp@sha256:00";
    ASSERT_INT(bundle_build(&bad, fx.signer, fx.out, &res, NULL), ARP_E_INVALID);
}

static bool says(const struct entries *e, const char *name, const char *text)
{
    const struct entry *file = entries_find(e, name);
    return file && memmem(file->bytes, file->size, text, strlen(text));
}

/* The payload of the envelope. */
static void read_statement(const struct entries *e, struct buf *out)
{
    const struct entry *env = entries_find(e, "attestation/run.intoto.jsonl");
    cleanup_cjson cJSON *doc = NULL;
    ASSERT_INT(json_parse(env->bytes, env->size, &doc, NULL), 0);
    const char *payload = json_get_str(doc, "payload");
    buf_init(out, 1u << 20);
    ASSERT_INT(base64_decode(payload, strlen(payload), out, NULL), 0);
}

#define RUN_C "8b3f4e50-ac6d-4e7f-9081-2c3d4e5f6071"

static void engine_run_has_three_files_more(void)
{
    static const char *const more[] = {"engine.jsonl", "model_log.jsonl", "reconciliation.json"};
    static const char *const everywhere[] = {"ro-crate-metadata.json", "README.txt"};
    char zip[PATH_MAX];
    cleanup_entries struct entries e, shell;
    cleanup_buf struct buf statement;
    fixture_build(&fx, RUN_C, FIXTURE_MODEL, zip);
    fixture_unpack(zip, &e);
    read_statement(&e, &statement);
    fixture_build(&fx, FIXTURE_RUN_A, FIXTURE_FULL, zip);
    fixture_unpack(zip, &shell);
    for (size_t i = 0; i < 3; i++) {
        ASSERT_TRUE(entries_find(&e, more[i]) && !entries_find(&shell, more[i]));
        for (size_t k = 0; k < 2; k++)
            ASSERT_TRUE(says(&e, everywhere[k], more[i]) && !says(&shell, everywhere[k], more[i]));
        ASSERT_CONTAINS(buf_str(&statement), more[i]);
    }
    ASSERT_CONTAINS(statement.data, "{\"name\":\"model_log.jsonl\",\"digest\":{\"sha256\":\"");
    ASSERT_CONTAINS(statement.data, "\"annotations\":{\"arp_lines\":4,");
    ASSERT_CONTAINS(statement.data,
        "{\"uri\":\"urn:arp:engine:codex:program\",\"digest\":{\"sha256\":\"1111222233334444");
    ASSERT_TRUE(!strstr(statement.data, "engine:codex:prompt"));
    ASSERT_TRUE(says(&e, "data/replay.json", "\"engineVersion\":\"0.142.0\",\"engineSha256\":\"sha256:1111"));
    ASSERT_TRUE(!says(&shell, "data/replay.json", "engineVersion"));
}

static void staging_of_another_engine_is_refused(void)
{
    struct bundle_input in;
    struct bundle_result res;
    struct arp_err err = {0};
    static const char run[] = "9c405f61-bd7e-4f80-8192-3d4e5f607182";
    fixture_stage(&fx, run, FIXTURE_MODEL, &in);
    in.engine = "shell"; /* the three files are of another name then */
    ASSERT_INT(bundle_build(&in, fx.signer, fx.out, &res, &err), ARP_E_EVIDENCE);
    in.engine = "codex";
    in.model_log.lines++;
    ASSERT_INT(bundle_build(&in, fx.signer, fx.out, &res, &err), ARP_E_EVIDENCE);
    ASSERT_CONTAINS(err.msg, "model_log.jsonl");
    in.model_log.lines--;
    in.program.prompt_sha256 = "short";
    ASSERT_INT(bundle_build(&in, fx.signer, fx.out, &res, &err), ARP_E_INVALID);
    in.program.prompt_sha256 = NULL;
    remove_in(in.staging_dir, "reconciliation.json");
    ASSERT_INT(bundle_build(&in, fx.signer, fx.out, &res, &err), ARP_E_EVIDENCE);
    fixture_stage(&fx, FIXTURE_RUN_B, FIXTURE_EMPTY, &in);
    in.engine = "codex"; /* and here they are missing */
    memcpy(in.model_log.head, in.events.head, sizeof(in.model_log.head));
    ASSERT_INT(bundle_build(&in, fx.signer, fx.out, &res, &err), ARP_E_EVIDENCE);
}

TEST_SUITE_WITH(bundle_test, set_up, tear_down, TEST(bundle_has_the_files_in_order),
    TEST(same_input_gives_the_same_bytes), TEST(other_content_for_a_sealed_run_is_refused),
    TEST(left_over_of_a_crash_is_cleared), TEST(strange_staging_is_refused),
    TEST(chain_that_is_not_the_records_is_refused), TEST(bad_input_is_refused),
    TEST(engine_run_has_three_files_more), TEST(staging_of_another_engine_is_refused))
