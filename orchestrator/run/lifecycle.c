/*
 * One run from request to end: see lifecycle.h.
 */
#include "orchestrator/run/lifecycle.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "orchestrator/run/agent_body.h"
#include "orchestrator/run/agent_idle.h"
#include "orchestrator/run/context.h"
#include "orchestrator/run/finish.h"
#include "orchestrator/run/model_calls.h"
#include "orchestrator/run/record.h"
#include "orchestrator/run/sink.h"
#include "orchestrator/run/warm.h"
#include "orchestrator/run/work.h"
#include "orchestrator/store/runs.h"
#include "orchestrator/store/workspaces.h"
#include "shared/clock.h"
#include "shared/limits.h"
#include "shared/log.h"
#include "shared/model.h"

/* The deepest stacks are libcurl's and libcrypto's; 256 KiB is four times what they use. */
#define RUN_STACK_BYTES (256u << 10)
/* The agent sends a heartbeat every 5 s. */
#define SILENCE_MS 30000
/* What the agent may take after its own timeout: SIGTERM grace, diff of a large tree, hashing artifacts. */
#define AFTER_TIMEOUT_MS (5 * 60 * 1000)
#define AGENT_BODY_MAX   (16u << 20)
/* How often a run's container may be deleted between its choice and the run's admission before the request is given up. */
#define CHOOSE_AGAIN_MAX 2
/* A name, ids and an image's name, each byte at most six when escaped. */
#define CONTAINER_CONTEXT_MAX 8192

/* A run in progress; owned by its thread. */
struct job {
    const struct run_env *env;
    struct live_run *live;
    struct run run; /* ids, prompt, run_context as admitted */
    struct workspace ws;
    struct run_request request;
    struct run_choice choice; /* what run.run_context says of it; so does the next */
    struct run_work work;
    struct runtime_workspace runtime;
    bool has_runtime;
    int64_t epoch;   /* of the workspace lock */
    bool keeps_lock; /* it is somebody else's, who goes on after the run */
    bool lost_lock;  /* another may be at work in the workspace: nothing is touched there any more */
    struct sink sink;
    struct log_ctx log;
    struct buf
        own_lines; /* RunStarted, ToolContext, each with LF: the agent's copy of the log begins with them */
    struct buf usage; /* of its model calls, JSON; empty when it made none */
    bool saw_agent_line;
    bool finished; /* the row is final */
};

static void job_free(struct job *job)
{
    sink_done(&job->sink);
    buf_done(&job->own_lines);
    buf_done(&job->usage);
    run_work_done(&job->work);
    run_done(&job->run);
    run_choice_done(&job->choice);
    workspace_done(&job->ws);
    run_request_done(&job->request);
    live_unref(job->live);
    free(job);
}

/* --- on the run's thread --------------------------------------------------------------------------------------------------- */

static int on_line(void *ctx, const char *line, size_t len, struct arp_err *err)
{
    struct job *job = ctx;
    if (!job->saw_agent_line) {
        job->saw_agent_line = true;
        metrics_observe(
            job->env->metrics, METRIC_FIRST_EVENT, (clock_now_us() - job->run.created_us) * 1000, NULL);
    }
    return sink_agent_line(&job->sink, line, len, err);
}

static int on_pause(void *ctx, struct arp_err *err)
{
    struct job *job = ctx;
    return sink_flush(&job->sink, err);
}

/* Persist and show the lines written since the last flush, which are ours, and keep them for the agent. */
static int flush_own(struct job *job, struct arp_err *err)
{
    buf_append(&job->own_lines, job->sink.pending.data, job->sink.pending.len);
    int rc = buf_error(&job->own_lines, err);
    return rc ? rc : sink_flush(&job->sink, err);
}

/* On record before anything runs in it. */
static int record_container(struct job *job, struct arp_err *err)
{
    cleanup_buf struct buf context;
    buf_init(&context, CONTAINER_CONTEXT_MAX);
    int rc = run_container_context(&job->choice, &job->runtime, &context, err);
    if (rc == 0)
        rc = sink_write_context(&job->sink, buf_str(&context), err);
    return rc ? rc : flush_own(job, err);
}

/* Warm the workspace and note in record and row what the run runs in. */
static int prepare(struct job *job, struct arp_err *err)
{
    int rc = warm_ensure(job->env, &job->ws, &job->choice.environment, &job->runtime, err);
    if (rc)
        return rc;
    job->has_runtime = true;
    if (job->runtime.created)
        metrics_count(job->env->metrics, METRIC_COLD_RESUMES, 1, NULL);
    rc = record_container(job, err);
    if (rc)
        return rc;
    cleanup_buf struct buf snapshot;
    buf_init(&snapshot, 2 * LIMIT_METADATA);
    struct record r = {.run = &job->run,
        .runtime = &job->runtime,
        .runtime_metadata = job->ws.runtime_metadata,
        .facts = &job->sink.facts,
        .events = &job->sink.chain};
    rc = record_env_snapshot(&r, &snapshot, err);
    if (rc)
        return rc;
    struct run_start start = {.image_name = job->runtime.image_name,
        .image_digest = job->runtime.image_digest,
        .env_snapshot = buf_str(&snapshot),
        .container_context = job->sink.facts.container_context,
        .lease_epoch = job->epoch};
    rc = runs_set_started(job->env->db, job->run.user_id, job->run.id, &start, err);
    job->run.started_us = clock_now_us();
    job->lost_lock = rc == ARP_E_BUSY;
    job->has_runtime = !job->lost_lock;
    return rc;
}

/* With the gateway at its side while it works. */
static int run_agent(struct job *job, const struct agent_run *call, struct arp_err *err)
{
    struct model_calls *calls = NULL;
    const struct model_calls_of of = {.user_id = job->run.user_id,
        .run_id = job->run.id,
        .work = &job->work,
        .agent = &job->runtime.agent,
        .timeout_ms = job->request.timeout_ms,
        .max_tokens = job->request.max_tokens};
    int rc = model_called_by(job->work.engine) ? model_calls_open(job->env, &of, &calls, err) : 0;
    if (rc)
        return rc;
    bool started;
    rc = agent_run(&job->runtime.agent, call, &started, err);
    if (calls)
        model_calls_close(calls, &job->usage);
    return rc;
}

static int call_agent(struct job *job, struct arp_err *err)
{
    cleanup_buf struct buf body;
    buf_init(&body, AGENT_BODY_MAX);
    const struct agent_body parts = {&job->run, &job->request, &job->choice, &job->work, &job->own_lines};
    int rc = agent_body_write(&parts, &body, err);
    if (rc == 0)
        rc = agent_make_idle(&job->runtime.agent, &job->runtime.state, err);
    if (rc)
        return rc;
    if (!live_set_target(job->live, &job->runtime.agent))
        return arp_fail(err, ARP_E_UNAVAILABLE, 0, "cancelled before it started");
    struct agent_run call = {.body = body.data,
        .body_len = body.len,
        .silence_ms = SILENCE_MS,
        .timeout_ms = job->request.timeout_ms + AFTER_TIMEOUT_MS,
        .cancel_fd = live_cancel_fd(job->live),
        .on_line = on_line,
        .on_pause = on_pause,
        .ctx = job};
    rc = run_agent(job, &call, err);
    if (rc == 0 && !job->sink.facts.closed)
        rc = arp_fail(err, ARP_E_AGENT, 0, "the agent ended the stream without RunCompleted");
    return rc;
}

/* Why a run ended that its agent did not close. */
static const char *reason_of(const struct job *job, int code)
{
    if (live_cancelled(job->live))
        return "cancelled";
    if (job->lost_lock)
        return "lock_lost";
    switch (code) {
    case ARP_E_AGENT:
        return "agent_lost";
    case ARP_E_TIMEOUT:
        return "agent_timeout";
    case ARP_E_RUNTIME:
    case ARP_E_NOT_FOUND:
    case ARP_E_GONE:
        return "runtime_error";
    case ARP_E_CONFLICT: /* with a container it is the record: a write that failed had been done after all */
        return job->has_runtime ? "database_error" : "warm_limit";
    case ARP_E_PROVIDER:
        return "provider_error";
    case ARP_E_DATABASE:
        return "database_error";
    case ARP_E_INTERNAL:
    case ARP_E_NOMEM:
    case ARP_E_IO:
    case ARP_E_UNAVAILABLE:
        return "internal_error";
    default:
        return "protocol_error";
    }
}

/* What the owner of the run is told. As in error answers, our own failures are told in the table's words: messages name paths, hosts and
 * statements; they are in the log. */
static const char *public_reason(const struct arp_err *why)
{
    int code = why->code;
    bool ours = code == ARP_E_DATABASE || code == ARP_E_INTERNAL || code == ARP_E_NOMEM || code == ARP_E_IO;
    return ours ? arp_err_public_text(code) : why->msg;
}

/* Close the chain in our own name. Lines that were accepted but not persisted go first. */
static int close_chain(struct job *job, int code, const struct arp_err *why, struct arp_err *err)
{
    enum run_status status = code == ARP_E_TIMEOUT ? RUN_TIMEOUT : RUN_FAILED;
    const char *message = live_cancelled(job->live) ? "cancelled" : public_reason(why);
    int rc = sink_write_completed(&job->sink, status, message, reason_of(job, code), err);
    return rc ? rc : sink_flush(&job->sink, err);
}

/* Stop what a lost agent may still be doing, so that its evidence holds still while it is read. */
static void quiet_lost_agent(struct job *job)
{
    struct arp_err err;
    struct agent_state state;
    if (agent_health(&job->runtime.agent, 2000, &state, &err) == 0)
        agent_make_idle(&job->runtime.agent, &state, &err);
}

/* Warm, call the agent, and close the chain in our own name if the agent did not. why: what went wrong, empty if nothing. */
static int execute(struct job *job, struct arp_err *why, struct arp_err *err)
{
    int rc = why->code ? why->code : prepare(job, why);
    if (rc == 0)
        rc = call_agent(job, why);
    if (rc == 0 || job->sink.facts.closed)
        return sink_flush(&job->sink, err);
    log_error(LOG_LEVEL_WARN, &job->log, "run was not ended by its agent", why);
    if (job->has_runtime)
        quiet_lost_agent(job);
    return close_chain(job, rc, why, err);
}

static void run_to_end(struct job *job, struct arp_err *why)
{
    struct arp_err err;
    int rc = execute(job, why, &err);
    if (rc == 0) {
        struct finish f = {.run = &job->run,
            .sink = &job->sink,
            .runtime = job->has_runtime ? &job->runtime : NULL,
            .usage = job->usage.len ? buf_str(&job->usage) : NULL,
            .no_agent_reason = job->has_runtime ? NULL : public_reason(why)};
        rc = finish_run(job->env, &f, &job->finished, &err);
    }
    if (rc) {
        live_note_lost(job->env->live, job->run.id, reason_of(job, rc));
        log_error(LOG_LEVEL_ERROR, &job->log, "run could not be finished; recovery will", &err);
    } else {
        log_info(&job->log, "run ended", LOG_STR("status", run_status_name(job->sink.facts.status)),
            LOG_STR("reason", job->sink.facts.reason), LOG_INT("events", job->sink.chain.next_seq),
            LOG_INT("durationMs", (clock_now_us() - job->run.created_us) / 1000));
    }
}

static void unlock(const struct job *job)
{
    if (!job->keeps_lock)
        workspace_unlock(job->env, job->ws.id, job->epoch);
}

/* job is freed. why: set when the run has failed before it could start. */
static void run_job(struct job *job, struct arp_err *why)
{
    struct live *live = job->env->live;
    struct live_run *r = live_ref(job->live);
    run_to_end(job, why);
    if (job->has_runtime)
        warm_note_activity(job->env, job->run.user_id, job->run.workspace_id);
    /* The workspace is free before anybody is told that the run has ended, so that the next run can start at once. */
    unlock(job);
    if (job->finished)
        sink_show_end(&job->sink);
    job_free(job);
    live_end(live, r);
    live_unref(r);
}

static void *run_main(void *arg)
{
    struct arp_err why = {0};
    run_job(arg, &why);
    return NULL;
}

/* --- admission, on the caller's thread ---------------------------------------------------------------------------------------- */

/* The run of an idempotency key that was used before. Errors: ARP_E_NOT_FOUND (new key). */
static int find_earlier(const struct run_env *env, const struct run_submission *s,
    const struct run_request *request, struct run_started *ret, struct arp_err *err)
{
    struct run run = {0};
    int rc = runs_find_by_key(env->db, s->user_id, s->idempotency_key, &run, err);
    if (rc)
        return rc;
    if (strcmp(run.project_id, s->project_id) != 0 || !run_context_is_of(run.run_context, request)) {
        rc = arp_fail(err, ARP_E_CONFLICT, 0, "the idempotency key was used for another request");
    } else {
        memcpy(ret->run_id, run.id, sizeof(ret->run_id));
        ret->live = live_find(env->live, s->user_id, run.id);
    }
    run_done(&run);
    return rc;
}

/* Refused: the same request may be on its way in at another server, whose lock or row was in ours. It is waited for while the workspace is
 * locked there and has no run yet; else it is busy with something else. */
static int find_admitted_elsewhere(const struct run_env *env, const struct run_submission *s,
    const struct run_request *request, int refusal, struct run_started *ret, struct arp_err *err)
{
    for (int looks = 0;;) {
        struct arp_err why;
        /* Asked before the look: a row that comes between the two is found. */
        bool admits = refusal == ARP_E_BUSY && workspace_admits_elsewhere(env, s->user_id, s->project_id);
        int rc = find_earlier(env, s, request, ret, &why);
        if (rc && rc != ARP_E_NOT_FOUND)
            *err = why;
        if (rc != ARP_E_NOT_FOUND)
            return rc;
        if (!admits || !live_admission_again(env->live, &looks))
            return refusal;
    }
}

static int fill_run(
    struct job *job, const struct run_submission *s, const struct run_admitted *a, struct arp_err *err)
{
    struct run *run = &job->run;
    memcpy(run->id, a->id, sizeof(run->id));
    snprintf(run->user_id, sizeof(run->user_id), "%s", s->user_id);
    snprintf(run->project_id, sizeof(run->project_id), "%s", s->project_id);
    memcpy(run->workspace_id, a->workspace_id, sizeof(run->workspace_id));
    run->created_us = a->created_us;
    run->streaming = s->streaming;
    run->engine = strdup(job->work.engine);
    run->prompt = strdup(job->request.prompt);
    memcpy(job->log.user_id, run->user_id, sizeof(run->user_id));
    memcpy(job->log.project_id, run->project_id, sizeof(run->project_id));
    memcpy(job->log.workspace_id, run->workspace_id, sizeof(run->workspace_id));
    memcpy(job->log.run_id, run->id, sizeof(run->id));
    return run->engine && run->prompt ? 0 : arp_fail(err, ARP_E_NOMEM, 0, "run");
}

/* Start the run's thread; when there is none to be had, the run fails on this thread. */
static void spawn(struct job *job)
{
    pthread_attr_t attr;
    pthread_t thread;
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attr, RUN_STACK_BYTES);
    int rc = pthread_create(&thread, &attr, run_main, job);
    pthread_attr_destroy(&attr);
    if (rc == 0)
        return;
    struct arp_err why;
    arp_fail(&why, ARP_E_UNAVAILABLE, rc, "start the run's thread");
    run_job(job, &why);
}

/* Quota and row. */
static int admit_row(
    struct job *job, const struct run_submission *s, struct run_admitted *ret, struct arp_err *err)
{
    const struct run_step *step = s->step;
    struct run_new n = {.id = step ? step->run_id : NULL,
        .user_id = s->user_id,
        .project_id = s->project_id,
        .streaming = s->streaming,
        .prompt = job->request.prompt,
        .engine = job->work.engine,
        .model = job->work.model,
        .provider = job->work.provider,
        .thread_id = job->request.thread_id,
        .run_context = job->run.run_context,
        .idempotency_key = s->idempotency_key,
        .container_id = job->choice.environment.id[0] ? job->choice.environment.id : NULL,
        .agent_key = job->choice.agent.key,
        .workflow_run_id = step ? step->workflow_run_id : NULL,
        .workflow_step = step ? step->index : 0};
    int rc = runs_admit(job->env->db, &n, ret, err);
    if (rc == ARP_E_QUOTA)
        metrics_count(job->env->metrics, METRIC_QUOTA_EXCEEDED, 1, NULL);
    if (rc == 0 && ret->earlier)
        rc = arp_fail(err, ARP_E_BUSY, 0, "a request with this idempotency key is being admitted");
    return rc;
}

/* Resolve the run's agent, container and work: from here on run_context says what they are. */
static int choose(struct job *job, const struct run_submission *s, struct arp_err *err)
{
    struct run_request *request = &job->request;
    struct run_choice made = {0};
    struct run_work work = {0};
    cleanup_run_providers struct run_providers providers = {0};
    const struct run_choice *choice = &made;
    const char *key = request->agent_key;
    int rc = 0;
    if (s->step)
        choice = s->step->choice;
    else
        rc = run_resolve(
            job->env, s->user_id, &key, 1, request->overrides, request->override_count, &made, err);
    if (rc == 0)
        rc = run_work_resolve(
            job->env, s->user_id, s->project_id, request, &choice->agent, &providers, &work, err);
    cleanup_buf struct buf context;
    buf_init(&context, request->context.max);
    if (rc == 0)
        rc = run_context_write(request, s->step, choice, &work, &context, err);
    run_choice_done(&made);
    if (rc) {
        run_work_done(&work);
        return rc;
    }
    run_work_done(&job->work);
    job->work = work;
    free(job->run.run_context);
    job->run.run_context = buf_steal(&context);
    run_choice_done(&job->choice);
    return run_context_choice(job->run.run_context, &job->choice, err);
}

/* Admit the row. The container may have been deleted since it was chosen: to choose again tells why, or finds what stands in its place. */
static int admit_chosen(
    struct job *job, const struct run_submission *s, struct run_admitted *ret, struct arp_err *err)
{
    int rc = admit_row(job, s, ret, err);
    for (int i = 0; i < CHOOSE_AGAIN_MAX && rc == ARP_E_GONE && !s->step; i++) {
        rc = choose(job, s, err);
        if (rc == 0)
            rc = admit_row(job, s, ret, err);
    }
    return rc;
}

/* Quota, row, registry, RunStarted. The workspace is locked and a place reserved by the caller; on success job has taken over both. */
static int admit(
    struct job *job, const struct run_submission *s, struct run_started *ret, struct arp_err *err)
{
    const struct run_env *env = job->env;
    struct run_admitted a;
    int rc = admit_chosen(job, s, &a, err);
    if (rc == 0)
        rc = fill_run(job, s, &a, err);
    if (rc == 0)
        rc = live_add(env->live, s->user_id, a.id, &job->live, err);
    if (rc)
        return rc;
    sink_init(&job->sink, env, job->run.user_id, job->run.id, live_feed(job->live));
    if (s->step) {
        job->sink.also = s->step->also;
        job->sink.also_base = s->step->also_base;
    }
    rc = sink_write_started(
        &job->sink, s->project_id, a.workspace_id, job->request.prompt, job->work.engine, err);
    if (rc == 0)
        rc = flush_own(job, err);
    if (rc) {
        live_end(env->live, job->live);
        return rc;
    }
    memcpy(ret->run_id, a.id, sizeof(ret->run_id));
    ret->live = live_ref(job->live);
    return 0;
}

/* A message locks its workspace; a step's is locked by who drives the workflow. */
static int lock(struct job *job, const struct run_submission *s, struct arp_err *err)
{
    job->keeps_lock = s->step != NULL;
    if (!s->step)
        return workspace_lock(job->env, job->ws.id, &job->epoch, err);
    job->epoch = s->step->epoch;
    return 0;
}

/* With the place reserved and the request in job: look the workspace up, choose the container, lock, admit the run. A row that is inserted
 * before a failure has no lock any more: recovery ends it. */
static int start_job(
    struct job *job, const struct run_submission *s, struct run_started *ret, struct arp_err *err)
{
    int rc = workspaces_get_by_project(job->env->db, s->user_id, s->project_id, &job->ws, err);
    if (rc == 0)
        rc = choose(job, s, err);
    if (rc == 0)
        rc = lock(job, s, err);
    if (rc)
        return rc;
    rc = warm_check_room(job->env, &job->ws, err);
    if (rc == 0)
        rc = admit(job, s, ret, err);
    if (rc)
        unlock(job);
    return rc;
}

static int start_reserved(const struct run_env *env, const struct run_submission *s,
    struct run_request *request, struct run_started *ret, bool *ret_place_taken, struct arp_err *err)
{
    struct job *job = calloc(1, sizeof(*job));
    if (!job)
        return arp_fail(err, ARP_E_NOMEM, 0, "run");
    job->env = env;
    job->request = *request;
    buf_init(&job->own_lines, 2 * (LIMIT_LINE + 1));
    buf_init(&job->usage, MODEL_USAGE_JSON_MAX);
    int rc = start_job(job, s, ret, err);
    *ret_place_taken = job->live != NULL;
    *request = rc ? job->request : (struct run_request){0};
    if (rc) {
        job->request = (struct run_request){0};
        job_free(job);
        return rc;
    }
    if (s->streaming)
        metrics_count(env->metrics, METRIC_STREAMING_RUNS, 1, NULL);
    log_info(&job->log, "run admitted", LOG_INT("streaming", s->streaming));
    spawn(job);
    return 0;
}

static int start_new(const struct run_env *env, const struct run_submission *s, struct run_request *request,
    struct run_started *ret, struct arp_err *err)
{
    int rc = 0;
    if (s->step)
        live_reserve_step(env->live);
    else
        rc = live_reserve(env->live, err);
    if (rc)
        return rc;
    bool place_taken = false;
    rc = start_reserved(env, s, request, ret, &place_taken, err);
    if (!place_taken)
        live_unreserve(env->live);
    return rc;
}

int run_start(const struct run_env *env, const struct run_submission *s, struct run_request *request,
    struct run_started *ret, struct arp_err *err)
{
    if (!s->idempotency_key)
        return start_new(env, s, request, ret, err);
    live_admission_begin(env->live, s->user_id, s->idempotency_key);
    int rc = find_earlier(env, s, request, ret, err);
    if (rc == ARP_E_NOT_FOUND) {
        rc = start_new(env, s, request, ret, err);
        if (rc == ARP_E_BUSY || rc == ARP_E_CONFLICT)
            rc = find_admitted_elsewhere(env, s, request, rc, ret, err);
    }
    live_admission_end(env->live, s->user_id, s->idempotency_key);
    return rc;
}
