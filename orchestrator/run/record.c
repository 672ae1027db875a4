/*
 * Documents of a finished run: see record.h.
 */
#include "orchestrator/run/record.h"

#include <stdio.h>
#include <string.h>

#include "orchestrator/run/request.h"
#include "shared/clock.h"
#include "shared/json.h"
#include "shared/limits.h"
#include "shared/model.h"

/* Where an agent keeps a run's evidence in its workspace (spec 2.2). */
#define EVIDENCE_PATH "/workspace/evidence/"

static void ktime(struct json *j, const char *key, int64_t us)
{
    char iso[CLOCK_ISO_LEN + 1];
    if (us == 0) {
        json_knull(j, key);
        return;
    }
    clock_iso(us, iso);
    json_kstr(j, key, iso);
}

/* The agent's env.json, or NULL when there is none that the database can hold (jsonb refuses \u0000, and so does this parser). */
static cJSON *parse_env(const struct evidence_facts *e)
{
    cJSON *env = NULL;
    if (e->env_json)
        json_parse(e->env_json, strlen(e->env_json), &env, NULL);
    return env;
}

bool record_has_engine(const struct run *run)
{
    return model_called_by(run->engine);
}

const char *record_engine(const struct record *r)
{
    bool chosen = strcmp(r->run->engine, ENGINE_AUTO) == 0 && r->facts->engine;
    return chosen ? r->facts->engine : r->run->engine;
}

/* The member of the agent's env.json, or NULL. */
static const cJSON *env_member(const cJSON *env, const char *object, const char *name)
{
    return cJSON_GetObjectItemCaseSensitive(cJSON_GetObjectItemCaseSensitive(env, object), name);
}

static void write_flag(struct json *j, const char *key, const cJSON *v)
{
    if (cJSON_IsBool(v))
        json_kbool(j, key, cJSON_IsTrue(v));
    else
        json_knull(j, key);
}

static void write_container(struct json *j, const struct runtime_workspace *rw)
{
    json_key(j, "container");
    if (!rw) {
        json_null(j);
        return;
    }
    json_obj_open(j);
    json_kstr(j, "id", rw->container_id);
    json_kstr(j, "name", rw->container_name);
    json_kbool(j, "coldStart", rw->created);
    json_kraw(j, "applied", rw->applied);
    json_obj_close(j);
}

static void write_problems(struct json *j, const struct evidence_facts *e)
{
    json_key(j, "problems");
    json_arr_open(j);
    size_t kept = e->problem_count < EVIDENCE_PROBLEMS_MAX ? e->problem_count : EVIDENCE_PROBLEMS_MAX;
    for (size_t i = 0; i < kept; i++)
        json_str(j, e->problems[i]);
    json_arr_close(j);
    json_kuint(j, "problemCount", e->problem_count);
}

/* What the agent found (env.json, checked by evidence/) and what was collected. */
static void write_evidence(struct json *j, const struct record *r)
{
    const struct evidence_facts *e = r->evidence;
    cleanup_cjson cJSON *env = parse_env(e);
    const cJSON *git_error = env_member(env, "git", "error");
    json_kstr(j, "gitCommit", r->facts->git_commit);
    write_flag(j, "dirty", env_member(env, "git", "dirty"));
    write_flag(j, "detached", env_member(env, "git", "detached"));
    json_kbool(j, "gitError", !r->facts->git_commit || cJSON_IsString(git_error));
    json_kstr(j, "gitErrorMessage", cJSON_GetStringValue(git_error));
    json_kraw(j, "agent", env ? e->env_json : NULL);
    char path[sizeof(EVIDENCE_PATH) + UUID_LEN];
    snprintf(path, sizeof(path), "%s%s", EVIDENCE_PATH, r->run->id);
    json_kstr(j, "evidencePath", path);
    json_kbool(j, "hasCommandLog", e->has_command_log);
    json_kbool(j, "hasProcessLog", e->has_process_log);
    json_kbool(j, "hasOutputsManifest", e->has_outputs_manifest);
    json_kbool(j, "hasDiff", e->has_diff);
    if (record_has_engine(r->run)) {
        json_kbool(j, "hasEngineLog", e->has_engine_log);
        json_kbool(j, "hasModelLog", e->has_model_log);
    }
    json_kbool(j, "volumeMatch", e->volume_match);
    json_kbool(j, "closed", r->facts->by_agent);
    json_kbool(j, "complete", e->complete && r->facts->by_agent);
    write_problems(j, e);
}

int record_env_snapshot(const struct record *r, struct buf *out, struct arp_err *err)
{
    char digest[SHA256_HEX_LEN + 1];
    struct json j;
    json_init(&j, out);
    json_obj_open(&j);
    json_kint(&j, "v", 1);
    json_kstr(&j, "runId", r->run->id);
    json_kstr(&j, "imageName", r->runtime ? r->runtime->image_name : NULL);
    json_kstr(&j, "imageDigest", r->runtime ? r->runtime->image_digest : NULL);
    json_kstr(&j, "imageDigestKind", r->runtime ? r->runtime->image_digest_kind : NULL);
    json_kraw(&j, "runtimeMetadata", r->runtime_metadata);
    write_container(&j, r->runtime);
    sha256_hex_of(r->run->run_context, strlen(r->run->run_context), digest);
    json_kstr(&j, "runContextSha256", digest);
    if (r->evidence)
        write_evidence(&j, r);
    json_obj_close(&j);
    return buf_error(out, err);
}

static void write_chain(struct json *j, const char *key, const struct chain *end)
{
    json_key(j, key);
    json_obj_open(j);
    json_kuint(j, "lines", end->next_seq);
    json_kstr(j, "head", end->prev);
    json_obj_close(j);
}

/* Facts of the agent's env.json that the signed statement repeats. */
static void write_agent(struct json *j, const struct evidence_facts *e)
{
    cleanup_cjson cJSON *env = parse_env(e);
    json_key(j, "agent");
    json_obj_open(j);
    json_kstr(j, "version", cJSON_GetStringValue(env_member(env, "agent", "version")));
    json_kstr(j, "sha256", cJSON_GetStringValue(env_member(env, "agent", "sha256")));
    json_kbool(j, "uidSeparation", cJSON_IsTrue(env_member(env, "sandbox", "uidSeparation")));
    json_obj_close(j);
}

/* A digest of the agent's env.json, with or without "sha256:". What is none is not taken over. */
static void write_digest(struct json *j, const char *key, const cJSON *env, const char *name)
{
    json_kstr(j, key, sha256_hex_in(cJSON_GetStringValue(env_member(env, "engine", name))));
}

/* What only an engine's run has. */
static void write_engine(struct json *j, const struct record *r)
{
    const struct evidence_facts *e = r->evidence;
    cleanup_cjson cJSON *env = parse_env(e);
    if (!record_has_engine(r->run))
        return;
    write_chain(j, "modelLog", &e->model_log);
    json_key(j, "engineProgram");
    json_obj_open(j);
    json_kstr(j, "version", cJSON_GetStringValue(env_member(env, "engine", "version")));
    write_digest(j, "sha256", env, "sha256");
    write_digest(j, "promptSha256", env, "promptSha256");
    write_digest(j, "toolsSha256", env, "toolsSha256");
    json_obj_close(j);
    json_kbool(j, "hasEngineLog", e->has_engine_log);
    json_kbool(j, "hasModelLog", e->has_model_log);
    json_kuint(j, "modelCalls", e->model_log.next_seq);
    json_key(j, "reconciliation");
    reconcile_counts_put(j, &r->reconciliation);
}

int record_metadata(const struct record *r, struct buf *out, struct arp_err *err)
{
    const struct run *run = r->run;
    struct json j;
    json_init(&j, out);
    json_obj_open(&j);
    json_kint(&j, "v", 1);
    json_kstr(&j, "runId", run->id);
    json_kstr(&j, "userId", run->user_id);
    json_kstr(&j, "projectId", run->project_id);
    json_kstr(&j, "projectName", r->project_name);
    json_kstr(&j, "workspaceId", run->workspace_id);
    json_kstr(&j, "status", run_status_name(r->facts->status));
    json_kstr(&j, "errorMessage", r->facts->error_message);
    json_kstr(&j, "reason", r->facts->reason);
    json_kstr(&j, "engine", record_engine(r));
    json_kstr(&j, "prompt", run->prompt);
    json_kbool(&j, "streaming", run->streaming);
    json_kraw(&j, "runContext", run->run_context);
    json_kraw(&j, "container_context", r->facts->container_context);
    json_kstr(&j, "imageName", r->runtime ? r->runtime->image_name : NULL);
    json_kstr(&j, "imageDigest", r->runtime ? r->runtime->image_digest : NULL);
    json_kstr(&j, "gitCommit", r->facts->git_commit);
    json_kstr(&j, "treeBefore", r->facts->tree_before);
    json_kstr(&j, "treeAfter", r->facts->tree_after);
    ktime(&j, "createdAt", run->created_us);
    ktime(&j, "startedAt", run->started_us);
    ktime(&j, "finishedAt", r->finished_us);
    write_chain(&j, "events", r->events);
    write_chain(&j, "commandLog", &r->evidence->command_log);
    write_chain(&j, "processes", &r->evidence->processes);
    write_engine(&j, r);
    json_kbool(&j, "closed", r->facts->by_agent);
    json_kbool(&j, "complete", r->evidence->complete && r->facts->by_agent);
    json_kbool(&j, "volumeMatch", r->evidence->volume_match);
    write_problems(&j, r->evidence);
    write_agent(&j, r->evidence);
    json_key(&j, "orchestrator");
    json_obj_open(&j);
    json_kstr(&j, "version", ARP_VERSION);
    json_obj_close(&j);
    json_obj_close(&j);
    return buf_error(out, err);
}

static int read_time(const cJSON *root, const char *name, int64_t *ret, struct arp_err *err)
{
    const char *s = json_get_str(root, name);
    return s ? clock_parse_iso(s, ret, err) : 0;
}

static bool read_chain(const cJSON *root, const char *name, struct bundle_chain *ret)
{
    const cJSON *c = cJSON_GetObjectItemCaseSensitive(root, name);
    const char *head = json_get_str(c, "head");
    int64_t lines = json_get_int(c, "lines", -1);
    if (!head || !sha256_hex_ok(head) || lines < 0)
        return false;
    ret->lines = (uint64_t)lines;
    memcpy(ret->head, head, sizeof(ret->head));
    return true;
}

int record_read(
    const char *text, size_t len, struct record_doc *doc, struct bundle_input *in, struct arp_err *err)
{
    int rc = json_parse_line(text, len, &doc->root, err);
    if (rc)
        return arp_wrap(err, "metadata.json");
    const cJSON *root = doc->root;
    const cJSON *agent = cJSON_GetObjectItemCaseSensitive(root, "agent");
    const cJSON *context = cJSON_GetObjectItemCaseSensitive(root, "runContext");
    const cJSON *container = cJSON_GetObjectItemCaseSensitive(context, "container");
    const cJSON *limits = cJSON_GetObjectItemCaseSensitive(container, "limits");
    const cJSON *told = cJSON_GetObjectItemCaseSensitive(root, "container_context");
    const cJSON *program = cJSON_GetObjectItemCaseSensitive(root, "engineProgram");
    if (cJSON_IsObject(told) && !(doc->container_context = cJSON_PrintUnformatted(told)))
        return arp_fail(err, ARP_E_NOMEM, 0, "metadata.json");
    *in = (struct bundle_input){
        .run_id = json_get_str(root, "runId"),
        .user_id = json_get_str(root, "userId"),
        .project_id = json_get_str(root, "projectId"),
        .workspace_id = json_get_str(root, "workspaceId"),
        .prompt = json_get_str(root, "prompt"),
        .engine = json_get_str(root, "engine"),
        .program = {.version = json_get_str(program, "version"),
            .sha256 = json_get_str(program, "sha256"),
            .prompt_sha256 = json_get_str(program, "promptSha256"),
            .tools_sha256 = json_get_str(program, "toolsSha256")},
        .agent_key = json_get_str(container, "agentKey"),
        .container_context = doc->container_context,
        .image_name = json_get_str(root, "imageName"),
        .image_digest = json_get_str(root, "imageDigest"),
        .git_commit = json_get_str(root, "gitCommit"),
        .tree_before = json_get_str(root, "treeBefore"),
        .tree_after = json_get_str(root, "treeAfter"),
        .orchestrator_version =
            json_get_str(cJSON_GetObjectItemCaseSensitive(root, "orchestrator"), "version"),
        .agent_version = json_get_str(agent, "version"),
        .nano_cpus = json_get_int(limits, "nanoCpus", 0),
        .memory_bytes = json_get_int(limits, "memoryBytes", 0),
        .pids = json_get_int(limits, "pids", 0),
        .closed = json_get_bool(root, "closed", false),
        .complete = json_get_bool(root, "complete", false),
        .volume_match = json_get_bool(root, "volumeMatch", false),
        .uid_separation = json_get_bool(agent, "uidSeparation", false),
    };
    rc = read_time(root, "startedAt", &in->started_us, err);
    if (rc == 0)
        rc = read_time(root, "finishedAt", &in->finished_us, err);
    if (rc)
        return rc;
    if (!in->run_id || !in->user_id || !in->project_id || !in->workspace_id || !in->engine ||
        !read_chain(root, "events", &in->events) || !read_chain(root, "commandLog", &in->command_log) ||
        !read_chain(root, "processes", &in->processes) ||
        (bundle_has_engine(in) && !read_chain(root, "modelLog", &in->model_log)))
        return arp_fail(err, ARP_E_CORRUPT, 0, "metadata.json lacks a member");
    return 0;
}

void record_doc_done(struct record_doc *doc)
{
    cJSON_Delete(doc->root);
    cJSON_free(doc->container_context);
    *doc = (struct record_doc){0};
}
