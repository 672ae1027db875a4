/*
 * Who drives a workflow run: see driver.h.
 */
#include "orchestrator/workflow/driver.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "orchestrator/run/bundler.h"
#include "orchestrator/run/lifecycle.h"
#include "orchestrator/run/warm.h"
#include "orchestrator/store/run_events.h"
#include "orchestrator/store/runs.h"
#include "orchestrator/store/workflow_runs.h"
#include "orchestrator/workflow/definition.h"
#include "orchestrator/workflow/line.h"
#include "orchestrator/workflow/plan.h"
#include "orchestrator/workflow/request.h"
#include "orchestrator/workflow/stream.h"
#include "shared/clock.h"
#include "shared/event.h"
#include "shared/limits.h"
#include "shared/log.h"
#include "shared/utf8.h"

/* As a run's thread: the deepest stacks are libpq's and those of a run's admission. */
#define DRIVER_STACK_BYTES (256u << 10)
/* How long, and in which steps, a driver waits for a database that does not answer before it lets go (run/sink.c waits as long). */
#define DATABASE_PATIENCE_NS 8000000000ll
#define DATABASE_RETRY_MS    200
/* A step's message: prompt and commands, each byte at most six when escaped. */
#define MESSAGE_MAX (8u * LIMIT_BODY)
/* Lines that are shown from the database at once. */
#define SHOW_BYTES (256u << 10)

struct driver {
    struct workflow_drive d;
    struct log_ctx log;
    struct workflow_stream *stored;
    struct workflow_definition definition;
    struct workflow_choices choices;
    bool knows;   /* the two above were read */
    bool can_not; /* they can't be read, ever: the run is brought to its end */
    /* As of the last look: */
    struct workflow_run run;
    struct chain chain;
    int64_t position;               /* of the next line of the run's own */
    char step_run_id[UUID_LEN + 1]; /* named by the last line, when that starts a step */
    /* Why the run of step refused_step could not be started, code 0: nothing was refused. */
    struct arp_err refusal;
    int64_t refused_step;
    bool ended; /* the row is final */
};

static void driver_free(struct driver *d)
{
    workflow_stream_free(d->stored);
    workflow_definition_done(&d->definition);
    workflow_choices_done(&d->choices);
    workflow_run_done(&d->run);
    free(d);
}

/* --- to look: what stands in the database ------------------------------------------------------------------------------------- */

/* The run id that a WorkflowStepStarted names: whoever goes on after a crash starts that run, so the line stays true. */
static int take_step_run_id(struct driver *d, const struct event_info *e, struct arp_err *err)
{
    const char *id = json_get_str(e->obj, "runId");
    if (!id || !uuid_ok(id))
        return arp_fail(err, ARP_E_CORRUPT, 0, "a WorkflowStepStarted names no run");
    memcpy(d->step_run_id, id, sizeof(d->step_run_id));
    return 0;
}

/* Take up the chain of the stored lines, and the place of the next one. */
static int take_lines(struct driver *d, const struct workflow_lines *lines, struct arp_err *err)
{
    chain_init(&d->chain, d->d.id, WORKFLOW_LOG);
    d->position = 0;
    d->step_run_id[0] = '\0';
    for (size_t i = 0; i < lines->n; i++) {
        const struct workflow_stored_line *l = &lines->v[i];
        cleanup_event_info struct event_info e = {0};
        int rc = event_check_workflow(l->line, strlen(l->line), d->d.id, &d->chain, &e, err);
        if (rc)
            return arp_wrap(err, "stored line %zu", i);
        bool last = i + 1 == lines->n;
        d->position = l->position + 1;
        if (last && l->step >= 0 && (size_t)l->step < d->run.step_count) {
            d->position += d->run.steps[l->step].run_lines;
            rc = take_step_run_id(d, &e, err);
            if (rc)
                return rc;
        }
    }
    return 0;
}

/* What never changes: read once. */
static int know(struct driver *d, struct arp_err *err)
{
    if (d->knows)
        return 0;
    int rc = workflow_definition_parse(d->run.spec, strlen(d->run.spec), d->d.env->cfg, &d->definition, err);
    if (rc == 0 && d->definition.step_count != d->run.step_count)
        rc = arp_fail(err, ARP_E_CORRUPT, 0, "the definition has %zu steps, the run %zu",
            d->definition.step_count, d->run.step_count);
    if (rc == 0)
        rc = workflow_context_read(d->run.context, &d->choices, err);
    if (rc)
        workflow_definition_done(&d->definition);
    d->knows = rc == 0;
    d->can_not = rc && rc != ARP_E_NOMEM;
    if (d->can_not)
        log_error(LOG_LEVEL_ERROR, &d->log, "what a workflow run was given can't be read", err);
    return d->can_not ? 0 : rc;
}

static int look(struct driver *d, struct arp_err *err)
{
    const struct workflow_drive *w = &d->d;
    struct workflow_lines lines = {0};
    workflow_run_done(&d->run);
    int rc = workflow_runs_get(w->env->db, w->user_id, w->id, &d->run, err);
    if (rc == 0 && !d->knows && !d->can_not)
        rc = know(d, err);
    if (rc == 0)
        rc = workflow_runs_lines(w->env->db, w->user_id, w->id, &lines, err);
    if (rc == 0)
        rc = take_lines(d, &lines, err);
    workflow_lines_done(&lines);
    return rc;
}

/* --- to show ------------------------------------------------------------------------------------------------------------------ */

/* A feed that was just made begins with the last line there is: who watches from before it reads the database. */
static int64_t next_to_show(const struct driver *d)
{
    uint64_t next;
    return feed_next_seq(live_feed(d->d.live), &next) ? (int64_t)next : d->position - 1;
}

/* Bring the stream up to the lines that stand in the database: after a restart, and where lines could not be shown as they came. */
static int show_stored(struct driver *d, struct arp_err *err)
{
    for (int64_t next = next_to_show(d); next < d->position; next = next_to_show(d)) {
        cleanup_buf struct buf lines;
        buf_init(&lines, SHOW_BYTES + 2 * LIMIT_LINE);
        int rc = workflow_stream_read(d->stored, next - 1, SHOW_BYTES, &lines, err);
        if (rc == 0 && lines.len == 0)
            rc = arp_fail(err, ARP_E_CORRUPT, 0, "no line stands at position %lld", (long long)next);
        if (rc == 0)
            rc = feed_publish(live_feed(d->d.live), (uint64_t)next, lines.data, lines.len, err);
        if (rc)
            return rc;
    }
    return 0;
}

/* The line that was just written, the last of all. What can't be shown now is by the next turn. */
static void show(struct driver *d, struct buf *line)
{
    struct arp_err err;
    int64_t position = d->position++;
    buf_append_char(line, '\n');
    int rc = buf_error(line, &err);
    if (rc == 0)
        rc = feed_publish(live_feed(d->d.live), (uint64_t)position, line->data, line->len, &err);
    if (rc)
        log_error(LOG_LEVEL_ERROR, &d->log, "a line of a workflow run could not be shown live", &err);
}

/* --- to act ------------------------------------------------------------------------------------------------------------------- */

/* What the owner is told: as in error answers, our own failures are told in the table's words. */
static const char *public_message(const struct arp_err *why)
{
    return arp_err_http_status(why->code) >= 500 ? arp_err_public_text(why->code) : why->msg;
}

/* Cut to what a line takes, at a character. */
static const char *short_text(const char *text, char ret[WORKFLOW_MESSAGE_MAX + 1])
{
    if (!text)
        return NULL;
    snprintf(
        ret, WORKFLOW_MESSAGE_MAX + 1, "%.*s", (int)utf8_cut(text, strlen(text), WORKFLOW_MESSAGE_MAX), text);
    return ret;
}

static int begin_step(struct driver *d, const struct workflow_step *step, struct arp_err *err)
{
    const struct workflow_drive *w = &d->d;
    cleanup_buf struct buf line;
    buf_init(&line, LIMIT_LINE);
    uuid_make(d->step_run_id);
    struct workflow_line l = {.seq = (int64_t)d->chain.next_seq, .position = d->position, .step = step->step};
    const struct workflow_locks locks = {w->epoch, w->workspace_epoch};
    workflow_line_step_started(w->id, step, d->step_run_id, &d->chain, &line);
    int rc = buf_error(&line, err);
    l.line = buf_str(&line);
    if (rc == 0)
        rc = workflow_runs_step_started(w->env->db, w->user_id, w->id, step->step, &locks, &l, err);
    if (rc == 0)
        show(d, &line);
    return rc;
}

/* What the templates of a step are filled in from. */
struct values {
    const struct driver *d;
    char *diffs[LIMIT_WORKFLOW_STEPS]; /* owned; those its templates name, as they are large */
};

static void values_done(struct values *v)
{
    for (size_t i = 0; i < LIMIT_WORKFLOW_STEPS; i++)
        free(v->diffs[i]);
}

static int read_diffs(struct values *v, const struct workflow_step *step, struct arp_err *err)
{
    const struct driver *d = v->d;
    uint64_t wanted = d->definition.steps[step->step].diffs;
    int rc = 0;
    for (size_t i = 0; i < d->run.step_count && rc == 0; i++) {
        struct run run = {0};
        if (!(wanted >> i & 1) || !d->run.steps[i].run_id[0])
            continue;
        rc = runs_get(d->d.env->db, d->d.user_id, d->run.steps[i].run_id, &run, err);
        v->diffs[i] = run.diff;
        run.diff = NULL;
        run_done(&run);
    }
    return rc;
}

/* What a template's reference stands for. */
static const char *value_of(void *ctx, const struct template_ref *ref)
{
    const struct values *v = ctx;
    const struct driver *d = v->d;
    if (ref->value == TEMPLATE_INPUT)
        return d->run.input;
    int at = workflow_definition_find(&d->definition, ref->step);
    if (at < 0)
        return NULL;
    const struct workflow_step *s = &d->run.steps[at];
    switch (ref->value) {
    case TEMPLATE_FINAL_TEXT:
        return s->final_text;
    case TEMPLATE_DIFF:
        return v->diffs[at];
    default:
        return step_status_name(s->status);
    }
}

/* The step as a message: from here on it is a run like any other. */
static int step_request(
    const struct driver *d, const struct workflow_step *step, struct run_request *ret, struct arp_err *err)
{
    cleanup_buf struct buf body;
    buf_init(&body, MESSAGE_MAX);
    struct values v = {.d = d};
    int rc = read_diffs(&v, step, err);
    if (rc == 0)
        rc = workflow_definition_message(&d->definition, (size_t)step->step, value_of, &v, &body, err);
    values_done(&v);
    return rc ? rc : run_request_parse(body.data, body.len, d->d.env->cfg, ret, err);
}

static int start_run(
    struct driver *d, const struct workflow_step *step, struct live_run **ret, struct arp_err *err)
{
    const struct workflow_drive *w = &d->d;
    struct run_step as_step = {.workflow_run_id = w->id,
        .workflow_key = d->run.workflow_key,
        .version = d->run.workflow_version,
        .index = step->step,
        .key = step->key,
        .run_id = d->step_run_id,
        .choice = workflow_choices_find(&d->choices, step->agent_key),
        .epoch = w->workspace_epoch,
        .also = live_feed(w->live),
        .also_base = (uint64_t)d->position};
    struct run_submission s = {
        .user_id = w->user_id, .project_id = w->project_id, .streaming = d->run.streaming, .step = &as_step};
    if (!as_step.choice)
        return arp_fail(err, ARP_E_CORRUPT, 0, "the context has no agent '%s'", step->agent_key);
    cleanup_run_request struct run_request request = {0};
    struct run_started started = {0};
    int rc = step_request(d, step, &request, err);
    if (rc == 0)
        rc = run_start(w->env, &s, &request, &started, err);
    if (rc == 0)
        *ret = started.live;
    return rc;
}

/* Start the step's run and wait for its end. A refusal is kept, and judged when the rows have been looked at again: they say whether there is a
 * run after all. */
static int run_step(struct driver *d, const struct workflow_step *step, struct arp_err *err)
{
    struct live_run *run = NULL;
    int rc = start_run(d, step, &run, err);
    if (rc == ARP_E_DATABASE)
        return rc;
    if (rc) {
        d->refusal = *err;
        d->refused_step = step->step;
        return 0;
    }
    live_set_step(d->d.live, run);
    workflow_run_done(&d->run); /* large, with all the texts, and a step is long: the next turn looks anew */
    live_wait_end(d->d.env->live, run);
    live_set_step(d->d.live, NULL);
    live_unref(run);
    return 0;
}

static int write_step_end(struct driver *d, const struct workflow_step *step, const struct step_end *e,
    const struct workflow_step_run *run, struct arp_err *err)
{
    const struct workflow_drive *w = &d->d;
    char message[WORKFLOW_MESSAGE_MAX + 1];
    char reason[WORKFLOW_MESSAGE_MAX + 1];
    struct step_end end = {.status = e->status,
        .error_message = short_text(e->error_message, message),
        .reason = short_text(e->reason, reason)};
    cleanup_buf struct buf line;
    buf_init(&line, LIMIT_LINE);
    struct workflow_line l = {.seq = (int64_t)d->chain.next_seq, .position = d->position, .step = -1};
    workflow_line_step_finished(w->id, step, &end, run, &d->chain, &line);
    int rc = buf_error(&line, err);
    l.line = buf_str(&line);
    if (rc == 0)
        rc = workflow_runs_step_ended(w->env->db, w->user_id, w->id, step->step, &end, &l, err);
    if (rc == 0)
        show(d, &line);
    return rc;
}

static enum step_status step_status_of(enum run_status s)
{
    return s == RUN_SUCCEEDED ? STEP_SUCCEEDED : s == RUN_TIMEOUT ? STEP_TIMEOUT : STEP_FAILED;
}

/* A run that was cancelled though nobody asked for it was in the way of a shutdown. */
static const char *step_reason(const struct driver *d, const struct run *run)
{
    bool cancelled = run->reason && strcmp(run->reason, WORKFLOW_CANCELLED) == 0;
    bool asked = run->cancel_requested_us || d->run.cancel_requested_us;
    return cancelled && !asked ? WORKFLOW_RESTART : run->reason;
}

/* reason: why a step that had begun gets no run. */
static int end_step_without_run(
    struct driver *d, const struct workflow_step *step, const char *reason, struct arp_err *err)
{
    struct step_end e = {.status = STEP_FAILED, .error_message = reason, .reason = reason};
    return write_step_end(d, step, &e, &(struct workflow_step_run){0}, err);
}

static int end_step(struct driver *d, const struct workflow_step *step, struct arp_err *err)
{
    const struct workflow_drive *w = &d->d;
    struct run run = {0};
    struct run_chain chain;
    int rc = runs_get(w->env->db, w->user_id, step->run_id, &run, err);
    if (rc == 0)
        rc = run_events_chain(w->env->db, w->user_id, step->run_id, &chain, err);
    if (rc == 0) {
        struct step_end e = {.status = step_status_of(run.status),
            .error_message = run.error_message,
            .reason = step_reason(d, &run)};
        struct workflow_step_run of = {
            .run_id = step->run_id, .events_head = chain.head, .container_context = run.container_context};
        rc = write_step_end(d, step, &e, &of, err);
    }
    run_done(&run);
    return rc;
}

/* Why a step has no run. */
static const char *refusal_reason(int code)
{
    switch (code) {
    case ARP_E_QUOTA:
        return WORKFLOW_QUOTA;
    case ARP_E_GONE:
        return WORKFLOW_CONTAINER_GONE;
    case ARP_E_CONFLICT: /* it has no run, so this was about the warm place */
        return "warm_limit";
    case ARP_E_NOT_FOUND:
        return "project_deleted";
    default: /* what its templates came to can't be run, or a failure of ours */
        return arp_err_http_status(code) >= 500 ? WORKFLOW_INTERNAL : "invalid_step";
    }
}

static int end_refused_step(struct driver *d, const struct workflow_step *step, struct arp_err *err)
{
    struct step_end e = {.status = STEP_FAILED,
        .error_message = public_message(&d->refusal),
        .reason = refusal_reason(d->refusal.code)};
    log_error(LOG_LEVEL_WARN, &d->log, "a step's run could not be started", &d->refusal);
    int rc = write_step_end(d, step, &e, &(struct workflow_step_run){0}, err);
    if (rc == 0)
        d->refusal.code = 0;
    return rc;
}

static void let_workspace_go(struct driver *d)
{
    if (d->d.workspace_epoch)
        workspace_unlock(d->d.env, d->d.workspace_id, d->d.workspace_epoch);
    d->d.workspace_epoch = 0;
}

/* Of the step's message what there is room for, cut at a character: the database takes no half ones. */
static void name_step(char *ret, size_t size, const struct workflow_step *step)
{
    const char *text = step->error_message ? step->error_message : step_status_name(step->status);
    size_t room = size - sizeof("step '': ") - strlen(step->key);
    snprintf(ret, size, "step '%s': %.*s", step->key, (int)utf8_cut(text, strlen(text), room), text);
}

/* The workspace is free before anybody is told that the workflow run has ended. */
static int finish(struct driver *d, const struct workflow_move *m, struct arp_err *err)
{
    const struct workflow_drive *w = &d->d;
    const struct workflow_step *by = m->step >= 0 ? &d->run.steps[m->step] : NULL;
    char message[WORKFLOW_MESSAGE_MAX + 1] = "";
    if (m->reason && strcmp(m->reason, WORKFLOW_CANCELLED) == 0)
        snprintf(message, sizeof(message), "cancelled");
    else if (d->can_not)
        snprintf(message, sizeof(message), "%s", arp_err_public_text(ARP_E_CORRUPT));
    else if (by)
        name_step(message, sizeof(message), by);
    struct workflow_run_end e = {
        .status = m->status, .error_message = message[0] ? message : NULL, .reason = m->reason};
    cleanup_buf struct buf line;
    buf_init(&line, LIMIT_LINE);
    struct workflow_line l = {.seq = (int64_t)d->chain.next_seq, .position = d->position, .step = -1};
    workflow_line_completed(w->id, &e, &d->chain, &line);
    int rc = buf_error(&line, err);
    l.line = buf_str(&line);
    bool moved;
    if (rc == 0)
        rc = workflow_runs_finish(w->env->db, w->user_id, w->id, &e, &l, &moved, err);
    if (rc)
        return rc;
    d->ended = true;
    if (moved)
        metrics_count(w->env->metrics, METRIC_WORKFLOW_RUNS, 1,
            METRIC_LABELS(run_status_name(m->status), d->run.streaming ? "true" : "false"));
    bundler_wake(w->env->bundler);
    let_workspace_go(d);
    log_info(&d->log, "workflow run ended", LOG_STR("workflowRunId", w->id),
        LOG_STR("status", run_status_name(m->status)), LOG_STR("reason", m->reason));
    show(d, &line);
    return 0;
}

/* --- the whole ---------------------------------------------------------------------------------------------------------------- */

/* The moves of one step. */
static int act_on_step(
    struct driver *d, const struct workflow_move *m, const struct workflow_step *step, struct arp_err *err)
{
    struct step_end skipped = {.status = STEP_SKIPPED, .reason = m->reason};
    switch (m->next) {
    case NEXT_STEP_BEGIN:
        return begin_step(d, step, err);
    case NEXT_STEP_RUN:
        if (d->refusal.code && d->refused_step == m->step)
            return end_refused_step(d, step, err);
        return run_step(d, step, err);
    case NEXT_STEP_END:
        return m->reason ? end_step_without_run(d, step, m->reason, err) : end_step(d, step, err);
    case NEXT_STEP_SKIP:
        return write_step_end(d, step, &skipped, &(struct workflow_step_run){0}, err);
    default:
        return arp_fail(
            err, ARP_E_UNAVAILABLE, 0, "the run of step '%s' has to be recovered first", step->key);
    }
}

static int act(struct driver *d, const struct workflow_move *m, struct arp_err *err)
{
    const struct workflow_drive *w = &d->d;
    switch (m->next) {
    case NEXT_BEGIN:
        return workflow_runs_set_started(w->env->db, w->user_id, w->id, err);
    case NEXT_FINISH:
        return finish(d, m, err);
    case NEXT_NOTHING: /* an end whose answer from the database was lost */
        let_workspace_go(d);
        d->ended = true;
        return show_stored(d, err);
    default:
        return act_on_step(d, m, &d->run.steps[m->step], err);
    }
}

/* What a server that stops does not begin any more; what has been done is still written down. */
static bool can_wait(enum workflow_next next)
{
    return next == NEXT_BEGIN || next == NEXT_STEP_BEGIN || next == NEXT_STEP_RUN;
}

/* One look, one move. */
static int turn(struct driver *d, struct arp_err *err)
{
    int rc = look(d, err);
    if (rc)
        return rc;
    struct workflow_move m = workflow_plan(&d->run, d->knows ? &d->definition : NULL);
    /* While a step's run goes on elsewhere its lines are not all there. */
    if (m.next != NEXT_WAIT && m.next != NEXT_NOTHING)
        rc = show_stored(d, err);
    if (rc == 0 && can_wait(m.next) && live_stopping(d->d.env->live))
        return arp_fail(err, ARP_E_UNAVAILABLE, 0, "the server is shutting down");
    return rc ? rc : act(d, &m, err);
}

/* Turn until the end, or until nothing can be done here. */
static void drive(struct driver *d)
{
    struct arp_err err;
    int64_t patient_until = 0;
    while (!d->ended) {
        int rc = turn(d, &err);
        if (rc == 0) {
            patient_until = 0;
            continue;
        }
        if (patient_until == 0)
            patient_until = clock_mono_ns() + DATABASE_PATIENCE_NS;
        if (rc != ARP_E_DATABASE || clock_mono_ns() > patient_until ||
            !live_pause(d->d.env->live, DATABASE_RETRY_MS)) {
            arp_wrap(&err, "workflow run %s", d->d.id);
            log_error(LOG_LEVEL_WARN, &d->log, "workflow run let go, to be taken up again", &err);
            return;
        }
    }
}

/* Give back all that the driver had. Waiters are told last: who looks then finds the run free to be taken up, or ended. */
static void let_go(const struct workflow_drive *w)
{
    workflow_run_unlock(w->env, w->id, w->epoch);
    live_end(w->env->live, w->live);
    live_unref(w->live);
}

static void *driver_main(void *arg)
{
    struct driver *d = arg;
    struct workflow_drive w = d->d;
    drive(d);
    let_workspace_go(d);
    driver_free(d);
    let_go(&w);
    return NULL;
}

static int spawn(struct driver *d, struct arp_err *err)
{
    pthread_attr_t attr;
    pthread_t thread;
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attr, DRIVER_STACK_BYTES);
    int rc = pthread_create(&thread, &attr, driver_main, d);
    pthread_attr_destroy(&attr);
    return rc ? arp_fail(err, ARP_E_UNAVAILABLE, rc, "start the workflow run's thread") : 0;
}

static struct driver *driver_new(const struct workflow_drive *w)
{
    struct driver *d = calloc(1, sizeof(*d));
    if (!d)
        return NULL;
    d->d = *w;
    memcpy(d->log.user_id, w->user_id, sizeof(d->log.user_id));
    memcpy(d->log.project_id, w->project_id, sizeof(d->log.project_id));
    memcpy(d->log.workspace_id, w->workspace_id, sizeof(d->log.workspace_id));
    d->stored = workflow_stream_new(w->env->db, w->user_id, w->id);
    if (d->stored)
        return d;
    free(d);
    return NULL;
}

void workflow_drive_start(const struct workflow_drive *w)
{
    struct arp_err err;
    struct driver *d = driver_new(w);
    int rc = d ? spawn(d, &err) : arp_fail(&err, ARP_E_NOMEM, 0, "driver of a workflow run");
    if (rc == 0)
        return;
    log_error(LOG_LEVEL_ERROR, NULL, "workflow run let go, to be taken up again", &err);
    if (d)
        driver_free(d);
    workspace_unlock(w->env, w->workspace_id, w->workspace_epoch);
    let_go(w);
}
