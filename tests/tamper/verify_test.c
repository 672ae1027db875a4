/*
 * Tampering with the content of sealed bundles (the zip around it: container_test.c): whatever is changed without the key is refused, with exit code 1 and a reason that names it. The
 * exhaustive cases call the verifier as a function; a sample goes through the real arpctl (ARPCTL, default: beside this program).
 */
#include "cli/verify.h"

#include <fcntl.h>
#include <libgen.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shared/fd.h"
#include "shared/json.h"
#include "shared/limits.h"
#include "tests/support/evidence_fixture.h"
#include "tests/support/suite.h"
#include "tests/support/verify_expect.h"

extern char **environ;

static char full[PATH_MAX], empty[PATH_MAX], unclosed[PATH_MAX], dropped[PATH_MAX];

#define RUN_C "8b3f4e50-ac6d-4e7f-9081-2c3d4e5f6071"
#define RUN_D "9c405f61-bd7e-4f80-8192-3d4e5f607182"

static int set_up(void)
{
    int rc = tamper_open(FIXTURE_RUN_A, full);
    fixture_build(&fx, FIXTURE_RUN_A, FIXTURE_FULL, full);
    fixture_build(&fx, FIXTURE_RUN_B, FIXTURE_EMPTY, empty);
    fixture_build(&fx, RUN_C, FIXTURE_UNCLOSED, unclosed);
    fixture_build(&fx, RUN_D, FIXTURE_DROPPED, dropped);
    return rc;
}

/* --- bundles as they are ------------------------------------------------------------------------------------------------------ */

static void good_bundles_verify(void)
{
    expect(full, VERIFY_OK, NULL);
    ASSERT_STR(verify_reasons(&report), "");
    ASSERT_TRUE(
        report.integrity && report.trusted && report.closed && report.complete && report.volume_match);
    ASSERT_STR(report.run_id, FIXTURE_RUN_A);
    ASSERT_STR(report.key_id, signer_key_id(fx.signer));
    expect(empty, VERIFY_OK, NULL);
    ASSERT_INT(
        verify_bundle(full, &(struct verify_options){.keys = keys, .strict = true}, &report), VERIFY_OK);
}

static void unclosed_run_is_intact_but_not_established(void)
{
    expect(unclosed, VERIFY_UNTRUSTED, NULL);
    ASSERT_STR(verify_reasons(&report), "");
    ASSERT_TRUE(report.integrity && report.trusted && !report.closed && !report.complete);
}

static void processes_over_the_limit_are_told(void)
{
    expect(dropped, VERIFY_OK, NULL);
    ASSERT_TRUE(report.integrity && report.closed && report.complete);
    ASSERT_INT(report.records_dropped, 7);
    ASSERT_CONTAINS(verify_reason_of(&report, "processes", CHECK_UNABLE), "4 process records agree");
    ASSERT_CONTAINS(verify_reason_of(&report, "processes", CHECK_UNABLE), "7 more were over the limit");
    ASSERT_INT(verify_bundle(dropped, &(struct verify_options){.keys = keys, .strict = true}, &report),
        VERIFY_UNTRUSTED);
    expect(full, VERIFY_OK, NULL);
    ASSERT_INT(report.records_dropped, 0);
    ASSERT_CONTAINS(
        verify_reason_of(&report, "processes", CHECK_PASS), "13 process records: events, command log");
}

static void processes_of_a_lost_agent_may_go_on(void)
{
    expect(unclosed, VERIFY_UNTRUSTED, NULL);
    ASSERT_CONTAINS(
        verify_reason_of(&report, "processes", CHECK_UNABLE), "7 lines, events.jsonl 5 RunProcess");
}

static void no_key_or_another_key_gives_no_trust(void)
{
    ASSERT_INT(verify_bundle(full, &(struct verify_options){.keys = NULL}, &report), VERIFY_UNTRUSTED);
    ASSERT_TRUE(report.integrity && !report.trusted);
    struct fixture other;
    fixture_open(&other);
    struct keyring *others = NULL;
    ASSERT_INT(keyring_load_json(other.keyring, &others, NULL), 0);
    ASSERT_INT(verify_bundle(full, &(struct verify_options){.keys = others}, &report), VERIFY_UNTRUSTED);
    ASSERT_TRUE(report.integrity && !report.trusted);
    keyring_free(others);
    fixture_close(&other);
}

/* The ring's key with a period or a revocation. */
static void expect_ring(const char *from, const char *to, enum verify_exit code)
{
    cleanup_buf struct buf ring, changed;
    struct keyring *k = NULL;
    buf_init(&ring, 8192);
    buf_init(&changed, 8192);
    ASSERT_INT(file_read(fx.keyring, &ring, NULL), 0);
    const char *at = strstr(ring.data, from);
    ASSERT_TRUE(at != NULL);
    buf_append(&changed, ring.data, (size_t)(at - ring.data));
    buf_append_str(&changed, to);
    buf_append_str(&changed, at + strlen(from));
    ASSERT_INT(keyring_load_json(fixture_file(&fx, "ring.json", changed.data, changed.len), &k, NULL), 0);
    ASSERT_INT(verify_bundle(full, &(struct verify_options){.keys = k}, &report), code);
    keyring_free(k);
}

static void expired_and_revoked_keys_give_no_trust(void)
{
    expect_ring("\"notAfter\":null", "\"notAfter\":\"2026-11-21T00:00:00.000Z\"", VERIFY_UNTRUSTED);
    expect_ring("\"notBefore\":null", "\"notBefore\":\"2026-12-01T00:00:00.000Z\"", VERIFY_UNTRUSTED);
    expect_ring("\"revokedAt\":null", "\"revokedAt\":\"2030-01-01T00:00:00.000Z\"", VERIFY_UNTRUSTED);
    expect_ring("\"notAfter\":null", "\"notAfter\":\"2030-01-01T00:00:00.000Z\"", VERIFY_OK);
}

/* --- an attacker who has everything but the key ------------------------------------------------------------------------------------ */

static const char *const logs[] = {"events.jsonl", "command_log.jsonl", "processes.jsonl"};
#define LOGS (sizeof(logs) / sizeof(logs[0]))

/* How far the attacker goes in covering up. */
enum cover { COVER_NONE, COVER_MANIFESTS, COVER_CHAIN };

static void cover_up(struct entries *e, const char *log, enum cover cover)
{
    if (cover == COVER_CHAIN)
        fixture_rechain(e, FIXTURE_RUN_A, log);
    if (cover != COVER_NONE)
        fixture_remake_manifests(e);
}

static void every_removed_line_is_refused(void)
{
    size_t removed = 0;
    for (size_t l = 0; l < LOGS; l++) {
        for (int cover = COVER_NONE; cover <= COVER_CHAIN; cover++) {
            for (size_t n = 0;; n++) {
                struct entries e;
                fixture_unpack(full, &e);
                if (!fixture_drop_line(&e, logs[l], n)) {
                    entries_done(&e);
                    break;
                }
                cover_up(&e, logs[l], (enum cover)cover);
                expect_changed(&e, cover == COVER_NONE ? "manifests: " : logs[l]);
                removed++;
            }
        }
    }
    ASSERT_INT(removed, 3 * (23 + 3 + 13));
}

static void every_swapped_pair_of_lines_is_refused(void)
{
    size_t swapped = 0;
    for (size_t l = 0; l < LOGS; l++) {
        for (int cover = COVER_NONE; cover <= COVER_CHAIN; cover++) {
            for (size_t n = 0;; n++) {
                struct entries e;
                fixture_unpack(full, &e);
                if (!fixture_swap_lines(&e, logs[l], n)) {
                    entries_done(&e);
                    break;
                }
                cover_up(&e, logs[l], (enum cover)cover);
                expect_changed(&e, cover == COVER_NONE ? "manifests: " : logs[l]);
                swapped++;
            }
        }
    }
    ASSERT_INT(swapped, 3 * (22 + 2 + 12));
}

/* Every file of the bundle dropped, emptied, and replaced by the file of another run; plainly, and with manifests made anew. */
static void every_dropped_or_foreign_file_is_refused(void)
{
    struct entries whole, other;
    fixture_unpack(full, &whole);
    fixture_unpack(empty, &other);
    for (size_t i = 0; i < whole.count; i++) {
        const char *name = whole.items[i].name;
        for (int cover = 0; cover < 2; cover++) {
            struct entries e;
            fixture_unpack(full, &e);
            fixture_drop(&e, name);
            if (cover && strstr(name, "manifest") == NULL && strcmp(name, "bag-info.txt") != 0)
                fixture_remake_manifests(&e);
            expect_changed(&e, ": ");
            fixture_unpack(full, &e);
            fixture_replace(&e, name, "", 0);
            if (cover && strcmp(name, "bag-info.txt") != 0)
                fixture_remake_manifests(&e);
            /* An emptied manifest that is made anew is the old one: nothing was changed. */
            if (cover &&
                (strcmp(name, "manifest-sha256.txt") == 0 || strcmp(name, "tagmanifest-sha256.txt") == 0))
                entries_done(&e);
            else
                expect_changed(&e, ": ");
            const struct entry *theirs = entries_find(&other, name);
            if (!theirs || strcmp(theirs->sha256, whole.items[i].sha256) == 0)
                continue;
            fixture_unpack(full, &e);
            fixture_replace(&e, name, theirs->bytes, theirs->size);
            if (cover)
                fixture_remake_manifests(&e);
            if (cover &&
                (strcmp(name, "manifest-sha256.txt") == 0 || strcmp(name, "tagmanifest-sha256.txt") == 0))
                entries_done(&e);
            else
                expect_changed(&e, ": ");
        }
    }
    entries_done(&whole);
    entries_done(&other);
}

static void added_files_are_refused(void)
{
    static const char blob[] =
        "data/blobs/sha256-2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"; /* of "x" */
    struct entries e;
    fixture_unpack(full, &e);
    entries_add_bytes(&e, "attestation/more.sig", "x", 1, NULL);
    expect_changed(&e, "files: attestation/more.sig does not belong");
    fixture_unpack(full, &e);
    entries_add_bytes(&e, blob, "x", 1, NULL);
    expect_changed(&e, "is not listed in manifest-sha256.txt");
    fixture_unpack(full, &e);
    entries_add_bytes(&e, blob, "x", 1, NULL);
    fixture_remake_manifests(&e);
    expect_changed(&e, "ssh-signature: the SSH signature is not over this tagmanifest");
    fixture_unpack(full, &e);
    entries_add_bytes(&e, "data/blobs/evil.sh", "x", 1, NULL);
    fixture_remake_manifests(&e);
    expect_changed(&e, "files: data/blobs/evil.sh does not belong");
}

static void swapped_blobs_are_refused(void)
{
    struct entries e;
    fixture_unpack(full, &e);
    size_t first = 0;
    while (strncmp(e.items[first].name, "data/blobs/", 11) != 0)
        first++;
    struct entry a = e.items[first], b = e.items[first + 1];
    e.items[first].bytes = b.bytes;
    e.items[first].size = b.size;
    e.items[first + 1].bytes = a.bytes;
    e.items[first + 1].size = a.size;
    expect_changed(&e, "files: data/blobs/");
}

static void forged_content_is_refused(void)
{
    forge("events.jsonl", "\"status\":\"failed\"", "\"status\":\"succeeded\"", "events-chain: ");
    forge("events.jsonl", "\"exitCode\":3", "\"exitCode\":0", "ssh-signature: ");
    forge("events.jsonl", "\"exitCode\":3", "\"exitCode\":0", "exitCode differs");
    forge("command_log.jsonl", "\"exitCode\":3", "\"exitCode\":0", "commands: command 2: exitCode differs");
    forge(
        "command_log.jsonl", "\"shell\":true", "\"shell\":false", "is not the one RunCommandFinished names");
    forge("command_log.jsonl", "make test", "make tess", "command, cwd or argv differ");
    forge("outputs.json", "results/a.txt", "results/b.txt",
        "outputs.json is not the file whose digest is recorded");
    forge("diff.patch", "+hi", "+ho", "diff.patch is not the file whose digest is recorded");
    forge("metadata.json", "9999\",\"gitCommit\"", "9998\",\"gitCommit\"",
        "imageDigest of metadata.json is not what the statement says");
    forge("metadata.json", FIXTURE_RUN_A, FIXTURE_RUN_B, "metadata.json belongs to another run");
    forge("env_snapshot.json", "sha256:aaaa", "sha256:bbbb", "imageDigest of env_snapshot.json");
    forge("bag-info.txt", "Arp-Salt: 00", "Arp-Salt: 11", "ssh-signature: ");
    forge("README.txt", "Check it", "Trust it", "ssh-signature: ");
    forge("data/replay.json", "internal", "none", "ssh-signature: ");
    forge("attestation/run.intoto.jsonl",
        "\"keyid\":\"SHA256:", "\"keyid\":\"SHA255:", "signature: the envelope names key");
    forge("attestation/run.intoto.jsonl",
        "{\"payloadType\":", "{ \"payloadType\":", "not a DSSE envelope of the expected form");
}

static void forged_processes_are_refused(void)
{
    static const char file[] = "processes.jsonl";
    forge(file, "\"execSeq\":10", "\"execSeq\":11",
        "processes: process record 11: execSeq 11 is no earlier exec");
    forge(file, "\"execSeq\":10", "\"execSeq\":12",
        "processes: process record 11: execSeq 12 is no earlier exec");
    forge(file, "\"execSeq\":10", "\"execSeq\":0",
        "processes: process record 11: execSeq 0 is no earlier exec");
    forge(file, "\"execSeq\":10", "\"execSeq\":9",
        "processes: process record 11: execSeq 9 is no earlier exec");
    forge(file, "\"execSeq\":10", "\"execSeq\":3",
        "processes: process record 11: execSeq 3 is no earlier exec");
    forge(file, "\"execSeq\":10", "\"execSeq\":1e99", "processes: process record 11 has no valid execSeq");
    forge(file, "\"execSeq\":10", "\"execSeq\":-1", "processes: process record 11 has no valid execSeq");
    forge(file, "\"execSeq\":6", "\"execSeq\":4", "processes: process record 7: execSeq differs");
    forge(file, "\"pid\":14", "\"pid\":13", "processes: process record 5: pid differs");
    forge(file, "/usr/bin/cat", "/usr/bin/cut", "processes: process record 6: exe differs");
    forge(file, "\"path\":\"/workspace/repo/run", "\"path\":\"/workspace/repo/ran",
        "record 1: scripts differs");
    forge(file, "\"--all\"", "\"--none\"", "processes: process record 1: argv differs");
    forge(file, "\"signal\":\"SIGKILL\"", "\"signal\":null", "processes: process record 8: signal differs");
    forge(file, "\"exitCode\":3", "\"exitCode\":0", "processes: process record 2: exitCode differs");
    forge(
        file, "\"commandId\":2", "\"commandId\":3", "process record 9 is of command 3, which never started");
    forge(file, "\"deleted\"", "\"fine\"", "processes: process record 10 has no valid flags");
    forge(file, "\"confirmed\":false", "\"confirmed\":null",
        "processes: process record 5 has no valid confirmed");
    forge(file, "\"type\":\"exit\"", "\"type\":\"gone\"", "processes: process record 2 has no valid type");
    forge(file, "\"cwd\":", "\"more\":1,\"cwd\":", "processes: process record 0: more differs");
    forge(file, "--all", "\\u0000", "processes: process record 1 holds U+0000");
    forge(file, "\"uid\":1000", "\"uid\":1000,\"runId\":\"" FIXTURE_RUN_B "\"", "belongs to another run");
    forge(file, "{\"ts\":\"2026", "{\"ts\":\"2025", "RunProcess gives it another phase or time");
}

static void forged_words_about_processes_are_refused(void)
{
    forge("events.jsonl", "\"phase\":\"exit\"", "\"phase\":\"exec\"",
        "record 2: RunProcess gives it another phase");
    forge("events.jsonl", "\"at\":\"2026", "\"at\":\"2025",
        "record 0: RunProcess gives it another phase or time");
    forge("events.jsonl", "\"ppid\":1", "\"ppid\":7", "processes: process record 0: ppid differs");
    forge("events.jsonl", "\"ppid\":1", "\"ppid\":1,\"more\":0", "processes: process record 0: more differs");
    forge("events.jsonl", "\"processHead\":\"", "\"processHead\":\"0",
        "is not the line that its RunProcess names");
    forge("events.jsonl", "--all", "\\u0000", "record 1: its RunProcess holds U+0000");
    forge("events.jsonl", "RunProcess", "RunNothing", "processes: ");
    forge("events.jsonl", "\"processRecords\":13", "\"processRecords\":12",
        "processes: RunCompleted counts other than the 13 process records");
    forge("events.jsonl", "\"recordsDropped\":0,\"outputsSha256", "\"recordsDropped\":1,\"outputsSha256",
        "processes: RunCompleted and command_log.jsonl disagree");
    forge("events.jsonl", "\"processesSha256\":\"sha256:", "\"processesSha256\":\"sha255:",
        "processes.jsonl is not the file whose digest is recorded as processesSha256");
    forge("command_log.jsonl", "\"execs\":2", "\"execs\":1",
        "processes: command 0: command_log.jsonl counts 1 execs, processes.jsonl has 2");
    forge("command_log.jsonl", "\"exits\":2", "\"exits\":3",
        "processes: command 0: command_log.jsonl counts 3 exits");
    forge("command_log.jsonl", "\"unconfirmed\":1", "\"unconfirmed\":0",
        "processes: command 1: command_log.jsonl counts 0 unconfirmed, processes.jsonl has 1");
    forge("command_log.jsonl", "\"changed\":1", "\"changed\":2",
        "processes: command 1: command_log.jsonl counts 2 changed, processes.jsonl has 1");
    forge("command_log.jsonl", "\"recordsDropped\":0", "\"recordsDropped\":1",
        "its execs and exits are not those in processes.jsonl and those dropped");
    forge("command_log.jsonl", "\"recordsDropped\":0", "\"recordsDropped\":null",
        "does not count its recordsDropped");
    forge(
        "command_log.jsonl", "\"exits\":2", "\"exits\":\"2\"", "command_log.jsonl does not count its exits");
    forge("command_log.jsonl", "\"denied\":{\"mount\":1}", "\"denied\":{}",
        "commands: command 0: denied differs");
}

static void more_processes_than_a_recorder_makes_are_refused(void)
{
    struct entries e;
    size_t at = 0, end = 0;
    cleanup_buf struct buf b;
    buf_init(&b, 32u << 20);
    fixture_unpack(full, &e);
    const struct entry *log = entries_find(&e, "processes.jsonl");
    ASSERT_TRUE(fixture_find_line(log, 0, &at, &end));
    for (int i = 0; i <= LIMIT_PROCESS_RECORDS; i++)
        buf_append(&b, log->bytes, end);
    fixture_replace(&e, "processes.jsonl", b.data, b.len);
    cover_up(&e, "processes.jsonl", COVER_CHAIN);
    expect_changed(&e, "processes: processes.jsonl has 20001 lines, a recorder makes at most 20000");
}

/* A RunProcess before the start of its command, and one behind its end, with the chain made anew. */
static void process_outside_its_command_is_refused(void)
{
    static const size_t moved[] = {
        2, 6}; /* RunStarted, ToolContext, RunCommandStarted, four RunProcess, RunCommandFinished */
    for (size_t i = 0; i < 2; i++) {
        struct entries e;
        fixture_unpack(full, &e);
        ASSERT_TRUE(fixture_swap_lines(&e, "events.jsonl", moved[i]));
        cover_up(&e, "events.jsonl", COVER_CHAIN);
        expect_changed(&e, "RunProcess does not stand between start and finish of its command");
    }
}

/* Everything of another sealed run of the same key under this run's name, and this run's attestation from that one. */
static void other_runs_bundle_under_this_name_is_refused(void)
{
    struct entries e, other;
    fixture_unpack(empty, &e);
    expect_changed(&e, "bag-info.txt does not agree with the run id");
    fixture_unpack(full, &e);
    fixture_unpack(empty, &other);
    static const char *const both[] = {
        "attestation/run.intoto.jsonl", "attestation/tagmanifest-sha256.txt.sig"};
    for (size_t i = 0; i < 2; i++)
        fixture_replace(
            &e, both[i], entries_find(&other, both[i])->bytes, entries_find(&other, both[i])->size);
    expect_changed(&e, "statement: ");
    fixture_unpack(full, &e);
    fixture_replace(&e, both[0], entries_find(&other, both[0])->bytes, entries_find(&other, both[0])->size);
    expect_changed(&e, "statement: the statement is about another run");
    entries_done(&other);
}

/* A whole bundle made by someone else with a key of their own: intact, but by nobody we trust. With our key's name on it: refused. */
static void foreign_key_is_never_accepted(void)
{
    struct fixture other;
    char theirs[PATH_MAX];
    struct entries e;
    fixture_open(&other);
    fixture_build(&other, FIXTURE_RUN_A, FIXTURE_FULL, theirs);
    expect(theirs, VERIFY_UNTRUSTED, NULL);
    ASSERT_TRUE(report.integrity && !report.trusted);
    fixture_unpack(theirs, &e);
    const struct entry *env = entries_find(&e, "attestation/run.intoto.jsonl");
    cleanup_free char *text = strndup(env->bytes, env->size);
    char *id = strstr(text, signer_key_id(other.signer));
    ASSERT_TRUE(id != NULL);
    memcpy(id, signer_key_id(fx.signer), SIGN_KEY_ID_LEN);
    fixture_replace(&e, "attestation/run.intoto.jsonl", text, env->size);
    expect_changed(&e, "signature: the envelope names key");
    fixture_close(&other);
}

/* --- the real program ------------------------------------------------------------------------------------------------------------ */

static int run_program(const char *const argv[], const char *out_file)
{
    posix_spawn_file_actions_t actions;
    pid_t pid;
    int status;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 1, out_file, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    posix_spawn_file_actions_adddup2(&actions, 1, 2);
    int rc = posix_spawn(&pid, argv[0], &actions, NULL, (char *const *)argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    if (rc != 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
        return -1;
    return WEXITSTATUS(status);
}

static void arpctl_gives_the_documented_exit_codes(void)
{
    static char self[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    ASSERT_TRUE(n > 0);
    char arpctl[PATH_MAX + 64], out[PATH_MAX];
    snprintf(arpctl, sizeof(arpctl), "%s/../../arpctl", dirname(self));
    const char *program = getenv("ARPCTL") ? getenv("ARPCTL") : arpctl;
    snprintf(out, sizeof(out), "%s/out", fx.out);
    const struct {
        const char *argv[8];
        int code;
        const char *text;
    } cases[] = {
        {{program, "verify", "--keyring", fx.keyring, full, NULL}, 0, "integrity:    VERIFIED\n"},
        {{program, "verify", "--strict", "--keyring", fx.keyring, empty, NULL}, 0,
            "assurance:    operator-only\n"},
        {{program, "verify", full, NULL}, 3, "authenticity: UNTRUSTED\n"},
        {{program, "verify", "--keyring", fx.keyring, unclosed, NULL}, 3, "NOT closed by the agent"},
        {{program, "verify", "--keyring", fx.keyring, work, NULL}, 1, "FAIL   container         "},
        {{program, "verify", "--json", "--keyring", fx.keyring, work, NULL}, 1, "\"integrity\":\"FAILED\""},
        {{program, "verify", "--keyring", fx.keyring, fx.keyring, NULL}, 2, "is not a zip file"},
        {{program, "verify", "--keyring", "/nonexistent", full, NULL}, 2, "arpctl: "},
        {{program, "verify", "--public-key", fx.keyring, full, NULL}, 2, "arpctl: "},
        {{program, "verify", NULL}, 2, "give one bundle"},
        {{program, "verify", "--nonsense", full, NULL}, 2, "nonsense"},
        {{program, "frobnicate", NULL}, 2, "usage: arpctl"},
        {{program, "logs", "../../etc", NULL}, 2, "run id"},
    };
    cleanup_buf struct buf b;
    buf_init(&b, 64u << 20);
    ASSERT_INT(file_read(full, &b, NULL), 0);
    b.data[b.len / 2] ^= 4;
    fixture_file(&fx, "tampered.zip", b.data, b.len);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        ASSERT_INT(run_program(cases[i].argv, out), cases[i].code);
        cleanup_buf struct buf text;
        buf_init(&text, 1u << 20);
        ASSERT_INT(file_read(out, &text, NULL), 0);
        ASSERT_CONTAINS(buf_str(&text), cases[i].text);
    }
}

TEST_SUITE_WITH(verify_test, set_up, tamper_close, TEST(good_bundles_verify),
    TEST(unclosed_run_is_intact_but_not_established), TEST(processes_over_the_limit_are_told),
    TEST(processes_of_a_lost_agent_may_go_on), TEST(no_key_or_another_key_gives_no_trust),
    TEST(expired_and_revoked_keys_give_no_trust), TEST(every_removed_line_is_refused),
    TEST(every_swapped_pair_of_lines_is_refused), TEST(every_dropped_or_foreign_file_is_refused),
    TEST(added_files_are_refused), TEST(swapped_blobs_are_refused), TEST(forged_content_is_refused),
    TEST(forged_processes_are_refused), TEST(forged_words_about_processes_are_refused),
    TEST(more_processes_than_a_recorder_makes_are_refused), TEST(process_outside_its_command_is_refused),
    TEST(other_runs_bundle_under_this_name_is_refused), TEST(foreign_key_is_never_accepted),
    TEST(arpctl_gives_the_documented_exit_codes))
