/*
 * Lines of a workflow run's log: see line.h.
 */
#include "orchestrator/workflow/line.h"

#include <string.h>

#include "shared/event.h"

/* Plain hex of a text's bytes. */
static void write_digest(struct json *j, const char *key, const char *text)
{
    char hex[SHA256_HEX_LEN + 1];
    sha256_hex_of(text, strlen(text), hex);
    json_kstr(j, key, hex);
}

void workflow_line_started(const struct workflow_run_new *n, const char *workspace_id, const char *spec,
    struct chain *c, struct buf *out)
{
    struct json j;
    event_open(&j, out, EVENT_WORKFLOW_STARTED, n->id);
    json_kstr(&j, "workflowKey", n->workflow_key);
    json_kint(&j, "workflowVersion", n->workflow_version);
    write_digest(&j, "specSha256", spec);
    write_digest(&j, "contextSha256", n->context);
    write_digest(&j, "inputSha256", n->input);
    json_kstr(&j, "userId", n->user_id);
    json_kstr(&j, "projectId", n->project_id);
    json_kstr(&j, "workspaceId", workspace_id);
    json_key(&j, "steps");
    json_arr_open(&j);
    for (size_t i = 0; i < n->step_count; i++) {
        json_obj_open(&j);
        json_kstr(&j, "key", n->step_keys[i]);
        json_kstr(&j, "agentKey", n->step_agents[i]);
        json_obj_close(&j);
    }
    json_arr_close(&j);
    event_close(&j, 0, c);
}

void workflow_line_step_started(
    const char *id, const struct workflow_step *step, const char *run_id, struct chain *c, struct buf *out)
{
    struct json j;
    event_open(&j, out, EVENT_WORKFLOW_STEP_STARTED, id);
    json_kint(&j, "step", step->step);
    json_kstr(&j, "key", step->key);
    json_kstr(&j, "agentKey", step->agent_key);
    json_kstr(&j, "runId", run_id);
    event_close(&j, 0, c);
}

void workflow_line_step_finished(const char *id, const struct workflow_step *step, const struct step_end *e,
    const struct workflow_step_run *run, struct chain *c, struct buf *out)
{
    struct json j;
    event_open(&j, out, EVENT_WORKFLOW_STEP_FINISHED, id);
    json_kint(&j, "step", step->step);
    json_kstr(&j, "key", step->key);
    json_kstr(&j, "status", step_status_name(e->status));
    json_kstr(&j, "runId", run->run_id);
    json_kstr(&j, "errorMessage", e->error_message);
    json_kstr(&j, "reason", e->reason);
    json_kstr(&j, "eventsHead", run->events_head);
    json_kraw(&j, "container_context", run->container_context);
    event_close(&j, 0, c);
}

void workflow_line_completed(
    const char *id, const struct workflow_run_end *e, struct chain *c, struct buf *out)
{
    struct json j;
    event_open(&j, out, EVENT_WORKFLOW_COMPLETED, id);
    json_kstr(&j, "status", run_status_name(e->status));
    json_kstr(&j, "errorMessage", e->error_message);
    json_kstr(&j, "reason", e->reason);
    event_close(&j, 0, c);
}
