/*
 * The run context: see context.h.
 */
#include "orchestrator/run/context.h"

#include <string.h>

#include "shared/json.h"

static void write_workflow(struct json *j, const struct run_step *step)
{
    json_key(j, "workflow");
    json_obj_open(j);
    json_kstr(j, "runId", step->workflow_run_id);
    json_kstr(j, "key", step->workflow_key);
    json_kint(j, "version", step->version);
    json_kint(j, "step", step->index);
    json_kstr(j, "stepKey", step->key);
    json_obj_close(j);
}

int run_context_write(const struct run_request *request, const struct run_step *step,
    const struct run_choice *choice, const struct run_work *work, struct buf *out, struct arp_err *err)
{
    struct json j;
    json_init(&j, out);
    buf_append(out, request->context.data, request->context.len);
    j.need_comma = true;
    run_choice_write_members(choice, &j);
    run_work_write(work, request, &j);
    if (step)
        write_workflow(&j, step);
    json_obj_close(&j);
    return buf_error(out, err);
}

bool run_context_is_of(const char *run_context, const struct run_request *request)
{
    /* Canonical bytes: one request, one beginning; the agent's key follows. */
    static const char next[] = ",\"agent\":{";
    size_t n = request->context.len;
    return strncmp(run_context, buf_str(&request->context), n) == 0 &&
           strncmp(run_context + n, next, sizeof(next) - 1) == 0;
}

int run_context_choice(const char *run_context, struct run_choice *ret, struct arp_err *err)
{
    cleanup_cjson cJSON *root = NULL;
    if (json_parse(run_context, strlen(run_context), &root, err))
        return arp_fail(err, ARP_E_CORRUPT, 0, "the run context is not JSON");
    return run_choice_read(root, ret, err);
}

int run_container_context(
    const struct run_choice *choice, const struct runtime_workspace *rw, struct buf *out, struct arp_err *err)
{
    bool own = choice->source == CONTAINER_AUTO;
    struct json j;
    json_init(&j, out);
    json_obj_open(&j);
    json_kstr(&j, "agent_key", choice->agent.key);
    json_kstr(&j, "source", container_source_name(choice->source));
    json_kstr(&j, "container_id", own ? rw->container_id : choice->environment.id);
    json_kstr(&j, "name", own ? rw->container_name : choice->container_name);
    json_kstr(&j, "engine_container_id", rw->container_id);
    json_kstr(&j, "image_name", rw->image_name);
    json_kstr(&j, "image_digest", rw->image_digest);
    json_obj_close(&j);
    return buf_error(out, err);
}
