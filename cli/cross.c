/*
 * Records against one another: events, command log, blobs, outputs, and what RunCompleted says of the files. See checks.h.
 * A run whose record is signed as not complete may lack the later halves; that is UNABLE, never PASS.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/checks.h"
#include "shared/limits.h"

/* Members that say the same thing in RunCommandFinished and in the command log; the first nine must be there. */
static const char *const command_members[] = {
    "command",
    "cwd",
    "exitCode",
    "stdout",
    "stderr",
    "stdoutBytes",
    "stderrBytes",
    "stdoutSha256",
    "stderrSha256",
    "signal",
    "timedOut",
    "durationMs",
    "truncated",
    "sandbox",
    "processes",
    "denied",
    "observed",
    "origin",
    "pid",
    "abandoned",
};
#define COMMAND_MEMBERS  (sizeof(command_members) / sizeof(command_members[0]))
#define COMMAND_REQUIRED 9
/* From this one on a member stands in both or in neither. */
#define COMMAND_PAIRED 14

static bool same_member(const cJSON *a, const cJSON *b, const char *name)
{
    return cJSON_Compare(json_at(a, name), json_at(b, name), true);
}

const struct packed_file *find_blob(const struct verification *v, const char *hex)
{
    char name[96];
    snprintf(name, sizeof(name), "data/blobs/sha256-%s", hex);
    return packed_find(&v->zip, name);
}

/* The kept bytes of a stream. The log names the blob that holds them: all bytes, or their beginning when they were over the limit; null
 * when the stream was empty. Returns false when not all bytes are in the bundle. */
static bool stream_check(
    const struct verification *v, const cJSON *entry, size_t id, const char *stream, struct check *c)
{
    char sha_key[32], bytes_key[32], blob_key[32];
    snprintf(sha_key, sizeof(sha_key), "%sSha256", stream);
    snprintf(bytes_key, sizeof(bytes_key), "%sBytes", stream);
    snprintf(blob_key, sizeof(blob_key), "%sBlob", stream);
    const char *digest = sha256_hex_in(json_str_at(entry, sha_key)),
               *kept = sha256_hex_in(json_str_at(entry, blob_key));
    const cJSON *bytes = json_at(entry, bytes_key);
    if (!digest || !cJSON_IsNumber(bytes)) {
        check_fail(c, "command %zu: %s lacks size or digest", id, stream);
        return true;
    }
    const struct packed_file *blob = find_blob(v, kept ? kept : digest);
    bool whole = !kept || strcmp(kept, digest) == 0;
    if (blob && (whole ? (double)blob->size != bytes->valuedouble : (double)blob->size >= bytes->valuedouble))
        check_fail(c, "command %zu: the blob of %s has %zu bytes, the log says %.0f", id, stream, blob->size,
            bytes->valuedouble);
    if (!blob && kept && v->complete)
        check_fail(c, "command %zu: the blob of %s is missing", id, stream);
    return (blob && whole) || bytes->valuedouble == 0;
}

static void log_line_check(
    const struct verification *v, size_t id, const cJSON *entry, const cJSON *finished, struct check *c)
{
    const struct text_line *line = &v->log_lines[v->commands[id].line];
    char hex[SHA256_HEX_LEN + 1];
    for (size_t i = 0; i < COMMAND_MEMBERS; i++) {
        const char *name = command_members[i];
        bool here = json_at(entry, name), there = json_at(finished, name);
        if (i < COMMAND_REQUIRED && (!here || !there))
            check_fail(c, "command %zu: %s is missing", id, name);
        else if (i >= COMMAND_PAIRED ? here != there || (here && !same_member(entry, finished, name))
                                     : here && there && !same_member(entry, finished, name))
            check_fail(
                c, "command %zu: %s differs between command_log.jsonl and RunCommandFinished", id, name);
    }
    sha256_hex_of(line->text, line->len, hex);
    const char *head = json_str_at(finished, "commandLogHead");
    if (!head || strcmp(head, hex) != 0)
        check_fail(
            c, "command %zu: its line in command_log.jsonl is not the one RunCommandFinished names", id);
}

/* Who ran it, and what that says of the rest (docs/formats/command_log.md). */
static void origin_check(size_t id, const cJSON *started, const cJSON *entry, struct check *c)
{
    const cJSON *v_origin = json_at(entry, "origin"), *abandoned = json_at(entry, "abandoned"),
                *pid = json_at(entry, "pid"), *code = json_at(entry, "exitCode");
    const char *origin = v_origin ? cJSON_GetStringValue(v_origin) : "";
    bool shim = origin && strcmp(origin, "shim") == 0;
    if (!origin || (v_origin && !shim && strcmp(origin, "engine") != 0 && strcmp(origin, "builtin") != 0)) {
        check_fail(c, "command %zu has no known origin", id);
        return;
    }
    if (!cJSON_Compare(json_at(started, "origin"), v_origin, true) &&
        (v_origin || json_at(started, "origin")))
        check_fail(c, "command %zu: origin differs between command_log.jsonl and RunCommandStarted", id);
    if (strcmp(origin, "engine") == 0 && id != 0)
        check_fail(c, "command %zu says to be the engine's program, which is command 0", id);
    if (pid && (!cJSON_IsNumber(pid) || pid->valuedouble <= 0))
        check_fail(c, "command %zu has no valid pid", id);
    if (shim && (json_at(entry, "processes") || json_at(entry, "denied") || json_at(entry, "observed")))
        check_fail(c, "command %zu: the shim's command has counts that only the recorder can make", id);
    if (abandoned && (!shim || !cJSON_IsTrue(abandoned) || !code || code->valuedouble != -1))
        check_fail(c, "command %zu is said to be abandoned, but it ended", id);
}

static void command_check(const struct verification *v, size_t id, size_t *not_kept, struct check *c)
{
    const struct seen_command *seen = &v->commands[id];
    cleanup_cjson cJSON *started = line_parse(&seen->started);
    cleanup_cjson cJSON *finished = seen->finished.text ? line_parse(&seen->finished) : NULL;
    if (!finished && v->complete)
        check_fail(c, "command %zu started and never finished", id);
    else if (!finished)
        check_unable(c, "command %zu had not finished when the record ends", id);
    if (finished && (!same_member(started, finished, "command") || !same_member(started, finished, "cwd")))
        check_fail(c, "command %zu finished as another command than it started", id);
    if (seen->line >= v->log_line_count) {
        if (v->complete)
            check_fail(c, "command %zu is not in command_log.jsonl", id);
        else
            check_unable(c, "command %zu is not in command_log.jsonl; the record is not complete", id);
        return;
    }
    cleanup_cjson cJSON *entry = line_parse(&v->log_lines[seen->line]);
    if (!same_member(started, entry, "command") || !same_member(started, entry, "cwd") ||
        (json_at(entry, "argv") && !same_member(started, entry, "argv")))
        check_fail(c,
            "command %zu: command, cwd or argv differ between command_log.jsonl and RunCommandStarted", id);
    origin_check(id, started, entry, c);
    log_line_check(v, id, entry, finished, c);
    *not_kept += !stream_check(v, entry, id, "stdout", c);
    *not_kept += !stream_check(v, entry, id, "stderr", c);
}

void step_commands(struct verification *v, struct check *c)
{
    if (!v->events.ok || !v->command_log.ok) {
        check_unable(c, "a chain is not sound");
        return;
    }
    size_t not_kept = 0;
    if (v->log_line_count > v->finished_count && !v->complete)
        check_unable(c, "command_log.jsonl goes on for %zu lines after the streamed events break off",
            v->log_line_count - v->finished_count);
    else if (v->log_line_count > v->finished_count)
        check_fail(c, "command_log.jsonl has %zu lines, events.jsonl %zu commands that ended",
            v->log_line_count, v->finished_count);
    if (v->log_line_count > LIMIT_COMMAND_LINES)
        check_fail(c, "command_log.jsonl has %zu lines, a recorder makes at most %d", v->log_line_count,
            LIMIT_COMMAND_LINES);
    for (size_t k = 0; k < v->finished_count; k++)
        command_check(v, v->finish_order[k], &not_kept, c);
    for (size_t id = 0; id < v->command_count; id++)
        if (!v->commands[id].finished.text)
            command_check(v, id, &not_kept, c);
    if (not_kept)
        check_unable(c, "the full bytes of %zu outputs are not in the bundle, only their digests", not_kept);
    check_pass(c, "%zu commands: events, log and output agree", v->command_count);
}

/* --- outputs.json --------------------------------------------------------------------------------------------------------- */

static void artifact_check(const struct verification *v, const cJSON *a, size_t *kept, struct check *c)
{
    const char *path = json_str_at(a, "path"), *hex = sha256_hex_in(json_str_at(a, "checksum"));
    const cJSON *size = json_at(a, "sizeBytes");
    /* Only a file that was read has a checksum; what is listed without one must say null, not nothing. */
    bool unread = cJSON_IsNull(json_at(a, "checksum"));
    if (!path || !(hex || unread) || !cJSON_IsNumber(size)) {
        check_fail(c, "an artifact in outputs.json lacks path, size or checksum");
        return;
    }
    if (unread)
        return;
    const struct packed_file *blob = find_blob(v, hex);
    if (blob && (double)blob->size != size->valuedouble)
        check_fail(
            c, "artifact %.120s has %zu bytes, outputs.json says %.0f", path, blob->size, size->valuedouble);
    *kept += blob != NULL;
}

static void summary_check(const struct verification *v, const cJSON *outputs, struct check *c)
{
    if (!v->diff_ready.text)
        return;
    cleanup_cjson cJSON *diff = line_parse(&v->diff_ready);
    if (!same_member(diff, outputs, "diffSummary"))
        check_fail(c, "diffSummary differs between outputs.json and RunDiffReady");
}

void step_outputs(struct verification *v, struct check *c)
{
    const struct packed_file *f = packed_find(&v->zip, "outputs.json");
    cleanup_cjson cJSON *outputs = NULL;
    if (f->size == 0 && !v->complete) {
        check_unable(c, "outputs.json is empty; the record is not complete");
        return;
    }
    if (json_parse_line(f->data, f->size, &outputs, NULL)) {
        check_fail(c, "outputs.json is not JSON");
        return;
    }
    const char *run_id = json_str_at(outputs, "runId");
    const cJSON *artifacts = json_at(outputs, "artifacts"), *a;
    if (!run_id || strcmp(run_id, v->zip.run_id) != 0)
        check_fail(c, "outputs.json belongs to another run");
    if (!cJSON_IsArray(artifacts))
        check_fail(c, "outputs.json has no artifacts");
    summary_check(v, outputs, c);
    size_t count = 0, kept = 0;
    cJSON_ArrayForEach(a, artifacts)
    {
        artifact_check(v, a, &kept, c);
        count++;
    }
    check_pass(c, "%zu artifacts listed, the bytes of %zu are in the bundle", count, kept);
}

/* --- RunCompleted ---------------------------------------------------------------------------------------------------------- */

void file_digest_check(
    const struct verification *v, const cJSON *event, const char *member, const char *file, struct check *c)
{
    const char *hex = sha256_hex_in(json_str_at(event, member));
    const struct packed_file *f = packed_find(&v->zip, file);
    if (hex && strcmp(hex, f->sha256) == 0)
        return;
    if (v->complete)
        check_fail(c, "%s is not the file whose digest is recorded as %s", file, member);
    else
        check_unable(c, "%s cannot be compared with %s; the record is not complete", file, member);
}

static void closing_check(const struct verification *v, const cJSON *done, struct check *c)
{
    const char *closed_by = json_str_at(done, "closedBy"), *head = json_str_at(done, "commandLogHead");
    bool by_orchestrator = closed_by && strcmp(closed_by, "orchestrator") == 0;
    if (v->closed == by_orchestrator)
        check_fail(c, "the statement says closed:%s, RunCompleted was written by the %s",
            v->closed ? "true" : "false", by_orchestrator ? "orchestrator" : "agent");
    const cJSON *commands = json_at(done, "commands");
    if (v->complete && (!cJSON_IsNumber(commands) || commands->valuedouble != (double)v->command_count))
        check_fail(c, "RunCompleted counts other than the %zu commands", v->command_count);
    if (v->complete && (!head || strcmp(head, v->command_log.head) != 0))
        check_fail(c, "RunCompleted names another end of command_log.jsonl");
}

static void diff_check(const struct verification *v, struct check *c)
{
    if (!v->diff_ready.text)
        return;
    cleanup_cjson cJSON *diff = line_parse(&v->diff_ready);
    if (json_str_at(diff, "error"))
        check_unable(c, "the recorder could not make the diff");
    else
        file_digest_check(v, diff, "diffSha256", "diff.patch", c);
    if (cJSON_IsTrue(json_at(diff, "truncated")))
        check_unable(c, "diff.patch lacks changes that were over the size limit");
    const char *after = json_str_at(diff, "treeAfter");
    const cJSON *item;
    cJSON_ArrayForEach(item, json_at(v->statement, "subject"))
    {
        const char *name = json_str_at(item, "name"), *tree = json_str_at(item, "digest/gitTree");
        if (name && strcmp(name, "workspace-tree") == 0 && (!tree || !after || strcmp(tree, after) != 0))
            check_fail(c, "the statement's workspace-tree is not the treeAfter of RunDiffReady");
    }
}

void step_completion(struct verification *v, struct check *c)
{
    if (!v->run_completed.text) {
        check_unable(c, "there is no sound RunCompleted");
        return;
    }
    cleanup_cjson cJSON *done = line_parse(&v->run_completed);
    const char *status = json_str_at(done, "status");
    if (!status ||
        (strcmp(status, "succeeded") != 0 && strcmp(status, "failed") != 0 && strcmp(status, "timeout") != 0))
        check_fail(c, "RunCompleted has no known status");
    closing_check(v, done, c);
    file_digest_check(v, done, "commandLogSha256", "command_log.jsonl", c);
    file_digest_check(v, done, "outputsSha256", "outputs.json", c);
    diff_check(v, c);
    if (!v->volume_match)
        check_unable(c, "the workspace's own copy of the record differed from what was streamed; the "
                        "streamed one is in the bundle");
    check_pass(
        c, "status %s, and it names the very log, outputs and diff of this bundle", status ? status : "");
}
