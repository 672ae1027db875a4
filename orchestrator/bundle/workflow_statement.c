/*
 * In-toto statement of a workflow run: see workflow_statement.h.
 */
#include "orchestrator/bundle/workflow_statement.h"

#include <stdio.h>

#include "shared/clock.h"
#include "shared/json.h"

static void subjects(struct json *j, const struct workflow_run *run, const struct entries *e)
{
    json_key(j, "subject");
    json_arr_open(j);
    intoto_subject(j, run->id, e, "tagmanifest-sha256.txt");
    for (size_t i = 0; i < run->step_count; i++) {
        const struct workflow_step *s = &run->steps[i];
        char name[UUID_LEN + 8];
        if (!workflow_bundle_step_sealed(s))
            continue;
        snprintf(name, sizeof(name), "%s.zip", s->run_id);
        intoto_named(j, name, s->bundle_sha256);
    }
    json_arr_close(j);
}

static void digest_of(struct json *j, const char *key, const char *hex)
{
    json_key(j, key);
    json_obj_open(j);
    intoto_digest(j, "sha256", hex);
    json_obj_close(j);
}

static void parameters(
    struct json *j, const struct workflow_run *run, const struct workflow_bundle_facts *facts)
{
    json_key(j, "externalParameters");
    json_obj_open(j);
    json_kstr(j, "projectId", run->project_id);
    json_key(j, "workflow");
    json_obj_open(j);
    json_kstr(j, "key", run->workflow_key);
    json_kint(j, "version", run->workflow_version);
    intoto_digest(j, "sha256", facts->spec_sha256);
    json_obj_close(j);
    digest_of(j, "input", facts->input_sha256);
    json_obj_close(j);
    json_key(j, "internalParameters");
    json_obj_open(j);
    json_kstr(j, "userId", run->user_id);
    json_kstr(j, "workspaceId", run->workspace_id);
    digest_of(j, "context", facts->context_sha256);
    json_obj_close(j);
}

static void run_metadata(
    struct json *j, const struct workflow_run *run, const struct workflow_bundle_facts *facts)
{
    char iso[CLOCK_ISO_LEN + 1];
    json_key(j, "metadata");
    json_obj_open(j);
    json_kstr(j, "invocationId", run->id);
    if (run->started_us) {
        clock_iso(run->started_us, iso);
        json_kstr(j, "startedOn", iso);
    }
    clock_iso(run->finished_us, iso);
    json_kstr(j, "finishedOn", iso);
    json_key(j, "arp_evidence");
    json_obj_open(j);
    json_kbool(j, "complete", facts->complete);
    json_obj_close(j);
    json_obj_close(j);
}

static void run_details(struct json *j, const struct workflow_run *run,
    const struct workflow_bundle_facts *facts, const struct entries *e)
{
    json_key(j, "runDetails");
    json_obj_open(j);
    json_key(j, "builder");
    json_obj_open(j);
    /* No version: several processes may have driven the run, and the rows don't say which. The steps' statements do. */
    json_kstr(j, "id", "urn:arp:orchestrator:workflow:v1");
    json_obj_close(j);
    run_metadata(j, run, facts);
    json_key(j, "byproducts");
    json_arr_open(j);
    intoto_byproduct(j, e, "workflow.json", NULL);
    intoto_byproduct(j, e, "workflow.jsonl", &facts->chain);
    intoto_byproduct(j, e, "data/bundles-sha256.txt", NULL);
    json_arr_close(j);
    json_obj_close(j);
}

int workflow_statement_write(const struct workflow_run *run, const struct workflow_bundle_facts *facts,
    const struct entries *e, struct buf *out, struct arp_err *err)
{
    struct json j;
    json_init(&j, out);
    json_obj_open(&j);
    json_kstr(&j, "_type", INTOTO_STATEMENT);
    subjects(&j, run, e);
    json_kstr(&j, "predicateType", INTOTO_PREDICATE);
    json_key(&j, "predicate");
    json_obj_open(&j);
    json_key(&j, "buildDefinition");
    json_obj_open(&j);
    json_kstr(&j, "buildType", "urn:arp:workflow-run:v1");
    parameters(&j, run, facts);
    json_obj_close(&j);
    run_details(&j, run, facts, e);
    json_obj_close(&j);
    json_obj_close(&j);
    return buf_error(out, err);
}
