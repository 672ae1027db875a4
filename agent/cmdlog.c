/*
 * Command log: see cmdlog.h.
 */
#include "agent/cmdlog.h"

#include <unistd.h>

#include "shared/fd.h"
#include "shared/json.h"
#include "shared/limits.h"
#include "shared/utf8.h"

int cmdlog_open(struct cmdlog *log, const struct evdir *dir, const char *run_id, struct arp_err *err)
{
    log->fd = evdir_create_file(dir, "command_log.jsonl", err);
    if (log->fd < 0)
        return log->fd;
    chain_init(&log->chain, run_id, "command_log.jsonl");
    log->bytes = 0;
    return 0;
}

void cmdlog_close(struct cmdlog *log)
{
    if (log->fd > 0)
        close(log->fd);
    log->fd = -1;
}

/* Bytes of the head that go into the line: at most LIMIT_CAPTURE_HEAD, ending with a whole character. */
static size_t text_len(const struct capture_stream *s)
{
    size_t max = s->head_len < LIMIT_CAPTURE_HEAD ? s->head_len : LIMIT_CAPTURE_HEAD;
    return utf8_cut(s->head, s->head_len, max);
}

/* NUL becomes U+FFFD like any byte that is not text: the strict reader (shared/json.h) refuses \u0000. 0xff is never UTF-8. */
static void put_text(struct json *j, const char *key, const struct capture_stream *s)
{
    char text[LIMIT_CAPTURE_HEAD];
    size_t len = text_len(s);
    for (size_t i = 0; i < len; i++)
        text[i] = s->head[i] ? s->head[i] : (char)0xff;
    json_kstrn(j, key, text, len);
}

static void put_tally(struct json *j, const struct recorder_tally *t)
{
    json_key(j, "processes");
    json_obj_open(j);
    json_kuint(j, "execs", t->counts.execs);
    json_kuint(j, "exits", t->counts.exits);
    json_kuint(j, "unconfirmed", t->counts.unconfirmed);
    json_kuint(j, "changed", t->counts.changed);
    json_kuint(j, "failedExecs", t->counts.failed_execs);
    json_kuint(j, "recordsDropped", t->records_dropped);
    json_obj_close(j);
    json_key(j, "denied");
    json_obj_open(j);
    for (int nr = 0; nr < RECORDER_CALLS; nr++) {
        char name[32];
        if (t->denied[nr] > 0)
            json_kuint(j, seccomp_call_name(nr, name), t->denied[nr]);
    }
    json_obj_close(j);
    json_key(j, "observed");
    json_obj_open(j);
    if (t->ptrace > 0)
        json_kuint(j, "ptrace", t->ptrace);
    json_obj_close(j);
}

void cmd_rec_put_origin(struct json *j, const struct cmd_rec *rec)
{
    if (rec->origin)
        json_kstr(j, "origin", rec->origin);
    if (rec->pid)
        json_kint(j, "pid", rec->pid);
}

void cmd_rec_put(struct json *j, const struct cmd_rec *rec, bool with_argv)
{
    const struct capture_stream *out = &rec->io->out;
    const struct capture_stream *err = &rec->io->err;
    json_kstr(j, "command", rec->command->text);
    json_kstr(j, "cwd", rec->cwd);
    json_kint(j, "exitCode", rec->exit_code);
    put_text(j, "stdout", out);
    put_text(j, "stderr", err);
    if (with_argv) {
        json_key(j, "argv");
        json_arr_open(j);
        for (size_t i = 0; i < rec->command->argc; i++)
            json_str(j, rec->command->argv[i]);
        json_arr_close(j);
        json_kbool(j, "shell", rec->command->shell);
    }
    json_kstr(j, "signal", rec->signal);
    json_kbool(j, "timedOut", rec->timed_out);
    json_kint(j, "durationMs", rec->duration_ms);
    json_kuint(j, "stdoutBytes", out->bytes);
    json_kuint(j, "stderrBytes", err->bytes);
    json_kdigest(j, "stdoutSha256", out->sha256);
    json_kdigest(j, "stderrSha256", err->sha256);
    json_kbool(j, "truncated", out->bytes > text_len(out) || err->bytes > text_len(err));
    if (rec->error)
        json_kstr(j, "error", rec->error);
    cmd_rec_put_origin(j, rec);
    if (rec->abandoned)
        json_kbool(j, "abandoned", true);
    json_key(j, "sandbox");
    sandbox_layers_put(j, rec->layers);
    if (rec->tally)
        put_tally(j, rec->tally);
}

static void put_blob(struct json *j, const char *key, const struct capture_stream *s)
{
    if (s->has_blob)
        json_kdigest(j, key, s->blob_sha256);
    else
        json_knull(j, key);
}

static int64_t micros(struct timeval t)
{
    return (int64_t)t.tv_sec * 1000000 + t.tv_usec;
}

static void put_usage(struct json *j, const struct rusage *u)
{
    json_key(j, "rusage");
    json_obj_open(j);
    json_kint(j, "userUs", micros(u->ru_utime));
    json_kint(j, "systemUs", micros(u->ru_stime));
    json_kint(j, "maxRssKb", u->ru_maxrss);
    json_kint(j, "minorFaults", u->ru_minflt);
    json_kint(j, "majorFaults", u->ru_majflt);
    json_kint(j, "voluntarySwitches", u->ru_nvcsw);
    json_kint(j, "involuntarySwitches", u->ru_nivcsw);
    json_obj_close(j);
}

int cmdlog_append(struct cmdlog *log, const struct cmd_rec *rec, struct arp_err *err)
{
    cleanup_buf struct buf line;
    struct json j;
    buf_init(&line, LIMIT_LINE + 1);
    json_init(&j, &line);
    json_obj_open(&j);
    json_kstr(&j, "ts", rec->ts);
    json_kstr(&j, "type", "command");
    cmd_rec_put(&j, rec, true);
    put_blob(&j, "stdoutBlob", &rec->io->out);
    put_blob(&j, "stderrBlob", &rec->io->err);
    put_usage(&j, &rec->io->usage);
    chain_stamp(&log->chain, &j);
    json_obj_close(&j);
    size_t len = line.len;
    buf_append_char(&line, '\n');
    int rc = buf_error(&line, err);
    if (rc == 0)
        rc = fd_write_all(log->fd, line.data, line.len, err);
    if (rc)
        return arp_wrap(err, "command log");
    chain_advance(&log->chain, line.data, len);
    log->bytes += line.len;
    return 0;
}

int cmdlog_digest(const struct cmdlog *log, char ret_hex[SHA256_HEX_LEN + 1], struct arp_err *err)
{
    return sha256_fd(log->fd, ret_hex, NULL, err);
}
