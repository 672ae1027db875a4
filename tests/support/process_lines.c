/*
 * Lines of processes.jsonl: see process_lines.h.
 */
#include "tests/support/process_lines.h"

#include <stdio.h>
#include <string.h>

#include "shared/hash.h"
#include "shared/json.h"

static void put_digest(struct json *j, const char *key, const void *bytes, size_t len)
{
    char hex[SHA256_HEX_LEN + 1], text[SHA256_HEX_LEN + 8];
    sha256_hex_of(bytes, len, hex);
    snprintf(text, sizeof(text), "sha256:%s", hex);
    json_kstr(j, key, text);
}

/* The digest of a file that is not there: of its name. */
static void put_file(struct json *j, const char *key, const char *path)
{
    if (path)
        put_digest(j, key, path, strlen(path));
    else
        json_knull(j, key);
}

static void put_argv(struct json *j, const struct process_line *p)
{
    cleanup_buf struct buf all;
    buf_init(&all, 1u << 20);
    json_key(j, "argv");
    json_arr_open(j);
    for (size_t i = 0; p->argv[i]; i++) {
        json_str(j, p->argv[i]);
        buf_append(&all, p->argv[i], strlen(p->argv[i]) + 1);
    }
    json_arr_close(j);
    json_kuint(j, "argvBytes", all.len);
    json_kbool(j, "argvTruncated", false);
    put_digest(j, "argvSha256", all.data, all.len);
}

static void put_exec(struct json *j, const struct process_line *p)
{
    json_kuint(j, "commandId", p->command);
    json_kint(j, "pid", p->pid);
    json_kint(j, "ppid", 1);
    json_kint(j, "uid", 1000);
    json_kbool(j, "confirmed", !p->unconfirmed);
    json_kstr(j, "exe", p->exe);
    put_file(j, "exeSha256", p->exe);
    if (p->script) {
        json_key(j, "scripts");
        json_arr_open(j);
        json_obj_open(j);
        json_kstr(j, "path", p->script);
        put_file(j, "sha256", p->script);
        json_obj_close(j);
        json_arr_close(j);
    }
    put_argv(j, p);
    json_kstr(j, "cwd", "/workspace/repo");
    json_key(j, "flags");
    json_arr_open(j);
    if (p->flag)
        json_str(j, p->flag);
    json_arr_close(j);
}

static void put_exit(struct json *j, const struct process_line *p)
{
    json_kuint(j, "commandId", p->command);
    json_kint(j, "pid", p->pid);
    json_kuint(j, "execSeq", p->exec_seq);
    if (p->exit_code >= 0)
        json_kint(j, "exitCode", p->exit_code);
    else
        json_knull(j, "exitCode");
    json_kstr(j, "signal", p->signal);
}

void process_line_put(struct buf *log, struct chain *c, const char *ts, const struct process_line *p)
{
    struct json j;
    size_t start = log->len;
    json_init(&j, log);
    json_obj_open(&j);
    json_kstr(&j, "ts", ts);
    json_kstr(&j, "type", p->is_exit ? "exit" : "exec");
    (p->is_exit ? put_exit : put_exec)(&j, p);
    chain_stamp(c, &j);
    json_obj_close(&j);
    chain_advance(c, log->data + start, log->len - start);
    buf_append_char(log, '\n');
}

void process_line_event(struct json *j, const struct chain *c, const char *ts, const struct process_line *p)
{
    json_kstr(j, "phase", p->is_exit ? "exit" : "exec");
    json_kstr(j, "at", ts);
    (p->is_exit ? put_exit : put_exec)(j, p);
    json_kstr(j, "processHead", c->prev);
}
