/*
 * Process record: see process.h.
 */
#include "agent/process.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

struct process_record *process_record_new(bool is_exit, uint64_t command_id, pid_t pid)
{
    struct process_record *r = calloc(1, sizeof(*r));
    if (!r)
        return NULL;
    r->is_exit = is_exit;
    r->command_id = command_id;
    r->pid = pid;
    clock_iso_now(r->at);
    return r;
}

void process_record_free(struct process_record *r)
{
    if (!r)
        return;
    free(r->exe);
    free(r->cwd);
    free(r->args.bytes);
    for (unsigned i = 0; i < r->script_count; i++)
        free(r->scripts[i].path);
    free(r);
}

void process_records_free(struct process_record *list)
{
    while (list) {
        struct process_record *next = list->next;
        process_record_free(list);
        list = next;
    }
}

/* A text without NUL in it, as the strict reader (shared/json.h) wants it. */
static void put_args(struct json *j, const struct tracee_args *a)
{
    json_key(j, "argv");
    json_arr_open(j);
    for (size_t at = 0; at < a->len;) {
        size_t n = strnlen(a->bytes + at, a->len - at);
        json_strn(j, a->bytes + at, n);
        at += n + 1;
    }
    json_arr_close(j);
    json_kuint(j, "argvBytes", a->total);
    json_kbool(j, "argvTruncated", a->total > a->len);
    json_kdigest(j, "argvSha256", a->sha256);
}

static void put_flags(struct json *j, unsigned flags)
{
    static const char *const names[PROCESS_FLAGS] = {
        "argv_changed", "path_changed", "memfd", "deleted", "traced", "unhashed"};
    json_key(j, "flags");
    json_arr_open(j);
    for (unsigned i = 0; i < PROCESS_FLAGS; i++) {
        if (flags & (1u << i))
            json_str(j, names[i]);
    }
    json_arr_close(j);
}

static void put_exec(struct json *j, const struct process_record *r)
{
    json_kint(j, "ppid", r->ppid);
    json_kuint(j, "uid", r->uid);
    json_kbool(j, "confirmed", r->confirmed);
    json_kstr(j, "exe", r->exe);
    json_kdigest(j, "exeSha256", r->exe_sha256);
    if (r->script_count > 0) {
        json_key(j, "scripts");
        json_arr_open(j);
        for (unsigned i = 0; i < r->script_count; i++) {
            json_obj_open(j);
            json_kstr(j, "path", r->scripts[i].path);
            json_kdigest(j, "sha256", r->scripts[i].sha256);
            json_obj_close(j);
        }
        json_arr_close(j);
    }
    put_args(j, &r->args);
    json_kstr(j, "cwd", r->cwd);
    put_flags(j, r->flags);
}

const char *signal_name(int sig, char ret[SIGNAL_NAME_MAX])
{
    const char *abbrev = sigabbrev_np(sig);
    if (abbrev)
        snprintf(ret, SIGNAL_NAME_MAX, "SIG%s", abbrev);
    else
        snprintf(ret, SIGNAL_NAME_MAX, "SIG%d", sig);
    return ret;
}

static void put_exit(struct json *j, const struct process_record *r)
{
    json_kuint(j, "execSeq", r->exec_line);
    if (r->has_status && WIFEXITED(r->status))
        json_kint(j, "exitCode", WEXITSTATUS(r->status));
    else
        json_knull(j, "exitCode");
    if (r->has_status && WIFSIGNALED(r->status)) {
        char name[SIGNAL_NAME_MAX];
        json_kstr(j, "signal", signal_name(WTERMSIG(r->status), name));
    } else {
        json_knull(j, "signal");
    }
}

void process_record_put(struct json *j, const struct process_record *r)
{
    json_kuint(j, "commandId", r->command_id);
    json_kint(j, "pid", r->pid);
    if (r->is_exit)
        put_exit(j, r);
    else
        put_exec(j, r);
}
