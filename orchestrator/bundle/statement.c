/*
 * In-toto statement of a run: see statement.h.
 */
#include "orchestrator/bundle/statement.h"

#include <stdio.h>
#include <string.h>

#include "shared/clock.h"
#include "shared/json.h"

static void subjects(struct json *j, const struct bundle_input *in, const struct entries *e)
{
    json_key(j, "subject");
    json_arr_open(j);
    intoto_subject(j, in->run_id, e, "tagmanifest-sha256.txt");
    intoto_subject(j, in->run_id, e, "diff.patch");
    if (in->tree_after) {
        json_obj_open(j);
        json_kstr(j, "name", "workspace-tree");
        intoto_digest(j, "gitTree", in->tree_after);
        json_obj_close(j);
    }
    json_arr_close(j);
}

static void parameters(struct json *j, const struct bundle_input *in)
{
    json_key(j, "externalParameters");
    json_obj_open(j);
    json_kstr(j, "projectId", in->project_id);
    json_kstr(j, "engine", in->engine);
    json_kstr(j, "agent", in->agent_key);
    json_key(j, "prompt");
    if (in->prompt) {
        char hex[SHA256_HEX_LEN + 1];
        sha256_hex_of(in->prompt, strlen(in->prompt), hex);
        json_obj_open(j);
        intoto_digest(j, "sha256", hex);
        json_obj_close(j);
    } else {
        json_null(j);
    }
    json_obj_close(j);
    json_key(j, "internalParameters");
    json_obj_open(j);
    json_kstr(j, "userId", in->user_id);
    json_kstr(j, "workspaceId", in->workspace_id);
    json_kraw(j, "container_context", in->container_context);
    json_key(j, "limits");
    json_obj_open(j);
    json_kint(j, "nanoCpus", in->nano_cpus);
    json_kint(j, "memoryBytes", in->memory_bytes);
    json_kint(j, "pids", in->pids);
    json_obj_close(j);
    json_obj_close(j);
}

/* urn:arp:engine:<engine>:<part>, when its digest is known. */
static void engine_dependency(struct json *j, const char *part, const char *engine, const char *hex)
{
    char uri[128];
    if (!hex)
        return;
    snprintf(uri, sizeof(uri), "urn:arp:engine:%.64s:%s", engine, part);
    json_obj_open(j);
    json_kstr(j, "uri", uri);
    intoto_digest(j, "sha256", hex);
    json_obj_close(j);
}

static void dependencies(struct json *j, const struct bundle_input *in)
{
    json_key(j, "resolvedDependencies");
    json_arr_open(j);
    if (in->image_name && in->image_digest && strncmp(in->image_digest, "sha256:", 7) == 0) {
        char uri[512];
        snprintf(uri, sizeof(uri), "docker://%.480s", in->image_name);
        json_obj_open(j);
        json_kstr(j, "uri", uri);
        intoto_digest(j, "sha256", in->image_digest + 7);
        json_obj_close(j);
    }
    if (in->git_commit) {
        json_obj_open(j);
        json_kstr(j, "uri", "git+file:///workspace/repo");
        json_key(j, "digest");
        json_obj_open(j);
        json_kstr(j, "gitCommit", in->git_commit);
        if (in->tree_before)
            json_kstr(j, "gitTree", in->tree_before);
        json_obj_close(j);
        json_obj_close(j);
    }
    engine_dependency(j, "program", in->engine, in->program.sha256);
    engine_dependency(j, "prompt", in->engine, in->program.prompt_sha256);
    engine_dependency(j, "tools", in->engine, in->program.tools_sha256);
    json_arr_close(j);
}

static void run_metadata(struct json *j, const struct bundle_input *in)
{
    char started[CLOCK_ISO_LEN + 1], finished[CLOCK_ISO_LEN + 1];
    clock_iso(in->started_us, started);
    clock_iso(in->finished_us, finished);
    json_key(j, "metadata");
    json_obj_open(j);
    json_kstr(j, "invocationId", in->run_id);
    json_kstr(j, "startedOn", started);
    json_kstr(j, "finishedOn", finished);
    json_key(j, "arp_evidence");
    json_obj_open(j);
    json_kbool(j, "closed", in->closed);
    json_kbool(j, "complete", in->complete);
    json_kbool(j, "volumeMatch", in->volume_match);
    json_kbool(j, "uidSeparation", in->uid_separation);
    json_obj_close(j);
    json_obj_close(j);
}

static void run_details(struct json *j, const struct bundle_input *in, const struct entries *e)
{
    json_key(j, "runDetails");
    json_obj_open(j);
    json_key(j, "builder");
    json_obj_open(j);
    /* SLSA: another set of security properties is another builder. */
    json_kstr(j, "id",
        in->uid_separation ? "urn:arp:orchestrator:docker-seccomp-uidsep:v1"
                           : "urn:arp:orchestrator:docker-seccomp:v1");
    json_key(j, "version");
    json_obj_open(j);
    json_kstr(j, "arp-orchestrator", in->orchestrator_version);
    if (in->agent_version)
        json_kstr(j, "arp-agent", in->agent_version);
    json_obj_close(j);
    json_obj_close(j);
    run_metadata(j, in);
    json_key(j, "byproducts");
    json_arr_open(j);
    intoto_byproduct(j, e, "events.jsonl", &in->events);
    intoto_byproduct(j, e, "command_log.jsonl", &in->command_log);
    intoto_byproduct(j, e, "processes.jsonl", &in->processes);
    intoto_byproduct(j, e, "outputs.json", NULL);
    intoto_byproduct(j, e, "env_snapshot.json", NULL);
    intoto_byproduct(j, e, "metadata.json", NULL);
    if (bundle_has_engine(in)) {
        intoto_byproduct(j, e, "engine.jsonl", NULL);
        intoto_byproduct(j, e, "model_log.jsonl", &in->model_log);
        intoto_byproduct(j, e, "reconciliation.json", NULL);
    }
    json_arr_close(j);
    json_obj_close(j);
}

int statement_write(
    const struct bundle_input *in, const struct entries *e, struct buf *out, struct arp_err *err)
{
    struct json j;
    json_init(&j, out);
    json_obj_open(&j);
    json_kstr(&j, "_type", INTOTO_STATEMENT);
    subjects(&j, in, e);
    json_kstr(&j, "predicateType", INTOTO_PREDICATE);
    json_key(&j, "predicate");
    json_obj_open(&j);
    json_key(&j, "buildDefinition");
    json_obj_open(&j);
    json_kstr(&j, "buildType", "urn:arp:agent-run:v1");
    parameters(&j, in);
    dependencies(&j, in);
    json_obj_close(&j);
    run_details(&j, in, e);
    json_obj_close(&j);
    json_obj_close(&j);
    return buf_error(out, err);
}
