/*
 * The tools of the built-in engine: see builtin_tools.h.
 */
#include "agent/builtin_tools.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "agent/patch.h"
#include "shared/fd.h"
#include "shared/json.h"
#include "shared/model.h"
#include "shared/utf8.h"

/* --- outputs --- */

void builtin_output_add(struct builtin_output *o, const char *bytes, size_t len)
{
    o->total += len;
    size_t n = sizeof(o->head) - o->head_len < len ? sizeof(o->head) - o->head_len : len;
    memcpy(o->head + o->head_len, bytes, n);
    o->head_len += n;
    bytes += n;
    len -= n;
    if (len > sizeof(o->tail)) {
        bytes += len - sizeof(o->tail);
        len = sizeof(o->tail);
    }
    if (o->tail_len + len > sizeof(o->tail)) {
        size_t drop = o->tail_len + len - sizeof(o->tail);
        memmove(o->tail, o->tail + drop, o->tail_len - drop);
        o->tail_len -= drop;
    }
    memcpy(o->tail + o->tail_len, bytes, len);
    o->tail_len += len;
}

static void put_output(struct buf *said, const struct builtin_output *o)
{
    uint64_t left_out = o->total - o->head_len - o->tail_len;
    if (left_out == 0) {
        buf_append(said, o->head, o->head_len);
        buf_append(said, o->tail, o->tail_len);
        return;
    }
    /* Neither end is in the middle of a character. */
    size_t head = utf8_cut(o->head, o->head_len, BUILTIN_OUTPUT_HALF), tail = 0;
    while (tail < 3 && tail < o->tail_len && (o->tail[tail] & 0xc0) == 0x80)
        tail++;
    buf_append(said, o->head, head);
    buf_printf(said, "\n[%" PRIu64 " bytes left out]\n", left_out + o->head_len - head + tail);
    buf_append(said, o->tail + tail, o->tail_len - tail);
}

/* --- the tools --- */

typedef int tool_fn(const struct builtin_tools *t, const cJSON *args, struct buf *said,
    enum builtin_tool_end *ret, struct arp_err *err);

/* The head is what shared/model_tools.h reads back. */
static int tool_shell(const struct builtin_tools *t, const cJSON *args, struct buf *said,
    enum builtin_tool_end *ret, struct arp_err *err)
{
    cleanup_free struct builtin_shell_result *r = calloc(1, sizeof(*r));
    int64_t timeout_ms = BUILTIN_COMMAND_TIMEOUT_MS;
    int64_t asked_s = json_get_int(args, "timeout_s", 0);
    if (!r)
        return arp_fail(err, ARP_E_NOMEM, 0, "command");
    if (asked_s > 0)
        timeout_ms =
            asked_s < BUILTIN_COMMAND_TIMEOUT_MAX_MS / 1000 ? asked_s * 1000 : BUILTIN_COMMAND_TIMEOUT_MAX_MS;
    int rc = t->shell(t->ctx, json_get_str(args, "command"), timeout_ms, r, err);
    if (rc)
        return rc;
    if (r->error) {
        *ret = BUILTIN_TOOL_FAILED;
        buf_printf(said, "The command was not run: %s", r->error);
        return 0;
    }
    buf_printf(said, "Exit code: %d\nWall time: %.1f seconds\nOutput:\n", r->exit_code,
        (double)r->duration_ms / 1000.0);
    put_output(said, &r->out);
    if (r->err.total > 0) {
        buf_append_str(said, r->out.total > 0 ? "\n[stderr]\n" : "[stderr]\n");
        put_output(said, &r->err);
    }
    if (r->timed_out)
        buf_printf(said, "\n[ended: it ran longer than %" PRId64 " seconds]", timeout_ms / 1000);
    return 0;
}

static int tell_failure(const struct arp_err *cause, struct buf *said, enum builtin_tool_end *ret)
{
    *ret = BUILTIN_TOOL_FAILED;
    buf_printf(said, "Error: %s", cause->msg);
    return 0;
}

/* Lines first (from 1) to first + limit of the text, as many as fit. */
static void put_lines(const struct buf *text, int64_t first, int64_t limit, struct buf *said)
{
    const char *at = buf_str(text), *end = at + text->len;
    int64_t line = 1;
    while (at < end) {
        const char *lf = memchr(at, '\n', (size_t)(end - at));
        const char *next = lf ? lf + 1 : end;
        size_t len = (size_t)(next - at);
        if (line >= first && (line - first >= limit || said->len + len > BUILTIN_READ_BYTES)) {
            if (said->len == 0) { /* one line longer than all that may be told */
                buf_append(said, at, utf8_cut(at, len, BUILTIN_READ_BYTES));
                buf_printf(said, "\n[line %" PRId64 " has %zu bytes; the rest was left out. ", line, len);
                line++;
            } else {
                buf_printf(said, "\n[");
            }
            buf_printf(said, "The file goes on; the next line is %" PRId64 ".]", line);
            return;
        }
        if (line >= first)
            buf_append(said, at, len);
        line++;
        at = next;
    }
    if (said->len == 0)
        buf_printf(said, "[The file has %" PRId64 " lines, %zu bytes; none in what was asked for.]", line - 1,
            text->len);
}

static int tool_read(const struct builtin_tools *t, const cJSON *args, struct buf *said,
    enum builtin_tool_end *ret, struct arp_err *err)
{
    char path[REPOFILE_PATH_MAX];
    struct arp_err cause = {0};
    mode_t mode;
    cleanup_buf struct buf text;
    (void)err;
    buf_init(&text, REPOFILE_MAX);
    int rc = repofile_path(&t->files, json_get_str(args, "path"), path, &cause);
    if (rc == 0)
        rc = repofile_read(&t->files, path, &text, &mode, &cause);
    if (rc)
        return tell_failure(&cause, said, ret);
    int64_t first = json_get_int(args, "offset", 1), limit = json_get_int(args, "limit", INT64_MAX);
    put_lines(&text, first > 0 ? first : 1, limit > 0 ? limit : 1, said);
    return 0;
}

static int tool_write(const struct builtin_tools *t, const cJSON *args, struct buf *said,
    enum builtin_tool_end *ret, struct arp_err *err)
{
    char path[REPOFILE_PATH_MAX];
    struct arp_err cause = {0};
    const char *content = json_get_str(args, "content");
    struct repofile_change c = {
        .kind = REPOFILE_WRITE, .path = path, .bytes = content, .len = strlen(content)};
    (void)err;
    int rc = repofile_path(&t->files, json_get_str(args, "path"), path, &cause);
    if (rc == 0 && c.len > REPOFILE_MAX)
        rc = arp_fail(&cause, ARP_E_TOO_LARGE, 0, "more than %u bytes", REPOFILE_MAX);
    if (rc == 0)
        rc = repofile_apply(&t->files, &c, 1, &cause);
    if (rc)
        return tell_failure(&cause, said, ret);
    buf_printf(said, "Wrote %zu bytes to %s.", c.len, path);
    return 0;
}

static int tool_patch(const struct builtin_tools *t, const cJSON *args, struct buf *said,
    enum builtin_tool_end *ret, struct arp_err *err)
{
    struct arp_err cause = {0};
    const char *patch = json_get_str(args, "patch");
    cleanup_buf struct buf list;
    (void)err;
    buf_init(&list, REPOFILE_CHANGES_MAX * (2ul * REPOFILE_PATH_MAX + 16));
    if (patch_apply(&t->files, patch, strlen(patch), &list, &cause)) {
        buf_append_str(said, "Nothing was changed. ");
        return tell_failure(&cause, said, ret);
    }
    buf_printf(said, "Done:\n%s", buf_str(&list));
    return 0;
}

static const struct tool {
    const char *name;
    tool_fn *call;
    struct json_field fields[3];
    size_t field_count;
} tools[] = {
    {"shell", tool_shell, {{"command", JSON_STRING, true}, {"timeout_s", JSON_INT, false}}, 2},
    {"read_file", tool_read,
        {{"path", JSON_STRING, true}, {"offset", JSON_INT, false}, {"limit", JSON_INT, false}}, 3},
    {"write_file", tool_write, {{"path", JSON_STRING, true}, {"content", JSON_STRING, true}}, 2},
    {"apply_patch", tool_patch, {{"patch", JSON_STRING, true}}, 1},
};

int builtin_tool_call(const struct builtin_tools *t, const char *name, const char *arguments, size_t len,
    struct buf *said, enum builtin_tool_end *ret, struct arp_err *err)
{
    struct arp_err cause = {0};
    cleanup_cjson cJSON *args = NULL;
    const struct tool *tool = NULL;
    *ret = BUILTIN_TOOL_MALFORMED;
    for (size_t i = 0; i < sizeof(tools) / sizeof(tools[0]) && !tool; i++) {
        if (strcmp(tools[i].name, name) == 0)
            tool = &tools[i];
    }
    if (!tool) {
        buf_printf(said,
            "Error: there is no tool '%.64s'; there are shell, read_file, write_file and apply_patch.", name);
        return buf_error(said, err);
    }
    int rc = model_json(arguments, len, &args, &cause);
    if (rc == 0)
        rc = json_check_object(args, tool->fields, tool->field_count, "", &cause);
    if (rc) {
        buf_printf(said, "Error: the arguments of %s can't be read: %s", name, cause.msg);
        return buf_error(said, err);
    }
    *ret = BUILTIN_TOOL_DONE;
    rc = tool->call(t, args, said, ret, err);
    return rc ? rc : buf_error(said, err);
}
