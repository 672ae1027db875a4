/*
 * Admission of a workflow run: see start.h.
 */
#include "orchestrator/workflow/start.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "orchestrator/run/warm.h"
#include "orchestrator/run/work.h"
#include "orchestrator/store/usage.h"
#include "orchestrator/store/workflow_runs.h"
#include "orchestrator/store/workflows.h"
#include "orchestrator/store/workspaces.h"
#include "orchestrator/workflow/definition.h"
#include "orchestrator/workflow/driver.h"
#include "orchestrator/workflow/line.h"
#include "shared/clock.h"
#include "shared/limits.h"

/* The request, and of each agent at most its instructions and a sandbox profile, each byte at most six when escaped. */
#define CONTEXT_MAX (8u * LIMIT_BODY + LIMIT_WORKFLOW_STEPS * (512u << 10))
/* A step's message: its prompt and commands, escaped. */
#define MESSAGE_MAX (8u * LIMIT_BODY)
/* How often a container may be deleted between its choice and the admission before the request is given up. */
#define CHOOSE_AGAIN_MAX 2

/* An admission in progress. */
struct admission {
    const struct run_env *env;
    const struct workflow_submission *s;
    struct workflow workflow;
    struct workflow_definition definition;
    const char *agents[LIMIT_WORKFLOW_STEPS]; /* those that take part, each once; borrowed from definition */
    size_t agent_count;
    struct workflow_choices choices;
    struct buf context;
    struct workspace ws;
    struct workflow_drive drive; /* what is locked and registered so far */
};

static void admission_done(struct admission *a)
{
    workflow_done(&a->workflow);
    workflow_definition_done(&a->definition);
    workflow_choices_done(&a->choices);
    buf_done(&a->context);
    workspace_done(&a->ws);
}

/* --- what is asked for ------------------------------------------------------------------------------------------------------- */

static int read_definition(struct admission *a, struct arp_err *err)
{
    const struct workflow_submission *s = a->s;
    int rc = workflows_get(a->env->db, s->user_id, s->workflow_key, s->request->version, &a->workflow, err);
    if (rc == 0)
        rc = workflow_definition_parse(
            a->workflow.spec, strlen(a->workflow.spec), a->env->cfg, &a->definition, err);
    for (size_t i = 0; rc == 0 && i < a->definition.step_count; i++) {
        const char *agent = a->definition.steps[i].agent;
        size_t at = 0;
        while (at < a->agent_count && strcmp(a->agents[at], agent) != 0)
            at++;
        a->agents[at] = agent;
        a->agent_count += at == a->agent_count;
    }
    return rc;
}

static int find_workspace(struct admission *a, struct arp_err *err)
{
    int rc = workspaces_get_by_project(a->env->db, a->s->user_id, a->s->request->project_id, &a->ws, err);
    return rc == ARP_E_NOT_FOUND ? arp_fail_field(err, "projectId", "there is no such project") : rc;
}

/* Resolve all agents and make the context, which says from here on what they are. Called again, it forgets what it chose before. */
static int choose(struct admission *a, struct arp_err *err)
{
    const struct workflow_request *r = a->s->request;
    workflow_choices_done(&a->choices);
    a->choices.v = calloc(a->agent_count + 1, sizeof(*a->choices.v));
    if (!a->choices.v)
        return arp_fail(err, ARP_E_NOMEM, 0, "workflow run");
    int rc = run_resolve(
        a->env, a->s->user_id, a->agents, a->agent_count, r->overrides, r->override_count, a->choices.v, err);
    if (rc)
        return rc;
    a->choices.n = a->agent_count;
    buf_done(&a->context);
    buf_init(&a->context, CONTEXT_MAX);
    return workflow_context_write(r, &a->choices, &a->context, err);
}

/* Could every step be a run, but for what its templates will come to? */
static int check_steps(const struct admission *a, struct arp_err *err)
{
    cleanup_run_providers struct run_providers providers = {0};
    int rc = 0;
    for (size_t i = 0; i < a->definition.step_count && rc == 0; i++) {
        const struct step_definition *step = &a->definition.steps[i];
        cleanup_buf struct buf body;
        cleanup_run_request struct run_request request = {0};
        buf_init(&body, MESSAGE_MAX);
        rc = workflow_definition_message(&a->definition, i, NULL, NULL, &body, err);
        if (rc == 0)
            rc = run_request_parse(body.data, body.len, a->env->cfg, &request, err);
        struct run_work work = {0};
        if (rc == 0)
            rc = run_work_resolve(a->env, a->s->user_id, a->s->request->project_id, &request,
                &workflow_choices_find(&a->choices, step->agent)->agent, &providers, &work, err);
        run_work_done(&work);
        if (rc) {
            arp_wrap(err, "step '%s'", step->key);
            arp_err_detail_str(err, "step", step->key);
        }
    }
    return rc;
}

/* The quota is taken by each step's run; a workflow run that could not even begin is refused here. */
static int check_quota(const struct admission *a, struct arp_err *err)
{
    struct usage u;
    int rc = usage_get(a->env->db, a->s->user_id, &u, err);
    if (rc || u.used < u.limit)
        return rc;
    char resets[CLOCK_ISO_LEN + 1];
    clock_iso(u.resets_us, resets);
    metrics_count(a->env->metrics, METRIC_QUOTA_EXCEEDED, 1, NULL);
    arp_fail(
        err, ARP_E_QUOTA, 0, "%lld of %lld runs of today are used", (long long)u.used, (long long)u.limit);
    arp_err_detail_int(err, "limit", u.limit);
    arp_err_detail_int(err, "used", u.used);
    arp_err_detail_str(err, "resetsAt", resets);
    return ARP_E_QUOTA;
}

/* --- the row ----------------------------------------------------------------------------------------------------------------- */

static int insert_row(const struct admission *a, struct arp_err *err)
{
    const struct workflow_definition *d = &a->definition;
    const char *keys[LIMIT_WORKFLOW_STEPS];
    const char *agents[LIMIT_WORKFLOW_STEPS];
    const char *containers[LIMIT_WORKFLOW_STEPS];
    struct workflow_run_new n = {.id = a->drive.id,
        .user_id = a->s->user_id,
        .project_id = a->s->request->project_id,
        .workflow_key = a->s->workflow_key,
        .workflow_version = a->workflow.version,
        .streaming = a->s->streaming,
        .input = a->s->request->input,
        .context = buf_str(&a->context),
        .container_ids = containers,
        .idempotency_key = a->s->idempotency_key,
        .step_keys = keys,
        .step_agents = agents,
        .step_count = d->step_count};
    for (size_t i = 0; i < d->step_count; i++) {
        keys[i] = d->steps[i].key;
        agents[i] = d->steps[i].agent;
    }
    for (size_t i = 0; i < a->choices.n; i++) {
        if (a->choices.v[i].environment.id[0])
            containers[n.container_count++] = a->choices.v[i].environment.id;
    }
    struct chain c;
    cleanup_buf struct buf line;
    buf_init(&line, LIMIT_LINE);
    chain_init(&c, n.id, WORKFLOW_LOG);
    workflow_line_started(&n, a->ws.id, a->workflow.spec, &c, &line);
    int rc = buf_error(&line, err);
    if (rc)
        return rc;
    struct workflow_line first = {.seq = 0, .position = 0, .step = -1, .line = line.data};
    return workflow_runs_insert(a->env->db, &n, &first, err);
}

/* A container may have been deleted since it was chosen: to choose again tells why, or finds what stands in its place. */
static int insert_chosen(struct admission *a, struct arp_err *err)
{
    int rc = insert_row(a, err);
    for (int i = 0; i < CHOOSE_AGAIN_MAX && rc == ARP_E_GONE; i++) {
        rc = choose(a, err);
        if (rc == 0)
            rc = insert_row(a, err);
    }
    return rc;
}

/* Row and place among the live runs, under the lock of the run to come: a row whose driver could not be started is soon an orphan. */
static int admit_locked(struct admission *a, struct arp_err *err)
{
    struct workflow_drive *d = &a->drive;
    int rc = warm_check_room(a->env, &a->ws, err);
    if (rc == 0)
        rc = workflow_run_lock(a->env, d->id, &d->epoch, err);
    if (rc)
        return rc;
    rc = insert_chosen(a, err);
    if (rc == 0)
        rc = live_add_workflow(a->env->live, d->user_id, d->id, &d->live, err);
    if (rc)
        workflow_run_unlock(a->env, d->id, d->epoch);
    return rc;
}

static int admit(struct admission *a, struct arp_err *err)
{
    struct workflow_drive *d = &a->drive;
    d->env = a->env;
    uuid_make(d->id);
    snprintf(d->user_id, sizeof(d->user_id), "%s", a->s->user_id);
    memcpy(d->project_id, a->ws.project_id, sizeof(d->project_id));
    memcpy(d->workspace_id, a->ws.id, sizeof(d->workspace_id));
    int rc = workspace_lock(a->env, d->workspace_id, &d->workspace_epoch, err);
    if (rc)
        return rc;
    rc = admit_locked(a, err);
    if (rc)
        workspace_unlock(a->env, d->workspace_id, d->workspace_epoch);
    return rc;
}

/* --- the whole --------------------------------------------------------------------------------------------------------------- */

/* With a place reserved, which is taken when *ret is set. */
static int start_reserved(const struct run_env *env, const struct workflow_submission *s,
    struct workflow_started *ret, struct arp_err *err)
{
    struct admission a = {.env = env, .s = s};
    int rc = read_definition(&a, err);
    if (rc == 0)
        rc = find_workspace(&a, err);
    if (rc == 0)
        rc = choose(&a, err);
    if (rc == 0)
        rc = check_steps(&a, err);
    if (rc == 0)
        rc = check_quota(&a, err);
    if (rc == 0)
        rc = admit(&a, err);
    if (rc == 0) {
        memcpy(ret->id, a.drive.id, sizeof(ret->id));
        ret->live = live_ref(a.drive.live);
        workflow_drive_start(&a.drive);
    }
    admission_done(&a);
    return rc;
}

static int start_new(const struct run_env *env, const struct workflow_submission *s,
    struct workflow_started *ret, struct arp_err *err)
{
    int rc = live_reserve(env->live, err);
    if (rc)
        return rc;
    rc = start_reserved(env, s, ret, err);
    if (rc)
        live_unreserve(env->live);
    return rc;
}

/* The run of an idempotency key that was used before. Errors: ARP_E_NOT_FOUND (new key). */
static int find_earlier(const struct run_env *env, const struct workflow_submission *s,
    struct workflow_started *ret, struct arp_err *err)
{
    struct workflow_run run = {0};
    int rc = workflow_runs_find_by_key(env->db, s->user_id, s->idempotency_key, &run, err);
    if (rc)
        return rc;
    if (strcmp(run.workflow_key, s->workflow_key) != 0 || !workflow_context_is_of(run.context, s->request)) {
        rc = arp_fail(err, ARP_E_CONFLICT, 0, "the idempotency key was used for another request");
    } else {
        memcpy(ret->id, run.id, sizeof(ret->id));
        ret->live = live_find_workflow(env->live, s->user_id, run.id);
    }
    workflow_run_done(&run);
    return rc;
}

/* As in run/lifecycle.c. */
static int find_admitted_elsewhere(const struct run_env *env, const struct workflow_submission *s,
    int refusal, struct workflow_started *ret, struct arp_err *err)
{
    for (int looks = 0;;) {
        struct arp_err why;
        /* Asked before the look: a row that comes between the two is found. */
        bool admits =
            refusal == ARP_E_BUSY && workspace_admits_elsewhere(env, s->user_id, s->request->project_id);
        int rc = find_earlier(env, s, ret, &why);
        if (rc && rc != ARP_E_NOT_FOUND)
            *err = why;
        if (rc != ARP_E_NOT_FOUND)
            return rc;
        if (!admits || !live_admission_again(env->live, &looks))
            return refusal;
    }
}

int workflow_start(const struct run_env *env, const struct workflow_submission *s,
    struct workflow_started *ret, struct arp_err *err)
{
    if (!s->idempotency_key)
        return start_new(env, s, ret, err);
    live_admission_begin(env->live, s->user_id, s->idempotency_key);
    int rc = find_earlier(env, s, ret, err);
    if (rc == ARP_E_NOT_FOUND) {
        rc = start_new(env, s, ret, err);
        if (rc == ARP_E_BUSY || rc == ARP_E_CONFLICT)
            rc = find_admitted_elsewhere(env, s, rc, ret, err);
    }
    live_admission_end(env->live, s->user_id, s->idempotency_key);
    return rc;
}
