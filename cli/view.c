/*
 * Showing events: see view.h.
 */
#include "cli/view.h"

#include <inttypes.h>
#include <string.h>

#include "cli/clean.h"
#include "shared/hash.h"
#include "shared/json.h"
#include "shared/uuid.h"

static void put_output(const char *text, FILE *out)
{
    if (!text || !*text)
        return;
    put_clean(text, true, out);
    if (text[strlen(text) - 1] != '\n')
        putc('\n', out);
}

static void show_finished(const struct view *v, const cJSON *e)
{
    put_output(json_get_str(e, "stdout"), v->out);
    put_output(json_get_str(e, "stderr"), v->out);
    if (json_get_bool(e, "truncated", false))
        fprintf(v->out, "[output cut here; all of it is in the evidence]\n");
    if (json_get_bool(e, "timedOut", false))
        fprintf(v->out, "[timed out]\n");
    int64_t code = json_get_int(e, "exitCode", 0);
    if (code != 0)
        fprintf(v->out, "[exit %" PRId64 "]\n", code);
}

static void show_diff(const struct view *v, const cJSON *e)
{
    const cJSON *sum = cJSON_GetObjectItemCaseSensitive(e, "diffSummary");
    fprintf(v->out, "changes: %" PRId64 " files, +%" PRId64 " -%" PRId64 "\n",
        json_get_int(sum, "filesChanged", 0), json_get_int(sum, "insertions", 0),
        json_get_int(sum, "deletions", 0));
}

static void show_token(struct view *v, const cJSON *e)
{
    const char *delta = json_get_str(e, "delta");
    if (!delta || !*delta)
        return;
    put_clean(delta, true, v->out);
    v->heard = true;
    v->open_line = delta[strlen(delta) - 1] != '\n';
}

static void show_completed(const struct view *v, const cJSON *e)
{
    const char *message = json_get_str(e, "errorMessage");
    const char *thread = json_get_str(e, "threadId");
    if (!v->heard)
        put_output(json_get_str(e, "finalText"), v->out);
    if (thread) {
        fputs("thread ", v->out);
        put_clean(thread, false, v->out);
        putc('\n', v->out);
    }
    put_clean(json_get_str(e, "status"), true, v->out);
    if (message) {
        fputs(": ", v->out);
        put_clean(message, true, v->out);
    }
    putc('\n', v->out);
}

/* Arguments of a process on one line; what a reader needs to know it by, not all of it. */
#define ARGS_SHOWN 8

static void put_args(const cJSON *argv, FILE *out)
{
    const cJSON *arg;
    int n = 0;
    cJSON_ArrayForEach(arg, argv)
    {
        if (n++ == ARGS_SHOWN) {
            fputs(" ...", out);
            return;
        }
        putc(' ', out);
        put_clean(cJSON_GetStringValue(arg), false, out);
    }
}

/* "  [123] exec sh -c make (/usr/bin/dash 4f291296e89b) traced" */
static void show_exec(const struct view *v, const cJSON *e)
{
    const char *exe = json_get_str(e, "exe"), *digest = json_get_str(e, "exeSha256");
    const cJSON *flag;
    fprintf(v->out, "  [%" PRId64 "] exec", json_get_int(e, "pid", 0));
    put_args(cJSON_GetObjectItemCaseSensitive(e, "argv"), v->out);
    fputs(" (", v->out);
    put_clean(exe ? exe : "unknown program", false, v->out);
    putc(' ', v->out);
    if (digest && strncmp(digest, "sha256:", 7) == 0 && sha256_hex_ok(digest + 7))
        fprintf(v->out, "%.12s)", digest + 7);
    else
        fputs("no digest)", v->out);
    if (!json_get_bool(e, "confirmed", true))
        fputs(" unconfirmed", v->out);
    cJSON_ArrayForEach(flag, cJSON_GetObjectItemCaseSensitive(e, "flags"))
    {
        putc(' ', v->out);
        put_clean(cJSON_GetStringValue(flag), false, v->out);
    }
    putc('\n', v->out);
}

/* "  [123] exit 0", "  [123] SIGKILL", "  [123] exit, status unknown" */
static void show_exit(const struct view *v, const cJSON *e)
{
    const char *signal = json_get_str(e, "signal");
    int64_t code = json_get_int(e, "exitCode", -1);
    fprintf(v->out, "  [%" PRId64 "] ", json_get_int(e, "pid", 0));
    if (signal)
        put_clean(signal, false, v->out);
    else if (code >= 0)
        fprintf(v->out, "exit %" PRId64, code);
    else
        fputs("exit, status unknown", v->out);
    putc('\n', v->out);
}

static void show(struct view *v, const char *type, const cJSON *e)
{
    bool token = strcmp(type, "RunToken") == 0;
    if (v->open_line && !token && strcmp(type, "RunHeartbeat") != 0) {
        putc('\n', v->out);
        v->open_line = false;
    }
    if (strcmp(type, "RunStarted") == 0) {
        fprintf(v->out, "run %s\n", v->run_id);
    } else if (token) {
        show_token(v, e);
    } else if (strcmp(type, "RunCommandStarted") == 0) {
        fputs("$ ", v->out);
        put_clean(json_get_str(e, "command"), true, v->out);
        putc('\n', v->out);
    } else if (strcmp(type, "RunCommandFinished") == 0) {
        show_finished(v, e);
    } else if (strcmp(type, "RunProcess") == 0) {
        const char *phase = json_get_str(e, "phase");
        (phase && strcmp(phase, "exec") == 0 ? show_exec : show_exit)(v, e);
    } else if (strcmp(type, "RunDiffReady") == 0) {
        show_diff(v, e);
    } else if (strcmp(type, "RunCompleted") == 0) {
        show_completed(v, e);
    }
}

int view_event(struct view *v, const char *line, size_t len, struct arp_err *err)
{
    cleanup_cjson cJSON *e = NULL;
    int rc = json_parse_line(line, len, &e, err);
    if (rc)
        return rc;
    const char *type = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(e, "type"));
    const char *run_id = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(e, "runId"));
    if (!type)
        return arp_fail(err, ARP_E_JSON, 0, "an event without a type");
    if (!v->run_id[0] && run_id && uuid_ok(run_id))
        memcpy(v->run_id, run_id, sizeof(v->run_id));
    if (v->raw)
        fprintf(v->out, "%.*s\n", (int)len, line);
    else
        show(v, type, e);
    fflush(v->out);
    if (strcmp(type, "RunCompleted") == 0) {
        const char *status = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(e, "status"));
        v->end = status && strcmp(status, "succeeded") == 0 ? RUN_END_SUCCEEDED : RUN_END_OTHER;
    }
    return 0;
}
