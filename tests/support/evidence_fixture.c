/*
 * Evidence for tests: see evidence_fixture.h.
 */
#include "tests/support/evidence_fixture.h"

#include <ftw.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zip.h>

#include "orchestrator/bundle/zipfile.h"
#include "shared/event.h"
#include "shared/fd.h"
#include "shared/limits.h"

#define FILE_MAX (64u << 20)
#define T0_US    1795305610000000ll /* 2026-11-22T00:00:10Z */
#define USER     "11111111-2222-4333-8444-555555555555"
#define PROJECT  "22222222-2222-4333-8444-555555555555"
#define SPACE    "33333333-2222-4333-8444-555555555555"
#define PROMPT   "run the tests"
#define COMMIT   "7ab2c3d4e5f60718293a4b5c6d7e8f9001122334"
#define TREE_A   "163c266c0a1b2c3d4e5f60718293a4b5c6d7e8f9"
#define TREE_B   "c36d71bd0a1b2c3d4e5f60718293a4b5c6d7e8f9"

#define MUST(x)                                                                                              \
    do {                                                                                                     \
        if (!(x)) {                                                                                          \
            fprintf(stderr, "fixture: %s:%d: %s\n", __FILE__, __LINE__, #x);                                 \
            abort();                                                                                         \
        }                                                                                                    \
    } while (0)

static const char image_digest[] = "sha256:aaaabbbbccccddddeeeeffff0000111122223333444455556666777788889999";

static void put_file(const char *dir, const char *name, const void *bytes, size_t len)
{
    char path[PATH_MAX];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    FILE *f = fopen(path, "w");
    MUST(f && (len == 0 || fwrite(bytes, len, 1, f) == 1));
    MUST(fclose(f) == 0);
}

const char *fixture_file(struct fixture *f, const char *name, const void *bytes, size_t len)
{
    static char path[PATH_MAX];
    put_file(f->root, name, bytes, len);
    snprintf(path, sizeof(path), "%s/%s", f->root, name);
    return path;
}

void fixture_open(struct fixture *f)
{
    struct arp_err err;
    snprintf(f->root, sizeof(f->root), "/tmp/arp-evidence-XXXXXX");
    MUST(mkdtemp(f->root));
    snprintf(f->out, sizeof(f->out), "%s/out", f->root);
    snprintf(f->keyring, sizeof(f->keyring), "%s/keys.json", f->root);
    MUST(mkdir(f->out, 0700) == 0 && signer_start(f->root, &f->signer, &err) == 0);
    cleanup_buf struct buf keys;
    buf_init(&keys, 8192);
    MUST(signer_public_keys_json(f->signer, &keys, &err) == 0);
    put_file(f->root, "keys.json", keys.data, keys.len);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

void fixture_close(struct fixture *f)
{
    signer_stop(f->signer);
    nftw(f->root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* --- what a run leaves ----------------------------------------------------------------------------------------------------- */

/* A run being told: the two logs with their chains, and a clock. */
struct story {
    const char *run_id;
    char dir[PATH_MAX];
    struct buf events, log;
    struct chain events_chain, log_chain;
    int64_t now_us;
    uint64_t commands;
};

static void event_begin(struct story *s, struct json *j, enum event_type type)
{
    char ts[CLOCK_ISO_LEN + 1];
    clock_iso(s->now_us += 120000, ts);
    json_init(j, &s->events);
    json_obj_open(j);
    json_kstr(j, "ts", ts);
    json_kstr(j, "runId", s->run_id);
    json_kstr(j, "type", event_type_name(type));
}

static void event_end(struct story *s, struct json *j)
{
    const char *start = strrchr(s->events.data, '\n') ? strrchr(s->events.data, '\n') + 1 : s->events.data;
    event_close(j, (size_t)(start - s->events.data), &s->events_chain);
    buf_append_char(&s->events, '\n');
}

struct command {
    const char *text;
    const char *out, *err;
    size_t out_len, err_len;
    int exit_code;
};

static void put_digest(struct json *j, const char *key, const char *hex)
{
    char text[SHA256_HEX_LEN + 8];
    snprintf(text, sizeof(text), "sha256:%s", hex);
    json_kstr(j, key, text);
}

/* Keep the stream as a blob and write its digest under key. */
static void put_stream(
    struct story *s, struct json *j, const char *key, const char *bytes, size_t len, bool keep)
{
    char hex[SHA256_HEX_LEN + 1], name[96];
    sha256_hex_of(bytes, len, hex);
    put_digest(j, key, hex);
    snprintf(name, sizeof(name), "blobs/sha256-%s", hex);
    if (keep && len > 0)
        put_file(s->dir, name, bytes, len);
}

static size_t head_len(size_t len)
{
    return len < LIMIT_CAPTURE_HEAD ? len : LIMIT_CAPTURE_HEAD;
}

static void command_facts(struct story *s, struct json *j, const struct command *c, bool log)
{
    json_kstr(j, "command", c->text);
    json_kstr(j, "cwd", "/workspace/repo");
    json_kint(j, "exitCode", c->exit_code);
    json_kstrn(j, "stdout", c->out, head_len(c->out_len));
    json_kstrn(j, "stderr", c->err, head_len(c->err_len));
    json_knull(j, "signal");
    json_kbool(j, "timedOut", false);
    json_kint(j, "durationMs", 41);
    json_kuint(j, "stdoutBytes", c->out_len);
    json_kuint(j, "stderrBytes", c->err_len);
    put_stream(s, j, "stdoutSha256", c->out, c->out_len, log);
    put_stream(s, j, "stderrSha256", c->err, c->err_len, log);
    json_kbool(j, "truncated", c->out_len > head_len(c->out_len) || c->err_len > head_len(c->err_len));
}

static void put_argv(struct json *j, const struct command *c)
{
    json_key(j, "argv");
    json_arr_open(j);
    json_str(j, "sh");
    json_str(j, "-c");
    json_str(j, c->text);
    json_arr_close(j);
    json_kbool(j, "shell", true);
}

static void tell_command_started(struct story *s, const struct command *c)
{
    struct json j;
    event_begin(s, &j, EVENT_RUN_COMMAND_STARTED);
    json_kstr(&j, "command", c->text);
    json_kstr(&j, "cwd", "/workspace/repo");
    json_kuint(&j, "commandId", s->commands);
    put_argv(&j, c);
    event_end(s, &j);
}

static void log_command(struct story *s, const struct command *c)
{
    char ts[CLOCK_ISO_LEN + 1];
    struct json j;
    size_t start = s->log.len;
    clock_iso(s->now_us, ts);
    json_init(&j, &s->log);
    json_obj_open(&j);
    json_kstr(&j, "ts", ts);
    json_kstr(&j, "type", "command");
    command_facts(s, &j, c, true);
    put_argv(&j, c);
    if (c->out_len)
        put_stream(s, &j, "stdoutBlob", c->out, c->out_len, false);
    else
        json_knull(&j, "stdoutBlob");
    if (c->err_len)
        put_stream(s, &j, "stderrBlob", c->err, c->err_len, false);
    else
        json_knull(&j, "stderrBlob");
    chain_stamp(&s->log_chain, &j);
    json_obj_close(&j);
    chain_advance(&s->log_chain, s->log.data + start, s->log.len - start);
    buf_append_char(&s->log, '\n');
}

static void tell_command(struct story *s, const struct command *c)
{
    struct json j;
    tell_command_started(s, c);
    log_command(s, c);
    event_begin(s, &j, EVENT_RUN_COMMAND_FINISHED);
    command_facts(s, &j, c, false);
    json_kuint(&j, "commandId", s->commands++);
    json_kstr(&j, "commandLogHead", s->log_chain.prev);
    event_end(s, &j);
}

static void put_summary(struct json *j, int files)
{
    json_key(j, "diffSummary");
    json_obj_open(j);
    json_kint(j, "filesChanged", files);
    json_kint(j, "insertions", files);
    json_kint(j, "deletions", 0);
    json_obj_close(j);
}

static void tell_diff(struct story *s, const char *diff)
{
    struct json j;
    char hex[SHA256_HEX_LEN + 1];
    put_file(s->dir, "diff.patch", diff, strlen(diff));
    sha256_hex_of(diff, strlen(diff), hex);
    event_begin(s, &j, EVENT_RUN_DIFF_READY);
    put_summary(&j, *diff != '\0');
    json_kstr(&j, "treeBefore", TREE_A);
    json_kstr(&j, "treeAfter", TREE_B);
    json_kstr(&j, "diffSha256", hex);
    json_kuint(&j, "diffBytes", strlen(diff));
    json_kbool(&j, "truncated", false);
    event_end(s, &j);
}

/* outputs.json with one artifact when something was changed; its digest as hex. */
static void put_outputs(struct story *s, bool changed, char ret_hex[SHA256_HEX_LEN + 1])
{
    cleanup_buf struct buf b;
    struct json j;
    buf_init(&b, FILE_MAX);
    json_init(&j, &b);
    json_obj_open(&j);
    json_kstr(&j, "runId", s->run_id);
    json_kstr(&j, "createdAt", "2026-11-22T00:00:16.000Z");
    json_kstr(&j, "gitCommit", COMMIT);
    put_summary(&j, changed);
    json_key(&j, "artifacts");
    json_arr_open(&j);
    if (changed) {
        json_obj_open(&j);
        json_kstr(&j, "path", "results/a.txt");
        json_kstr(&j, "type", "file");
        json_kint(&j, "sizeBytes", 3);
        put_stream(s, &j, "checksum", "hi\n", 3, true);
        json_obj_close(&j);
    }
    json_arr_close(&j);
    json_obj_close(&j);
    put_file(s->dir, "outputs.json", b.data, b.len);
    sha256_hex_of(b.data, b.len, ret_hex);
}

static void tell_end(struct story *s, const char *status, bool changed)
{
    struct json j;
    char log_hex[SHA256_HEX_LEN + 1], outputs_hex[SHA256_HEX_LEN + 1], env_hex[SHA256_HEX_LEN + 1];
    put_outputs(s, changed, outputs_hex);
    sha256_hex_of(s->log.data, s->log.len, log_hex);
    sha256_hex_of("{}", 2, env_hex);
    event_begin(s, &j, EVENT_RUN_COMPLETED);
    json_kstr(&j, "status", status);
    if (strcmp(status, "failed") == 0)
        json_kstr(&j, "errorMessage", "command 2 exited with code 3");
    json_kstr(&j, "finalText", "");
    json_kstr(&j, "gitCommit", COMMIT);
    json_kuint(&j, "commands", s->commands);
    json_kstr(&j, "commandLogHead", s->log_chain.prev);
    json_kstr(&j, "commandLogSha256", log_hex);
    json_kstr(&j, "outputsSha256", outputs_hex);
    json_kstr(&j, "envSha256", env_hex);
    event_end(s, &j);
}

static void tell_lost(struct story *s)
{
    struct json j;
    event_begin(s, &j, EVENT_RUN_COMPLETED);
    json_kstr(&j, "status", "failed");
    json_kstr(&j, "errorMessage", "the agent was lost");
    json_kstr(&j, "reason", "agent_lost");
    json_kstr(&j, "closedBy", "orchestrator");
    event_end(s, &j);
    put_file(s->dir, "outputs.json", "", 0);
    put_file(s->dir, "diff.patch", "", 0);
}

static void tell_start(struct story *s)
{
    struct json j;
    event_begin(s, &j, EVENT_RUN_STARTED);
    json_kstr(&j, "userId", USER);
    json_kstr(&j, "projectId", PROJECT);
    json_kstr(&j, "workspaceId", SPACE);
    json_kstr(&j, "prompt", PROMPT);
    json_kstr(&j, "chain", "arp-chain-v1");
    event_end(s, &j);
}

static void tell_run(struct story *s, enum fixture_kind kind)
{
    static char binary[300], large[20000];
    for (size_t i = 0; i < sizeof(binary); i++)
        binary[i] = (char)i;
    for (size_t i = 0; i < sizeof(large); i++)
        large[i] = (char)(i % 73 == 72 ? '\n' : 'a' + i % 26);
    const struct command commands[] = {
        {"echo hi > results/a.txt; echo done", "done\n", "", 5, 0, 0},
        {"cat binary", binary, "", sizeof(binary), 0, 0},
        {"make test; exit 3", large, large + 1, sizeof(large), sizeof(large) - 1, 3},
    };
    tell_start(s);
    if (kind == FIXTURE_EMPTY) {
        tell_diff(s, "");
        tell_end(s, "succeeded", false);
        return;
    }
    tell_command(s, &commands[0]);
    if (kind == FIXTURE_UNCLOSED) {
        tell_command_started(s, &commands[1]);
        tell_lost(s);
        return;
    }
    tell_command(s, &commands[1]);
    tell_command(s, &commands[2]);
    tell_diff(s, "diff --git a/results/a.txt b/results/a.txt\nnew file mode 100644\n--- /dev/null\n+++ "
                 "b/results/a.txt\n@@ -0,0 +1 @@\n+hi\n");
    tell_end(s, "failed", true);
}

static void put_documents(const struct story *s, bool closed)
{
    char text[2048];
    int n = snprintf(text, sizeof(text),
        "{\"v\":1,\"runId\":\"%s\",\"userId\":\"" USER "\",\"projectId\":\"" PROJECT
        "\",\"workspaceId\":\"" SPACE
        "\",\"imageName\":\"arp-workspace:test\",\"imageDigest\":\"%s\",\"gitCommit\":\"" COMMIT
        "\",\"closed\":%s,\"complete\":%s}",
        s->run_id, image_digest, closed ? "true" : "false", closed ? "true" : "false");
    put_file(s->dir, "metadata.json", text, (size_t)n);
    n = snprintf(text, sizeof(text),
        "{\"v\":1,\"runId\":\"%s\",\"imageName\":\"arp-workspace:test\",\"imageDigest\":\"%s\","
        "\"evidencePath\":\"x\"}",
        s->run_id, image_digest);
    put_file(s->dir, "env_snapshot.json", text, (size_t)n);
    put_file(s->dir, "events.jsonl", s->events.data, s->events.len);
    put_file(s->dir, "command_log.jsonl", s->log.data, s->log.len);
}

void fixture_stage(struct fixture *f, const char *run_id, enum fixture_kind kind, struct bundle_input *ret)
{
    static struct story s;
    s = (struct story){.run_id = run_id, .now_us = T0_US};
    buf_init(&s.events, FILE_MAX);
    buf_init(&s.log, FILE_MAX);
    chain_init(&s.events_chain, run_id, "events.jsonl");
    chain_init(&s.log_chain, run_id, "command_log.jsonl");
    char blobs[PATH_MAX + 8];
    snprintf(s.dir, sizeof(s.dir), "%s/staging", f->root);
    mkdir(s.dir, 0700);
    snprintf(s.dir, sizeof(s.dir), "%s/staging/%s", f->root, run_id);
    snprintf(blobs, sizeof(blobs), "%s/blobs", s.dir);
    mkdir(s.dir, 0700);
    mkdir(blobs, 0700);
    tell_run(&s, kind);
    bool closed = kind != FIXTURE_UNCLOSED;
    put_documents(&s, closed);
    *ret = (struct bundle_input){
        .run_id = run_id,
        .user_id = USER,
        .project_id = PROJECT,
        .workspace_id = SPACE,
        .staging_dir = s.dir,
        .prompt = PROMPT,
        .engine = "shell",
        .image_name = "arp-workspace:test",
        .image_digest = image_digest,
        .git_commit = COMMIT,
        .tree_before = TREE_A,
        .tree_after = closed ? TREE_B : NULL,
        .salt = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff",
        .orchestrator_version = "0.3.0",
        .agent_version = "0.3.0",
        .started_us = T0_US,
        .finished_us = s.now_us,
        .nano_cpus = 2000000000,
        .memory_bytes = 4294967296,
        .pids = 256,
        .closed = closed,
        .complete = closed,
        .volume_match = true,
        .uid_separation = true,
        .events = {.lines = s.events_chain.next_seq},
        .command_log = {.lines = s.log_chain.next_seq},
    };
    memcpy(ret->events.head, s.events_chain.prev, sizeof(ret->events.head));
    memcpy(ret->command_log.head, s.log_chain.prev, sizeof(ret->command_log.head));
    buf_done(&s.events);
    buf_done(&s.log);
}

void fixture_build(struct fixture *f, const char *run_id, enum fixture_kind kind, char ret[PATH_MAX])
{
    struct bundle_input in;
    struct bundle_result res;
    struct arp_err err = {0};
    fixture_stage(f, run_id, kind, &in);
    if (bundle_build(&in, f->signer, f->out, &res, &err) != 0) {
        fprintf(stderr, "fixture: %s\n", err.msg);
        abort();
    }
    snprintf(ret, PATH_MAX, "%s", res.path);
}

/* --- what an attacker does --------------------------------------------------------------------------------------------------- */

void fixture_unpack(const char *path, struct entries *ret)
{
    zip_t *z = zip_open(path, ZIP_RDONLY, NULL);
    MUST(z);
    *ret = (struct entries){0};
    for (zip_int64_t i = 0; i < zip_get_num_entries(z, 0); i++) {
        zip_stat_t st;
        MUST(zip_stat_index(z, (zip_uint64_t)i, 0, &st) == 0);
        cleanup_free char *bytes = malloc(st.size + 1);
        zip_file_t *file = zip_fopen_index(z, (zip_uint64_t)i, 0);
        MUST(bytes && file && zip_fread(file, bytes, st.size) == (zip_int64_t)st.size);
        zip_fclose(file);
        MUST(entries_add_bytes(ret, strchr(st.name, '/') + 1, bytes, st.size, NULL) == 0);
    }
    zip_discard(z);
}

void fixture_repack(const char *path, const char *top, struct entries *e)
{
    unlink(path);
    entries_sort(e);
    MUST(zipfile_write(path, top, e, NULL) == 0);
}

void fixture_drop(struct entries *e, const char *name)
{
    struct entry *gone = (struct entry *)entries_find(e, name);
    MUST(gone);
    free(gone->name);
    free(gone->bytes);
    free(gone->path);
    *gone = e->items[--e->count];
    entries_sort(e);
}

void fixture_replace(struct entries *e, const char *name, const void *bytes, size_t len)
{
    cleanup_free char *copy = malloc(len + 1);
    MUST(copy);
    memcpy(copy, bytes, len);
    fixture_drop(e, name);
    MUST(entries_add_bytes(e, name, copy, len, NULL) == 0);
    entries_sort(e);
}

static void remake_oxum(struct entries *e)
{
    uint64_t bytes = 0, files = 0;
    for (size_t i = 0; i < e->count; i++) {
        if (strncmp(e->items[i].name, "data/", 5) != 0)
            continue;
        bytes += e->items[i].size;
        files++;
    }
    const struct entry *info = entries_find(e, "bag-info.txt");
    const char *at = strstr(info->bytes, "Payload-Oxum: ");
    MUST(at);
    const char *rest = strchr(at, '\n');
    cleanup_buf struct buf b;
    buf_init(&b, FILE_MAX);
    buf_append(&b, info->bytes, (size_t)(at - info->bytes));
    buf_printf(&b, "Payload-Oxum: %" PRIu64 ".%" PRIu64, bytes, files);
    buf_append(&b, rest, info->size - (size_t)(rest - info->bytes));
    fixture_replace(e, "bag-info.txt", b.data, b.len);
}

void fixture_remake_manifests(struct entries *e)
{
    remake_oxum(e);
    for (int tags = 0; tags < 2; tags++) {
        const char *manifest = tags ? "tagmanifest-sha256.txt" : "manifest-sha256.txt";
        cleanup_buf struct buf b;
        buf_init(&b, FILE_MAX);
        for (size_t i = 0; i < e->count; i++) {
            const char *name = e->items[i].name;
            bool payload = strncmp(name, "data/", 5) == 0;
            bool tag = !payload && strncmp(name, "attestation/", 12) != 0 &&
                       strcmp(name, "tagmanifest-sha256.txt") != 0;
            if (tags ? tag : payload)
                buf_printf(&b, "%s  %s\n", e->items[i].sha256, name);
        }
        fixture_replace(e, manifest, b.data, b.len);
    }
}

void fixture_rechain(struct entries *e, const char *run_id, const char *log)
{
    struct chain chain;
    chain_init(&chain, run_id, log);
    const struct entry *old = entries_find(e, log);
    cleanup_buf struct buf b;
    buf_init(&b, FILE_MAX);
    for (const char *line = old->bytes; line < old->bytes + old->size;) {
        const char *end = memchr(line, '\n', (size_t)(old->bytes + old->size - line));
        const char *stamp = memmem(line, (size_t)(end - line), ",\"seq\":", 7);
        size_t start = b.len;
        buf_append(&b, line, (size_t)(stamp - line));
        buf_printf(&b, ",\"seq\":%" PRIu64 ",\"prev\":\"%s\"}", chain.next_seq, chain.prev);
        chain_advance(&chain, b.data + start, b.len - start);
        buf_append_char(&b, '\n');
        line = end + 1;
    }
    fixture_replace(e, log, b.data ? b.data : "", b.len);
}
