/*
 * Event lines of a run: see sink.h.
 */
#include "orchestrator/run/sink.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "orchestrator/run/request.h"
#include "orchestrator/store/run_events.h"
#include "shared/clock.h"
#include "shared/limits.h"
#include "shared/log.h"
#include "shared/model.h"

/* Pages in which a chain is read back. */
#define RESUME_PAGE (1u << 20)
/* How long, and in which steps, a flush waits for a database that does not answer. */
#define DATABASE_PATIENCE_NS 8000000000ll
#define DATABASE_RETRY_NS    200000000l

void sink_init(
    struct sink *s, const struct run_env *env, const char *user_id, const char *run_id, struct feed *feed)
{
    *s = (struct sink){
        .env = env, .user_id = user_id, .run_id = run_id, .feed = feed, .pending_close = SIZE_MAX};
    chain_init(&s->chain, run_id, "events.jsonl");
    buf_init(&s->pending, LIMIT_EVENTS_BYTES);
    buf_init(&s->held, LIMIT_LINE + 1);
}

static void facts_done(struct sink_facts *f)
{
    free(f->error_message);
    free(f->reason);
    free(f->final_text);
    free(f->thread_id);
    free(f->engine);
    free(f->git_commit);
    free(f->command_log_sha256);
    free(f->processes_sha256);
    free(f->outputs_sha256);
    free(f->env_sha256);
    free(f->diff_sha256);
    free(f->engine_sha256);
    free(f->tree_before);
    free(f->tree_after);
    free(f->container_context);
    *f = (struct sink_facts){0};
}

void sink_done(struct sink *s)
{
    buf_done(&s->pending);
    buf_done(&s->held);
    facts_done(&s->facts);
}

/* Replace *ret by a copy of a string member; false: out of memory. */
static bool take_str(char **ret, const cJSON *obj, const char *name)
{
    const char *v = json_get_str(obj, name);
    free(*ret);
    *ret = v ? strdup(v) : NULL;
    return !v || *ret;
}

/* The same for what must pass a test; what does not is not taken over. */
static bool take_if(char **ret, const cJSON *obj, const char *name, bool (*ok)(const char *))
{
    const char *v = json_get_str(obj, name);
    free(*ret);
    *ret = v && ok(v) ? strdup(v) : NULL;
    return *ret || !v || !ok(v);
}

/* What "auto" can turn out to be: one that calls models. An agent that says otherwise would have the evidence of a run lack its files. */
static bool engine_is_one(const char *name)
{
    return run_engine_known(name) && strcmp(name, ENGINE_AUTO) != 0 && model_called_by(name);
}

/* The same for a Git object id. What is none is not taken over: the seal would refuse the whole record for it. */
static bool take_object_id(char **ret, const cJSON *obj, const char *name)
{
    const char *v = json_get_str(obj, name);
    size_t n = v ? strspn(v, "0123456789abcdef") : 0;
    bool is_id = v && v[n] == '\0' && (n == 40 || n == 64);
    free(*ret);
    *ret = is_id ? strdup(v) : NULL;
    return !is_id || *ret;
}

static enum run_status status_of(const char *name)
{
    return strcmp(name, "succeeded") == 0 ? RUN_SUCCEEDED
           : strcmp(name, "timeout") == 0 ? RUN_TIMEOUT
                                          : RUN_FAILED;
}

static bool closed_by_orchestrator(const struct event_info *e)
{
    const char *by = json_get_str(e->obj, "closedBy");
    return by && strcmp(by, "orchestrator") == 0;
}

/* A digest that stands in a line as plain hex. Left alone when there is none. */
static void take_head(char ret[SHA256_HEX_LEN + 1], const cJSON *obj, const char *name)
{
    const char *head = json_get_str(obj, name);
    if (head && sha256_hex_ok(head))
        memcpy(ret, head, SHA256_HEX_LEN + 1);
}

/* Note what a checked line states. */
static int note_facts(struct sink_facts *f, const struct event_info *e, struct arp_err *err)
{
    bool ok = true;
    if (e->type == EVENT_RUN_COMMAND_FINISHED) {
        f->commands++;
        take_head(f->command_log_head, e->obj, "commandLogHead");
    } else if (e->type == EVENT_RUN_PROCESS) {
        f->processes++;
        take_head(f->process_head, e->obj, "processHead");
    } else if (e->type == EVENT_RUN_DIFF_READY) {
        ok = take_str(&f->diff_sha256, e->obj, "diffSha256") &&
             take_object_id(&f->tree_before, e->obj, "treeBefore") &&
             take_object_id(&f->tree_after, e->obj, "treeAfter");
    } else if (e->type == EVENT_TOOL_CONTEXT) {
        free(f->container_context);
        f->container_context =
            cJSON_PrintUnformatted(cJSON_GetObjectItemCaseSensitive(e->obj, "container_context"));
        ok = f->container_context != NULL;
    } else if (e->type == EVENT_RUN_COMPLETED) {
        f->closed = true;
        f->by_agent = !closed_by_orchestrator(e);
        f->status = status_of(json_get_str(e->obj, "status"));
        ok = take_str(&f->error_message, e->obj, "errorMessage") && take_str(&f->reason, e->obj, "reason") &&
             take_str(&f->final_text, e->obj, "finalText") &&
             take_if(&f->thread_id, e->obj, "threadId", model_thread_ok) &&
             take_if(&f->engine, e->obj, "engine", engine_is_one) &&
             take_object_id(&f->git_commit, e->obj, "gitCommit") &&
             take_str(&f->command_log_sha256, e->obj, "commandLogSha256") &&
             take_str(&f->processes_sha256, e->obj, "processesSha256") &&
             take_str(&f->outputs_sha256, e->obj, "outputsSha256") &&
             take_str(&f->env_sha256, e->obj, "envSha256") &&
             take_str(&f->engine_sha256, e->obj, "engineSha256");
    }
    return ok ? 0 : arp_fail(err, ARP_E_NOMEM, 0, "facts of a run");
}

/* What the agent may not say: the orchestrator's own lines, and more processes than an agent records. */
static int check_speaker(const struct sink_facts *f, const struct event_info *e, struct arp_err *err)
{
    if (e->type == EVENT_RUN_PROCESS && f->processes >= LIMIT_PROCESS_RECORDS)
        return arp_fail(
            err, ARP_E_TOO_LARGE, 0, "more than %d RunProcess lines of one run", LIMIT_PROCESS_RECORDS);
    if (e->type == EVENT_RUN_STARTED)
        return arp_fail(err, ARP_E_CORRUPT, 0, "a RunStarted that the orchestrator did not write");
    if (e->type == EVENT_TOOL_CONTEXT)
        return arp_fail(err, ARP_E_CORRUPT, 0, "a ToolContext that the orchestrator did not write");
    if (e->type == EVENT_RUN_COMPLETED && closed_by_orchestrator(e))
        return arp_fail(err, ARP_E_CORRUPT, 0, "a RunCompleted in the orchestrator's name");
    return 0;
}

/* Check a line, note its facts and move the chain. A line that is refused leaves the chain where it was: it will be closed there. */
static int accept_line(
    struct sink *s, const char *line, size_t len, bool from_agent, struct event_info *e, struct arp_err *err)
{
    if (s->facts.closed)
        return arp_fail(err, ARP_E_CORRUPT, 0, "a line after RunCompleted");
    if (from_agent &&
        s->bytes + len + 1 > LIMIT_EVENTS_BYTES - LIMIT_LINE) /* room for our own RunCompleted */
        return arp_fail(err, ARP_E_TOO_LARGE, 0, "the run's events are over %u bytes", LIMIT_EVENTS_BYTES);
    struct chain moved = s->chain;
    int rc = event_check(line, len, s->run_id, &moved, e, err);
    if (rc == 0 && from_agent)
        rc = check_speaker(&s->facts, e, err);
    if (rc == 0)
        rc = note_facts(&s->facts, e, err);
    if (rc == 0) {
        s->chain = moved;
        s->bytes += len + 1;
    }
    return rc;
}

static int append_pending(
    struct sink *s, const char *line, size_t len, uint64_t seq, bool close, struct arp_err *err)
{
    if (s->pending.len == 0)
        s->pending_first = seq;
    if (close)
        s->pending_close = s->pending.len;
    buf_append(&s->pending, line, len);
    buf_append_char(&s->pending, '\n');
    return buf_error(&s->pending, err);
}

int sink_agent_line(struct sink *s, const char *line, size_t len, struct arp_err *err)
{
    cleanup_event_info struct event_info e = {0};
    int rc = accept_line(s, line, len, true, &e, err);
    return rc ? rc : append_pending(s, line, len, e.seq, e.type == EVENT_RUN_COMPLETED, err);
}

/* Our own line stands in line: take it like any other, so that there is one way in. */
static int take_own(struct sink *s, const struct buf *line, struct arp_err *err)
{
    int rc = buf_error(line, err);
    if (rc)
        return rc;
    cleanup_event_info struct event_info e = {0};
    rc = accept_line(s, line->data, line->len, false, &e, err);
    return rc ? rc : append_pending(s, line->data, line->len, e.seq, e.type == EVENT_RUN_COMPLETED, err);
}

int sink_write_started(struct sink *s, const char *project_id, const char *workspace_id, const char *prompt,
    const char *engine, struct arp_err *err)
{
    cleanup_buf struct buf line;
    buf_init(&line, 8u * LIMIT_BODY);
    struct json j;
    struct chain c = s->chain;
    event_open(&j, &line, EVENT_RUN_STARTED, s->run_id);
    json_kstr(&j, "userId", s->user_id);
    json_kstr(&j, "projectId", project_id);
    json_kstr(&j, "workspaceId", workspace_id);
    json_kstr(&j, "prompt", prompt);
    json_kstr(&j, "engine", engine);
    json_kstr(&j, "chain", "arp-chain-v1");
    event_close(&j, 0, &c);
    return take_own(s, &line, err);
}

int sink_write_context(struct sink *s, const char *container_context, struct arp_err *err)
{
    cleanup_buf struct buf line;
    buf_init(&line, LIMIT_LINE);
    struct json j;
    struct chain c = s->chain;
    event_open(&j, &line, EVENT_TOOL_CONTEXT, s->run_id);
    json_kraw(&j, "container_context", container_context);
    event_close(&j, 0, &c);
    return take_own(s, &line, err);
}

int sink_write_completed(
    struct sink *s, enum run_status status, const char *message, const char *reason, struct arp_err *err)
{
    cleanup_buf struct buf line;
    buf_init(&line, LIMIT_LINE);
    struct json j;
    struct chain c = s->chain;
    event_open(&j, &line, EVENT_RUN_COMPLETED, s->run_id);
    json_kstr(&j, "status", run_status_name(status));
    json_kstr(&j, "errorMessage", message);
    json_kstr(&j, "reason", reason);
    json_kstr(&j, "closedBy", "orchestrator");
    json_kstr(&j, "finalText", "");
    json_knull(&j, "gitCommit");
    json_kuint(&j, "commands", s->facts.commands);
    json_kstr(&j, "commandLogHead", s->facts.command_log_head[0] ? s->facts.command_log_head : NULL);
    json_kuint(&j, "processRecords", s->facts.processes);
    json_kstr(&j, "processHead", s->facts.process_head[0] ? s->facts.process_head : NULL);
    event_close(&j, 0, &c);
    return take_own(s, &line, err);
}

/* Accept persisted lines again; page holds whole lines. */
static int resume_page(struct sink *s, const struct run_events_page *page, struct arp_err *err)
{
    for (const char *line = page->lines, *end = page->lines + page->len; line < end;) {
        const char *lf = memchr(line, '\n', (size_t)(end - line));
        if (!lf)
            return arp_fail(err, ARP_E_CORRUPT, 0, "a stored line has no end");
        cleanup_event_info struct event_info e = {0};
        int rc = accept_line(s, line, (size_t)(lf - line), false, &e, err);
        if (rc)
            return arp_wrap(err, "stored line %llu", (unsigned long long)s->chain.next_seq);
        if (e.type == EVENT_RUN_COMPLETED) {
            buf_append(&s->held, line, (size_t)(lf + 1 - line));
        }
        line = lf + 1;
    }
    return buf_error(&s->held, err);
}

int sink_resume(struct sink *s, struct arp_err *err)
{
    for (;;) {
        struct run_events_page page = {0};
        int rc = run_events_read(
            s->env->db, s->user_id, s->run_id, (int64_t)s->chain.next_seq - 1, RESUME_PAGE, &page, err);
        bool more = rc == 0 && page.len > 0;
        if (more)
            rc = resume_page(s, &page, err);
        run_events_page_done(&page);
        if (rc || !more)
            return rc;
    }
}

/* False: the lines could not be shown there. They are persisted, so a client that reconnects gets them. */
static bool show_in(const struct sink *s, struct feed *f, uint64_t first, const char *lines, size_t len)
{
    struct arp_err err;
    if (feed_publish(f, first, lines, len, &err) == 0)
        return true;
    struct log_ctx ctx = {0};
    memcpy(ctx.run_id, s->run_id, sizeof(ctx.run_id));
    log_error(LOG_LEVEL_ERROR, &ctx, "lines could not be shown live", &err);
    return false;
}

static void show(struct sink *s, uint64_t first_seq, const char *lines, size_t len)
{
    if (len == 0)
        return;
    if (s->feed && !show_in(s, s->feed, first_seq, lines, len))
        feed_end(s->feed); /* the live stream ends here */
    /* Who drives the workflow shows what is missing there, when this run has ended. */
    if (s->also && !show_in(s, s->also, s->also_base + first_seq, lines, len))
        s->also = NULL;
}

static int store_pending(struct sink *s, struct arp_err *err)
{
    return run_events_append(s->env->db, s->user_id, s->run_id, (int64_t)s->pending_first,
        (int64_t)s->chain.next_seq - 1, s->pending.data, s->pending.len, s->chain.prev, err);
}

/* A database that restarts is back in a second or two, and a run shows lines all the time: it waits. The agent keeps what we do not take
 * (agent/stream.h: STREAM_PATIENCE_MS is longer). */
static int store_patiently(struct sink *s, struct arp_err *err)
{
    int64_t until = clock_mono_ns() + DATABASE_PATIENCE_NS;
    int rc = store_pending(s, err);
    while (rc == ARP_E_DATABASE && clock_mono_ns() < until) {
        nanosleep(&(struct timespec){.tv_nsec = DATABASE_RETRY_NS}, NULL);
        rc = store_pending(s, err);
        if (rc != ARP_E_CONFLICT)
            continue;
        /* Perhaps the first try went in and only its answer was lost: then the stored chain ends with our lines. */
        struct run_chain stored;
        if (run_events_chain(s->env->db, s->user_id, s->run_id, &stored, NULL) == 0 &&
            strcmp(stored.head, s->chain.prev) == 0)
            rc = 0;
    }
    return rc;
}

int sink_flush(struct sink *s, struct arp_err *err)
{
    if (s->pending.len == 0)
        return 0;
    int rc = store_patiently(s, err);
    if (rc)
        return rc;
    size_t shown = s->pending.len;
    if (s->pending_close != SIZE_MAX) {
        shown = s->pending_close;
        buf_append(&s->held, s->pending.data + shown, s->pending.len - shown);
        s->pending_close = SIZE_MAX;
    }
    show(s, s->pending_first, s->pending.data, shown);
    buf_reset(&s->pending);
    return buf_error(&s->held, err);
}

void sink_show_end(struct sink *s)
{
    show(s, s->chain.next_seq - 1, s->held.data, s->held.len);
}
