/*
 * Showing events: see view.h.
 */
#include "cli/view.h"

#include <inttypes.h>
#include <string.h>

#include "cli/clean.h"
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

static void show_completed(const struct view *v, const cJSON *e)
{
    const char *message = json_get_str(e, "errorMessage");
    put_output(json_get_str(e, "finalText"), v->out);
    put_clean(json_get_str(e, "status"), true, v->out);
    if (message) {
        fputs(": ", v->out);
        put_clean(message, true, v->out);
    }
    putc('\n', v->out);
}

static void show(const struct view *v, const char *type, const cJSON *e)
{
    if (strcmp(type, "RunStarted") == 0) {
        fprintf(v->out, "run %s\n", v->run_id);
    } else if (strcmp(type, "RunToken") == 0) {
        put_clean(json_get_str(e, "delta"), true, v->out);
    } else if (strcmp(type, "RunCommandStarted") == 0) {
        fputs("$ ", v->out);
        put_clean(json_get_str(e, "command"), true, v->out);
        putc('\n', v->out);
    } else if (strcmp(type, "RunCommandFinished") == 0) {
        show_finished(v, e);
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
