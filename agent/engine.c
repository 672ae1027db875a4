/*
 * Engine: see engine.h.
 */
#include "agent/engine.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/engine.intern.h"
#include "agent/filerights.h"
#include "shared/fd.h"
#include "shared/hash.h"
#include "shared/utf8.h"

static const char *const names[ENGINES] = {"shell", "codex", "claude", "opencode", "builtin"};
static const struct engine *const clis[ENGINES] = {
    [ENGINE_CODEX] = &engine_codex, [ENGINE_CLAUDE] = &engine_claude, [ENGINE_OPENCODE] = &engine_opencode};

const struct engine *engine_find(const char *name)
{
    for (int i = 0; i < ENGINES; i++) {
        if (clis[i] && strcmp(name, names[i]) == 0)
            return clis[i];
    }
    return NULL;
}

/* --- what the image has --- */

/* True when path is a program; its digest is then known, or "" when it could not be read. */
static bool probe_program(struct exehash *cache, const char *path, char ret_hex[SHA256_HEX_LEN + 1])
{
    struct stat st;
    cleanup_fd int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || !(st.st_mode & 0111))
        return false;
    if (!exehash_find(cache, &st, ret_hex) && !exehash_read(cache, fd, ret_hex))
        ret_hex[0] = 0;
    return true;
}

static void probe_cli(
    const struct engine *e, struct exehash *cache, const char *shim_missing, struct engine_info *ret)
{
    for (const char *const *path = e->programs; *path && !ret->path[0]; path++) {
        if (probe_program(cache, *path, ret->sha256))
            snprintf(ret->path, sizeof(ret->path), "%s", *path);
    }
    if (!ret->path[0])
        snprintf(ret->reason, sizeof(ret->reason), "the image has no %s", e->name);
    else if (!ret->sha256[0])
        snprintf(ret->reason, sizeof(ret->reason), "%s can't be read", ret->path);
    else if (shim_missing)
        snprintf(ret->reason, sizeof(ret->reason), "%s", shim_missing);
    ret->available = !ret->reason[0];
}

void engine_probe(
    struct exehash *cache, const char *shim_missing, const char *only, struct engine_info ret[ENGINES])
{
    bool all = !only || strcmp(only, "auto") == 0;
    for (int i = 0; i < ENGINES; i++) {
        ret[i] = (struct engine_info){.name = names[i], .available = !clis[i]};
        if (clis[i] && (all || strcmp(only, names[i]) == 0))
            probe_cli(clis[i], cache, shim_missing, &ret[i]);
    }
}

void engine_info_put(struct json *j, const struct engine_info *e)
{
    json_kstr(j, "name", e->name);
    json_kstr(j, "version", e->version[0] ? e->version : NULL);
    json_kstr(j, "path", e->path[0] ? e->path : NULL);
    json_kdigest(j, "sha256", e->sha256);
}

/* The built-in engine speaks what it has a codec for. */
static bool speaks(int id, const struct run_request *req)
{
    if (!req->has_dialect)
        return true;
    if (id == ENGINE_BUILTIN)
        return req->dialect == MODEL_RESPONSES || req->dialect == MODEL_CHAT;
    return clis[id] && clis[id]->dialect == req->dialect;
}

int engine_choose(const struct engine_info infos[ENGINES], const struct run_request *req,
    const struct engine_info **ret, struct arp_err *err)
{
    bool is_auto = strcmp(req->engine, "auto") == 0;
    for (int i = ENGINE_CODEX; i < ENGINES; i++) {
        const struct engine_info *info = &infos[i];
        if (is_auto ? !info->available || !speaks(i, req) : strcmp(info->name, req->engine) != 0)
            continue;
        if (!info->available)
            return arp_fail(err, ARP_E_UNSUPPORTED, 0, "engine %s: %s", info->name, info->reason);
        *ret = info;
        return 0;
    }
    return arp_fail(err, ARP_E_UNSUPPORTED, 0, "the image has no engine for what the provider speaks");
}

/* --- a start --- */

/* text is taken over; NULL: it could not be made. */
static int put(char **list, size_t max, size_t *n, char *text, struct arp_err *err)
{
    if (!text)
        return arp_fail(err, ARP_E_NOMEM, 0, "engine");
    if (*n + 1 >= max) {
        free(text);
        return arp_fail(err, ARP_E_TOO_LARGE, 0, "engine: too many arguments");
    }
    list[(*n)++] = text;
    return 0;
}

int engine_add_arg(struct engine_start *s, const char *arg, struct arp_err *err)
{
    return put(s->argv, sizeof(s->argv) / sizeof(s->argv[0]), &s->argc, strdup(arg), err);
}

int engine_add_var(struct engine_start *s, const char *name, const char *value, struct arp_err *err)
{
    char *text;
    if (asprintf(&text, "%s=%s", name, value) < 0)
        text = NULL;
    return put(s->vars, sizeof(s->vars) / sizeof(s->vars[0]), &s->var_count, text, err);
}

int engine_set_input(
    struct engine_start *s, const struct run_request *req, bool with_instructions, struct arp_err *err)
{
    buf_init(&s->input, ENGINE_INPUT_MAX);
    if (with_instructions && req->instructions) {
        buf_append_str(&s->input, req->instructions);
        buf_append_str(&s->input, "\n\n");
    }
    buf_append_str(&s->input, req->prompt);
    return buf_error(&s->input, err);
}

void engine_start_done(struct engine_start *s)
{
    for (size_t i = 0; i < s->argc; i++)
        free(s->argv[i]);
    for (size_t i = 0; i < s->var_count; i++)
        free(s->vars[i]);
    buf_done(&s->input);
    *s = (struct engine_start){0};
}

/* --- configuration --- */

/* A folder can't be replaced by a file, but it can be moved out of the way. */
static int move_away(int dir_fd, const char *name, struct arp_err *err)
{
    unsigned char nonce[8];
    char away[2 * sizeof(nonce) + sizeof(".arp-")] = ".arp-";
    random_bytes(nonce, sizeof(nonce)); /* no name that could be taken beforehand */
    hex_encode(nonce, sizeof(nonce), away + strlen(away));
    return renameat(dir_fd, name, dir_fd, away) < 0 ? arp_fail(err, ARP_E_IO, errno, "move '%s' away", name)
                                                    : 0;
}

/* A new file of that name. By the ids of the calling thread, who owns the folder. */
static int replace_file(int dir_fd, const char *name, const struct buf *content, struct arp_err *err)
{
    struct arp_err cause = {0};
    if (fchmod(dir_fd, 0700) < 0)
        return arp_fail(err, ARP_E_IO, errno, "mode of the folder");
    int rc = file_write_durable(dir_fd, name, buf_str(content), content->len, 0600, &cause);
    if (rc && cause.sys_errno == EISDIR) {
        rc = move_away(dir_fd, name, &cause);
        if (rc == 0)
            rc = file_write_durable(dir_fd, name, buf_str(content), content->len, 0600, &cause);
    }
    if (rc && err)
        *err = cause;
    return rc;
}

int engine_put_file(
    const struct engine_context *c, const char *name, const struct buf *content, struct arp_err *err)
{
    int rc = file_rights_take(c->uid, c->gid)
                 ? replace_file(c->home_fd, name, content, err)
                 : arp_fail(err, ARP_E_IO, 0, "take the file rights of the workload for '%s'", name);
    file_rights_restore();
    return rc ? arp_wrap(err, "%s", c->home) : 0;
}

/* --- a story --- */

void engine_story_init(struct engine_story *s)
{
    *s = (struct engine_story){0};
    buf_init(&s->final_text, ENGINE_TEXT_MAX);
}

void engine_story_done(struct engine_story *s)
{
    buf_done(&s->final_text);
}

void engine_tell_thread(struct engine_story *s, const char *thread_id)
{
    if (thread_id && model_thread_ok(thread_id))
        snprintf(s->thread_id, sizeof(s->thread_id), "%s", thread_id);
}

/* As many bytes of text as fit: into the buffer as they are, and into half an event line as they are written there. */
static size_t fitting(const char *text)
{
    size_t n = 0, written = 0;
    for (; n < ENGINE_TEXT_MAX && text[n]; n++) {
        unsigned char c = (unsigned char)text[n];
        written += c < 0x20 || c == 0x7f ? 6 : c == '"' || c == '\\' ? 2 : 1;
        if (written > LIMIT_LINE / 2)
            break;
    }
    return utf8_cut(text, strlen(text), n);
}

void engine_tell_text(struct engine_story *s, const char *text)
{
    if (!text)
        return;
    buf_reset(&s->final_text);
    buf_append(&s->final_text, text, fitting(text));
}

void engine_tell_end(struct engine_story *s, bool failed, const char *message)
{
    s->ended = true;
    s->failed = failed;
    if (message)
        snprintf(
            s->message, sizeof(s->message), "%.*s", (int)utf8_cut(message, strlen(message), 400), message);
}

cJSON *engine_parse_line(const char *line, size_t len)
{
    cJSON *json = NULL;
    if (len == 0 || line[0] != '{' || json_parse_line(line, len, &json, NULL) != 0)
        return NULL;
    return json;
}
