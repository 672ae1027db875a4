/*
 * Structured logs: see log.h.
 */
#include "shared/log.h"

#include <string.h>
#include <unistd.h>

#include "shared/buf.h"
#include "shared/clock.h"
#include "shared/json.h"

/* A log line that grows past this is dropped rather than cut: half a JSON object helps nobody. */
#define LINE_MAX_BYTES 16384

static enum log_level threshold = LOG_LEVEL_INFO;
static const char *const level_names[] = {"debug", "info", "warn", "error"};

void log_set_level(enum log_level level)
{
    threshold = level;
}

int log_level_parse(const char *name, enum log_level *ret, struct arp_err *err)
{
    for (int i = 0; i < 4; i++) {
        if (strcmp(name, level_names[i]) == 0) {
            *ret = (enum log_level)i;
            return 0;
        }
    }
    return arp_fail(err, ARP_E_INVALID, 0, "log level '%.32s' is not one of debug, info, warn, error", name);
}

static const char *id_or_null(const char *id)
{
    return id[0] ? id : NULL;
}

void log_write(
    enum log_level level, const struct log_ctx *ctx, const char *msg, const struct log_field *fields)
{
    if (level < threshold)
        return;
    static const struct log_ctx nobody;
    if (!ctx)
        ctx = &nobody;
    cleanup_buf struct buf line;
    buf_init(&line, LINE_MAX_BYTES);
    struct json j;
    json_init(&j, &line);
    char ts[CLOCK_ISO_LEN + 1];
    clock_iso_now(ts);
    json_obj_open(&j);
    json_kstr(&j, "ts", ts);
    json_kstr(&j, "level", level_names[level]);
    json_kstr(&j, "msg", msg);
    json_kstr(&j, "userId", id_or_null(ctx->user_id));
    json_kstr(&j, "projectId", id_or_null(ctx->project_id));
    json_kstr(&j, "workspaceId", id_or_null(ctx->workspace_id));
    json_kstr(&j, "runId", id_or_null(ctx->run_id));
    for (; fields && fields->key; fields++) {
        if (fields->is_num)
            json_kint(&j, fields->key, fields->num);
        else
            json_kstr(&j, fields->key, fields->str);
    }
    json_obj_close(&j);
    buf_append_char(&line, '\n');
    if (line.error)
        return;
    ssize_t n = write(STDERR_FILENO, line.data, line.len);
    (void)n; /* nowhere is left to report a failing log */
}

void log_error(enum log_level level, const struct log_ctx *ctx, const char *msg, const struct arp_err *err)
{
    log_write(level, ctx, msg,
        (const struct log_field[]){LOG_STR("code", arp_err_public_code(err->code)),
            LOG_STR("error", err->msg), LOG_INT("errno", err->sys_errno), {NULL, NULL, 0, false}});
}
