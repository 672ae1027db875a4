/*
 * Event log: see evlog.h.
 */
#include "agent/evlog.h"

#include <unistd.h>

#include "shared/clock.h"
#include "shared/fd.h"
#include "shared/limits.h"

/* Lines of processes that wait at most; far below STREAM_MAX. */
#define BATCH_BYTES (256u << 10)

int evlog_open(struct evlog *log, const struct evdir *dir, const struct run_request *req,
    struct stream *stream, struct arp_err *err)
{
    int64_t now = clock_mono_ns();
    *log = (struct evlog){
        .run_id = req->run_id, .chain = req->chain, .stream = stream, .started_ns = now, .last_ns = now};
    buf_init(&log->line, LIMIT_LINE + 1);
    buf_init(&log->batch, BATCH_BYTES + LIMIT_LINE + 1);
    log->fd = evdir_create_file(dir, "events.jsonl", err);
    if (log->fd < 0)
        return log->fd;
    int rc = fd_write_all(log->fd, buf_str(&req->prefix), req->prefix.len, err);
    return rc ? arp_wrap(err, "events.jsonl") : 0;
}

void evlog_close(struct evlog *log)
{
    if (log->fd > 0)
        close(log->fd);
    buf_done(&log->line);
    buf_done(&log->batch);
    *log = (struct evlog){.fd = -1};
}

int evlog_error(const struct evlog *log, struct arp_err *err)
{
    if (log->file_error.code == 0)
        return 0;
    *err = log->file_error;
    return err->code;
}

static void begin(struct evlog *log, struct json *j, enum event_type type)
{
    buf_reset(&log->line);
    event_open(j, &log->line, type, log->run_id);
}

/* Close the line and put it behind those that wait. */
static void finish(struct evlog *log, struct json *j)
{
    event_close(j, 0, &log->chain);
    buf_append_char(&log->line, '\n');
    struct arp_err err = {0};
    int rc = buf_error(&log->line, &err);
    if (rc == 0 && buf_append(&log->batch, log->line.data, log->line.len) != 0)
        rc = buf_error(&log->batch, &err);
    if (rc && log->file_error.code == 0)
        log->file_error = err;
    log->last_ns = clock_mono_ns();
}

void evlog_flush(struct evlog *log)
{
    struct arp_err err = {0};
    if (log->batch.len == 0)
        return;
    if (fd_write_all(log->fd, log->batch.data, log->batch.len, &err) != 0 && log->file_error.code == 0)
        log->file_error = err;
    if (!log->stream_lost)
        log->stream_lost = stream_push(log->stream, log->batch.data, log->batch.len, NULL) != 0;
    buf_reset(&log->batch);
}

static void commit(struct evlog *log, struct json *j)
{
    finish(log, j);
    evlog_flush(log);
}

void evlog_command_started(struct evlog *log, const struct cmd_rec *rec)
{
    struct json j;
    begin(log, &j, EVENT_RUN_COMMAND_STARTED);
    json_kstr(&j, "command", rec->command->text);
    json_kstr(&j, "cwd", rec->cwd);
    json_kuint(&j, "commandId", rec->id);
    json_key(&j, "argv");
    json_arr_open(&j);
    for (size_t i = 0; i < rec->command->argc; i++)
        json_str(&j, rec->command->argv[i]);
    json_arr_close(&j);
    json_kbool(&j, "shell", rec->command->shell);
    cmd_rec_put_origin(&j, rec);
    commit(log, &j);
}

void evlog_command_finished(struct evlog *log, const struct cmd_rec *rec, const char *head)
{
    struct json j;
    begin(log, &j, EVENT_RUN_COMMAND_FINISHED);
    cmd_rec_put(&j, rec, false);
    json_kuint(&j, "commandId", rec->id);
    json_kstr(&j, "commandLogHead", head);
    commit(log, &j);
}

void evlog_process(struct evlog *log, const struct process_record *r, const char *head)
{
    struct json j;
    begin(log, &j, EVENT_RUN_PROCESS);
    json_kstr(&j, "phase", r->is_exit ? "exit" : "exec");
    json_kstr(&j, "at", r->at);
    process_record_put(&j, r);
    json_kstr(&j, "processHead", head);
    finish(log, &j);
    if (log->batch.len >= BATCH_BYTES)
        evlog_flush(log);
}

static const char *or_null(const char *s)
{
    return s[0] ? s : NULL;
}

void evlog_token(struct evlog *log, uint64_t call, const char *text, size_t len)
{
    struct json j;
    begin(log, &j, EVENT_RUN_TOKEN);
    json_kuint(&j, "sequence", log->tokens++);
    json_key(&j, "delta");
    json_strn(&j, text, len);
    json_kuint(&j, "call", call);
    commit(log, &j);
}

void evlog_model_call(struct evlog *log, const struct relay_call *c)
{
    struct json j;
    begin(log, &j, EVENT_RUN_MODEL_CALL);
    json_kuint(&j, "call", c->call);
    json_kstr(&j, "lane", c->side ? "side" : "main");
    json_kstr(&j, "dialect", c->known ? model_dialect_name(c->dialect) : NULL);
    json_kstr(&j, "model", or_null(c->model));
    json_kstr(&j, "path", c->path);
    json_kint(&j, "status", c->status);
    json_kdigest(&j, "reqSha256", c->req_sha256);
    json_kuint(&j, "reqBytes", c->req_bytes);
    json_kdigest(&j, "respSha256", c->resp_sha256);
    json_kuint(&j, "respBytes", c->resp_bytes);
    json_kint(&j, "ttfbMs", c->ttfb_ms);
    json_kint(&j, "durationMs", c->duration_ms);
    json_kbool(&j, "cut", c->cut);
    json_key(&j, "usage");
    model_usage_put(&j, &c->usage);
    json_kuint(&j, "toolCalls", c->tool_calls);
    commit(log, &j);
}

void evlog_diff_ready(
    struct evlog *log, const struct snapshot_diff *diff, const char *tree_before, const char *tree_after)
{
    struct json j;
    begin(log, &j, EVENT_RUN_DIFF_READY);
    json_key(&j, "diffSummary");
    json_obj_open(&j);
    json_kuint(&j, "filesChanged", diff->files_changed);
    json_kuint(&j, "insertions", diff->insertions);
    json_kuint(&j, "deletions", diff->deletions);
    json_obj_close(&j);
    json_kstr(&j, "treeBefore", or_null(tree_before));
    json_kstr(&j, "treeAfter", or_null(tree_after));
    json_kdigest(&j, "diffSha256", diff->sha256);
    json_kuint(&j, "diffBytes", diff->bytes);
    json_kbool(&j, "truncated", diff->truncated);
    if (diff->error[0])
        json_kstr(&j, "error", diff->error);
    commit(log, &j);
}

static void put_model(struct json *j, const struct run_model *m)
{
    json_kstr(j, "threadId", or_null(m->thread_id));
    json_key(j, "usage");
    json_obj_open(j);
    json_kuint(j, "calls", m->calls);
    model_usage_members(j, &m->usage);
    json_obj_close(j);
    json_kdigest(j, "engineSha256", m->engine_sha256);
}

void evlog_completed(struct evlog *log, const struct run_end *end)
{
    struct json j;
    begin(log, &j, EVENT_RUN_COMPLETED);
    json_kstr(&j, "status", end->status);
    if (end->error_message)
        json_kstr(&j, "errorMessage", end->error_message);
    if (end->reason)
        json_kstr(&j, "reason", end->reason);
    json_kstr(&j, "finalText", end->final_text);
    json_kstr(&j, "engine", end->engine);
    if (end->model)
        put_model(&j, end->model);
    json_kstr(&j, "gitCommit", end->git_commit);
    json_kuint(&j, "commands", end->commands);
    json_kstr(&j, "commandLogHead", end->command_log_head);
    json_kdigest(&j, "commandLogSha256", end->command_log_sha256);
    json_kuint(&j, "processRecords", end->process_records);
    json_kstr(&j, "processHead", end->process_head);
    json_kdigest(&j, "processesSha256", end->processes_sha256);
    json_kuint(&j, "recordsDropped", end->records_dropped);
    json_kdigest(&j, "outputsSha256", end->outputs_sha256);
    json_kdigest(&j, "envSha256", end->env_sha256);
    commit(log, &j);
}

int evlog_idle(struct evlog *log)
{
    int64_t quiet_ms = (clock_mono_ns() - log->last_ns) / 1000000;
    if (quiet_ms < EVLOG_HEARTBEAT_MS)
        return (int)(EVLOG_HEARTBEAT_MS - quiet_ms);
    struct json j;
    begin(log, &j, EVENT_RUN_HEARTBEAT);
    json_kint(&j, "uptimeMs", (clock_mono_ns() - log->started_ns) / 1000000);
    commit(log, &j);
    return EVLOG_HEARTBEAT_MS;
}
