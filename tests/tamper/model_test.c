/*
 * Tampering with bundles of an engine's run: the ledger of model calls and its blobs, the engine's output, the reconciliation. Whatever is changed
 * without the key is refused with exit code 1 and a reason that names it; what the seal itself vouches for wrongly is found by counting anew.
 */
#include "cli/verify.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shared/chain.h"
#include "shared/fd.h"
#include "shared/model_request.h"
#include "tests/support/evidence_fixture.h"
#include "tests/support/run_story.h"
#include "tests/support/suite.h"
#include "tests/support/verify_expect.h"

static char model[PATH_MAX];

static int set_up(void)
{
    int rc = tamper_open(FIXTURE_RUN_A, model);
    fixture_build(&fx, FIXTURE_RUN_A, FIXTURE_MODEL, model);
    return rc;
}

/* --- as it is ------------------------------------------------------------------------------------------------------------------ */

static void a_lying_engine_makes_a_good_bundle(void)
{
    expect(model, VERIFY_OK, NULL);
    ASSERT_STR(verify_reasons(&report), "");
    ASSERT_INT(
        verify_bundle(model, &(struct verify_options){.keys = keys, .strict = true}, &report), VERIFY_OK);
    ASSERT_TRUE(report.integrity && report.complete && report.reconciled);
    ASSERT_INT(report.reconciliation.asked, 3);
    ASSERT_INT(report.reconciliation.matched, 2);
    ASSERT_INT(report.reconciliation.missing, 1);
    ASSERT_INT(report.reconciliation.unattributed, 1);
    ASSERT_INT(report.reconciliation.misreported, 1);
    ASSERT_INT(report.reconciliation.model_calls, 4);
    ASSERT_INT(report.reconciliation.calls_differ, 0);
    ASSERT_CONTAINS(
        verify_reason_of(&report, "reconciliation", CHECK_PASS), "2 matched, 1 missing, 1 unattributed");
    ASSERT_CONTAINS(verify_reason_of(&report, "model-log", CHECK_PASS), "4 attempts at model calls; ");
    ASSERT_CONTAINS(verify_reason_of(&report, "model-log", CHECK_PASS), "4 requests made up of their parts");
    ASSERT_CONTAINS(
        verify_reason_of(&report, "engine-log", CHECK_PASS), "bytes that the engine's program printed");
    ASSERT_CONTAINS(verify_reason_of(&report, "files", CHECK_PASS), "the 19 files of a bundle");
}

static void the_findings_are_printed(void)
{
    char *text = NULL;
    size_t len = 0;
    expect(model, VERIFY_OK, NULL);
    FILE *out = open_memstream(&text, &len);
    verify_print(&report, out);
    fclose(out);
    ASSERT_CONTAINS(
        text, "reconciliation: 2 matched, 1 missing, 1 unattributed (0 set-up), 1 misreported, 0 changed");
    free(text);
    out = open_memstream(&text, &len);
    verify_print_json(&report, out);
    fclose(out);
    ASSERT_CONTAINS(text, "\"reconciliation\":{\"asked\":3,\"matched\":2,\"missing\":1,");
    free(text);
}

static void other_runs_have_none_of_these_checks(void)
{
    char shell[PATH_MAX];
    fixture_build(&fx, FIXTURE_RUN_B, FIXTURE_EMPTY, shell);
    expect(shell, VERIFY_OK, NULL);
    ASSERT_TRUE(!report.reconciled);
    for (size_t i = 0; i < report.count; i++)
        ASSERT_TRUE(strcmp(report.checks[i].name, "reconciliation") != 0);
}

/* --- without the key ----------------------------------------------------------------------------------------------------------- */

static const char *const files[] = {"model_log.jsonl", "reconciliation.json", "engine.jsonl"};
#define FILES (sizeof(files) / sizeof(files[0]))

/* Each byte of the three files, one bit or all bits, in the zip as it lies there. */
static void every_flipped_byte_is_refused(void)
{
    struct entries whole;
    cleanup_buf struct buf zip;
    size_t flipped = 0;
    fixture_unpack(model, &whole);
    buf_init(&zip, 64u << 20);
    ASSERT_INT(file_read(model, &zip, NULL), 0);
    for (size_t f = 0; f < FILES; f++) {
        const struct entry *entry = entries_find(&whole, files[f]);
        char *content = memmem(zip.data, zip.len, entry->bytes, entry->size);
        ASSERT_TRUE(content != NULL);
        for (size_t at = 0; at < entry->size; at++, flipped++) {
            char old = content[at];
            content[at] = (char)(old ^ (at % 2 ? 1 : 0xff));
            fixture_file(&fx, "tampered.zip", zip.data, zip.len);
            expect(work, VERIFY_FAILED, "container: the content of");
            content[at] = old;
        }
    }
    ASSERT_TRUE(flipped > 4000);
    entries_done(&whole);
}

/* The same with a right zip around it, and with right manifests too: a sample of the bytes. */
static void flipped_bytes_in_a_right_zip_are_refused(void)
{
    struct entries whole;
    fixture_unpack(model, &whole);
    for (size_t f = 0; f < FILES; f++) {
        const struct entry *entry = entries_find(&whole, files[f]);
        for (size_t at = 0; at < entry->size; at += 53) {
            struct entries e;
            cleanup_free char *bytes = malloc(entry->size);
            fixture_unpack(model, &e);
            memcpy(bytes, entry->bytes, entry->size);
            bytes[at] ^= 1;
            fixture_replace(&e, files[f], bytes, entry->size);
            if (at % 2)
                fixture_remake_manifests(&e);
            expect_changed(&e, at % 2 ? "ssh-signature: " : files[f]);
        }
    }
    entries_done(&whole);
}

static void every_removed_line_is_refused(void)
{
    size_t removed = 0;
    for (int cover = 0; cover < 3; cover++) {
        for (size_t n = 0;; n++, removed++) {
            struct entries e;
            fixture_unpack(model, &e);
            if (!fixture_drop_line(&e, "model_log.jsonl", n)) {
                entries_done(&e);
                break;
            }
            if (cover == 2)
                fixture_rechain(&e, FIXTURE_RUN_A, "model_log.jsonl");
            if (cover)
                fixture_remake_manifests(&e);
            expect_changed(&e, cover ? "model_log.jsonl" : "manifests: ");
        }
    }
    ASSERT_INT(removed, 3 * 4);
}

static void dropped_files_and_blobs_are_refused(void)
{
    struct entries whole, e;
    size_t blobs = 0;
    fixture_unpack(model, &whole);
    for (size_t i = 0; i < whole.count; i++) {
        const char *name = whole.items[i].name;
        bool blob = strncmp(name, "data/blobs/", 11) == 0;
        if (!blob && strcmp(name, files[0]) != 0 && strcmp(name, files[1]) != 0 &&
            strcmp(name, files[2]) != 0)
            continue;
        for (int cover = 0; cover < 2; cover++) {
            fixture_unpack(model, &e);
            fixture_drop(&e, name);
            if (cover)
                fixture_remake_manifests(&e);
            expect_changed(&e, blob ? "m" : "is missing");
        }
        blobs += blob;
    }
    ASSERT_TRUE(blobs > 8);
    /* All three at once: then it looks like a run without an engine. */
    fixture_unpack(model, &e);
    for (size_t f = 0; f < FILES; f++)
        fixture_drop(&e, files[f]);
    fixture_remake_manifests(&e);
    expect_changed(&e,
        "statement: the statement is of a run of engine codex, the bundle has no files of an engine's run");
    entries_done(&whole);
}

static void files_of_an_engine_are_refused_in_other_runs(void)
{
    static const char run[] = "9c405f61-bd7e-4f80-8192-3d4e5f607182";
    char shell[PATH_MAX];
    struct entries e, other;
    fixture_build(&fx, run, FIXTURE_EMPTY, shell);
    fixture_unpack(shell, &e);
    fixture_unpack(model, &other);
    for (size_t f = 0; f < FILES; f++) {
        const struct entry *file = entries_find(&other, files[f]);
        entries_add_bytes(&e, files[f], file->bytes, file->size, NULL);
    }
    fixture_remake_manifests(&e);
    fixture_repack(work, run, &e);
    expect(work, VERIFY_FAILED,
        "statement: the statement is of a run of engine shell, the bundle has the files");
    entries_done(&e);
    entries_done(&other);
}

static void forged_words_are_refused(void)
{
    forge("command_log.jsonl", "\"origin\":\"shim\"", "\"origin\":\"them\"",
        "commands: command 1 has no known origin");
    forge("command_log.jsonl", "\"origin\":\"shim\",\"pid\":31", "\"origin\":\"shim\",\"pid\":30",
        "commands: command 1: pid differs");
    forge("command_log.jsonl", ",\"pid\":31", "", "commands: command 1: pid differs");
    forge("command_log.jsonl", "\"origin\":\"shim\"", "\"origin\":\"engine\"",
        "commands: command 1: origin differs between command_log.jsonl and RunCommandStarted");
    forge("command_log.jsonl", "\"pid\":31,", "\"pid\":31,\"abandoned\":true,",
        "commands: command 1 is said to be abandoned, but it ended");
    forge("command_log.jsonl", "\"pid\":31,", "\"pid\":31,\"processes\":{},",
        "commands: command 1: the shim's command has counts that only the recorder can make");
    forge("events.jsonl", "\"commandId\":3,\"commandLogHead", "\"commandId\":2,\"commandLogHead",
        "lifecycle: ");
    forge("processes.jsonl", "\"commandId\":0", "\"commandId\":1",
        "processes: process record 0: commandId differs");
    forge("model_log.jsonl", "\"lane\":\"side\"", "\"lane\":\"back\"",
        "model-log: model call 3 has no valid lane");
    forge("model_log.jsonl", "\"cut\":false", "\"cut\":0", "model-log: model call 0 has no valid cut");
    forge("model_log.jsonl", "\"call\":1", "\"call\":-1", "model-log: model call 1 has no valid call");
    forge("model_log.jsonl", FIXTURE_RUN_A, FIXTURE_RUN_B,
        "model-log-chain: model_log.jsonl: line 0 belongs to another run");
    forge("reconciliation.json", FIXTURE_RUN_A, FIXTURE_RUN_B,
        "reconciliation: reconciliation.json belongs to another run");
    forge("reconciliation.json", "{\"v\":1", "{\"v\":1,\"v\":1",
        "reconciliation: reconciliation.json is not JSON");
}

/* --- sealed, and still wrong ---------------------------------------------------------------------------------------------------- */

/* Chain the log of a staging directory anew and tell its end. */
static void rechain_staged(
    const struct bundle_input *in, const char *file, const char *bytes, size_t len, struct bundle_chain *ret)
{
    struct entries e = {0};
    struct chain c;
    ASSERT_INT(entries_add_bytes(&e, file, bytes, len, NULL), 0);
    fixture_rechain(&e, in->run_id, file);
    const struct entry *log = entries_find(&e, file);
    put_file(in->staging_dir, file, log->bytes, log->size);
    chain_init(&c, in->run_id, file);
    for (size_t n = 0, at, end; fixture_find_line(log, n, &at, &end); n++)
        chain_advance(&c, log->bytes + at, end - at - 1);
    ret->lines = c.next_seq;
    memcpy(ret->head, c.prev, sizeof(ret->head));
    entries_done(&e);
}

/* Stage a run of its own. ret: strings as fixture_stage; run: its id's place. */
static void stage_another(char run[64], struct bundle_input *ret)
{
    static int n;
    snprintf(run, 64, "00000000-0000-4000-8000-%012d", ++n);
    fixture_stage(&fx, run, FIXTURE_MODEL, ret);
}

/* A bundle whose staged file had other words when it was sealed: by an operator who bends the record, or a recorder that errs. */
static void seal_bent(const char *file, const char *from, const char *to, const char *reason)
{
    char run[64];
    char path[PATH_MAX + 64];
    struct bundle_input in;
    struct bundle_result res;
    struct arp_err err = {0};
    cleanup_buf struct buf old, bent;
    buf_init(&old, 1u << 20);
    buf_init(&bent, 1u << 20);
    stage_another(run, &in);
    snprintf(path, sizeof(path), "%s/%s", in.staging_dir, file);
    ASSERT_INT(file_read(path, &old, &err), 0);
    const char *at = strstr(old.data, from);
    ASSERT_TRUE(at != NULL);
    buf_append(&bent, old.data, (size_t)(at - old.data));
    buf_append_str(&bent, to);
    buf_append_str(&bent, at + strlen(from));
    if (strcmp(file, "model_log.jsonl") == 0)
        rechain_staged(&in, file, bent.data, bent.len, &in.model_log);
    else if (strcmp(file, "events.jsonl") == 0)
        rechain_staged(&in, file, bent.data, bent.len, &in.events);
    else
        put_file(in.staging_dir, file, bent.data, bent.len);
    ASSERT_INT(bundle_build(&in, fx.signer, fx.out, &res, &err), 0);
    expect(res.path, VERIFY_FAILED, reason);
}

static void altered_counts_are_found_by_counting_anew(void)
{
    static const struct {
        const char *from, *to, *reason;
    } cases[] = {
        {"\"counts\":{\"asked\":3", "\"counts\":{\"asked\":2",
            "reconciliation.json counts 2 of asked, the files of the bundle give 3"},
        {"\"matched\":2,", "\"matched\":3,",
            "reconciliation.json counts 3 of matched, the files of the bundle give 2"},
        {"\"missing\":1,", "\"missing\":0,", "counts 0 of missing, the files of the bundle give 1"},
        {"\"unattributed\":1,", "\"unattributed\":0,", "counts 0 of unattributed, the files"},
        {"\"setup\":0,", "\"setup\":1,", "counts 1 of setup, the files"},
        {"\"misreported\":1,", "\"misreported\":0,", "counts 0 of misreported, the files"},
        {"\"ran\":3,", "\"ran\":2,", "counts 2 of ran, the files"},
        {"\"changedPaths\":1", "\"changedPaths\":0", "counts 0 of changedPaths, the files"},
        {"\"modelCallsDiffer\":0", "\"modelCallsDiffer\":1", "counts 1 of modelCallsDiffer, the files"},
        {"\"attempts\":4", "\"attempts\":3", "counts 3 of modelCalls/attempts, the files"},
        {"\"over\":0", "\"over\":7", "counts 7 of over, the files of the bundle give 0"},
        {"\"outside\":{\"execs\":1", "\"outside\":{\"execs\":0",
            "counts 0 of outside/execs, the files of the bundle give 1"},
        {"codex\",\"execs\":1", "codex\",\"execs\":2",
            "lists programs of 2 execs outside, the files of the bundle give 1"},
        {"\"commandsRan\":true", "\"commandsRan\":false", "does not tell whether commands ran"},
        {"\"side\":[3]", "\"side\":[]", "does not list 1 of modelCalls/side"},
        {"\"missing\":[{", "\"missing\":[],\"other\":[{", "does not list 1 of missing"},
        {"\"misreported\":[{", "\"misreported\":[],\"other\":[{", "does not list 1 of misreported"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        seal_bent("reconciliation.json", cases[i].from, cases[i].to, cases[i].reason);
    seal_bent(
        "metadata.json", "\"missing\":1", "\"missing\":0", "metadata.json counts 0 of missing, the files");
    seal_bent("metadata.json",
        "\"reconciliation\":", "\"reconcilement\":", "metadata.json does not tell the counts");
}

/* The first digest behind key, with its last digit changed. */
static void seal_other_digest(const char *key, const char *reason)
{
    struct entries e;
    char from[160], to[160];
    fixture_unpack(model, &e);
    const struct entry *log = entries_find(&e, "model_log.jsonl");
    const char *at = memmem(log->bytes, log->size, key, strlen(key));
    ASSERT_TRUE(at != NULL);
    snprintf(from, sizeof(from), "%.*s", (int)(strlen(key) + SHA256_HEX_LEN), at);
    memcpy(to, from, sizeof(to));
    char *last = to + strlen(to) - 1;
    *last = *last == '0' ? '1' : '0';
    entries_done(&e);
    seal_bent("model_log.jsonl", from, to, reason);
}

static void altered_calls_are_found_in_their_blobs(void)
{
    seal_other_digest(
        "\"fullSha256\":\"sha256:", "model-log: model call 0: its parts do not make up the request");
    seal_other_digest(
        "\"shapeSha256\":\"sha256:", "model-log: model call 0: its parts do not make up the request");
    seal_other_digest(
        "\"respSha256\":\"sha256:", "model-log: model call 0: the blob of the answer is not what");
    seal_other_digest(
        "\"parts\":[\"", "model-log: model call 0: the blob of a part of the request is missing");
    seal_other_digest("\"respBlob\":\"", "model-log: model call 0: the blob of the answer is missing");
    seal_bent("model_log.jsonl", "\"respBytes\":", "\"respBytes\":1",
        "model-log: model call 0: the blob of the answer is not what");
    seal_bent("model_log.jsonl", "\"policy\":\"full\"", "\"policy\":\"some\"",
        "model-log: model call 0 has no valid policy");
    seal_bent("model_log.jsonl", "\"path\":\"/v1/responses\"", "\"path\":\"/v1/chat/completions\"",
        "model-log: model call 0: its parts");
    seal_bent("engine.jsonl", "not json", "not JSON",
        "engine-log: engine.jsonl is not the file whose digest is recorded as engineSha256");
}

/* A ledger that tells another exit code was told, or another command asked for, no longer fits what was counted from it. */
static void an_altered_ledger_does_not_fit_the_counts(void)
{
    seal_bent("model_log.jsonl", "\"exitCode\":0", "\"exitCode\":2",
        "reconciliation.json counts 1 of misreported, the files of the bundle give 0");
    seal_bent("model_log.jsonl", "\"refused\":null", "\"refused\":\"budget\"",
        "reconciliation: reconciliation.json counts");
    seal_bent("events.jsonl", "\"reqSha256\":\"sha256:", "\"reqSha256\":\"md5:",
        "reconciliation.json counts 0 of modelCallsDiffer, the files of the bundle give 1");
    seal_other_digest("\"commandSha256\":\"sha256:",
        "reconciliation.json counts 2 of matched, the files of the bundle give 1");
}

/* A bundle whose first call lists its head and n times the same part, sealed so; ret_path: where it is. */
static void seal_repeated(const char *part, size_t len, size_t n, char ret_path[PATH_MAX])
{
    char run[64], path[PATH_MAX + 64], hex[SHA256_HEX_LEN + 1];
    struct bundle_input in;
    struct bundle_result res;
    struct arp_err err = {0};
    cleanup_buf struct buf old, bent;
    buf_init(&old, 1u << 20);
    buf_init(&bent, 2u << 20);
    stage_another(run, &in);
    sha256_hex_of(part, len, hex);
    snprintf(path, sizeof(path), "blobs/sha256-%s", hex);
    put_file(in.staging_dir, path, part, len);
    snprintf(path, sizeof(path), "%s/model_log.jsonl", in.staging_dir);
    ASSERT_INT(file_read(path, &old, &err), 0);
    const char *list = strstr(old.data, "\"parts\":["), *end = list ? strchr(list, ']') : NULL;
    ASSERT_TRUE(end != NULL);
    buf_append(&bent, old.data, (size_t)(list - old.data) + strlen("\"parts\":[") + SHA256_HEX_LEN + 2);
    for (size_t i = 0; i < n; i++)
        buf_printf(&bent, ",\"%s\"", hex);
    buf_append_str(&bent, end);
    rechain_staged(&in, "model_log.jsonl", bent.data, bent.len, &in.model_log);
    ASSERT_INT(bundle_build(&in, fx.signer, fx.out, &res, &err), 0);
    snprintf(ret_path, PATH_MAX, "%s", res.path);
}

/* One blob, named again and again by a small line: what it would take to put them together is not spent. */
static void a_part_that_is_repeated_without_end_is_not_put_together(void)
{
    enum { LARGE = 1 << 20, ZEROS = 100000 };
    char path[PATH_MAX];
    cleanup_free char *part = malloc(LARGE);
    memset(part, 'a', LARGE);
    part[0] = part[LARGE - 1] = '"';
    seal_repeated(part, LARGE, 300, path);
    expect(path, VERIFY_OK, NULL);
    ASSERT_STR(verify_reason_of(&report, "model-log", CHECK_UNABLE),
        "model call 0: its parts are too much to be put together");
    for (size_t i = 0; i < ZEROS; i++)
        memcpy(part + 2 * i, i ? ",0" : "[0", 2);
    part[2 * ZEROS] = ']';
    seal_repeated(part, 2 * ZEROS + 1, 6, path);
    expect(
        path, VERIFY_FAILED, "model-log: model call 0: its parts hold more values than a request can have");
    seal_repeated("0", 1, MODEL_PARTS_MAX, path);
    expect(path, VERIFY_FAILED, "model-log: model call 0: it lists more parts than a request can have");
    seal_repeated("0", 1, MODEL_PARTS_MAX - 1, path);
    expect(path, VERIFY_FAILED, "model-log: model call 0: its parts do not make up the request");
}

TEST_SUITE_WITH(model_test, set_up, tamper_close, TEST(a_lying_engine_makes_a_good_bundle),
    TEST(the_findings_are_printed), TEST(other_runs_have_none_of_these_checks),
    TEST(every_flipped_byte_is_refused), TEST(flipped_bytes_in_a_right_zip_are_refused),
    TEST(every_removed_line_is_refused), TEST(dropped_files_and_blobs_are_refused),
    TEST(files_of_an_engine_are_refused_in_other_runs), TEST(forged_words_are_refused),
    TEST(altered_counts_are_found_by_counting_anew), TEST(altered_calls_are_found_in_their_blobs),
    TEST(an_altered_ledger_does_not_fit_the_counts),
    TEST(a_part_that_is_repeated_without_end_is_not_put_together))
