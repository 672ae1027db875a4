/*
 * The record of a workflow run: statement, workflow.json and workflow.jsonl must tell the same story of the same steps. See checks.h and
 * docs/formats/workflow_bundle.md. The steps' bundles: workflow_bundles.c.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/checks.h"
#include "shared/clock.h"
#include "shared/limits.h"
#include "shared/uuid.h"

#define DOCUMENT "workflow.json"
#define LOG      "workflow.jsonl"

/* Null and not there are the same. */
static bool equal(const cJSON *a, const cJSON *b)
{
    bool no_a = !a || cJSON_IsNull(a), no_b = !b || cJSON_IsNull(b);
    return no_a || no_b ? no_a == no_b : cJSON_Compare(a, b, true);
}

static bool text_is(const cJSON *obj, const char *path, const char *want)
{
    const char *got = json_str_at(obj, path);
    return got && strcmp(got, want) == 0;
}

static bool one_of(const char *text, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (text && strcmp(text, names[i]) == 0)
            return true;
    return false;
}

/* --- statement ------------------------------------------------------------------------------------------------------------------- */

void step_workflow_statement(struct verification *v, struct check *c)
{
    static const char *const names[] = {DOCUMENT, LOG, "data/bundles-sha256.txt"};
    if (!v->statement) {
        check_unable(c, "there is no readable statement");
        return;
    }
    statement_kind(v, "urn:arp:workflow-run:v1", "a workflow run", c);
    const cJSON *first = cJSON_GetArrayItem(json_at(v->statement, "subject"), 0);
    const char *name = json_str_at(first, "name");
    if (!name || strlen(name) <= UUID_LEN || strcmp(name + UUID_LEN, "/tagmanifest-sha256.txt") != 0 ||
        !statement_subject_is_file(v, first, c))
        check_fail(c, "the statement does not speak of the tagmanifest-sha256.txt of this bundle");
    statement_byproducts(v, names, sizeof(names) / sizeof(names[0]), c);
    const cJSON *complete = json_at(v->statement, "predicate/runDetails/metadata/arp_evidence/complete");
    if (!cJSON_IsBool(complete))
        check_fail(c, "the statement does not say whether the bundles of all steps were sealed");
    v->complete = cJSON_IsTrue(complete);
    v->closed = v->volume_match = true; /* flags of a run's record; this one has no agent and no volume */
    check_pass(c, "its subjects are this bundle, of workflow run %s, and its steps' bundles", v->zip.run_id);
}

void step_workflow_chain(struct verification *v, struct check *c)
{
    log_walk(v, &v->workflow_log, LOG, "workflowRunId", c);
    v->workflow_lines = log_split(v, &v->workflow_log, LOG, &v->workflow_line_count);
}

/* --- workflow.json --------------------------------------------------------------------------------------------------------------- */

/* What the document and the statement both say. */
static const char *const signed_paths[][2] = {
    {"userId", "predicate/buildDefinition/internalParameters/userId"},
    {"workspaceId", "predicate/buildDefinition/internalParameters/workspaceId"},
    {"contextSha256", "predicate/buildDefinition/internalParameters/context/digest/sha256"},
    {"projectId", "predicate/buildDefinition/externalParameters/projectId"},
    {"workflowKey", "predicate/buildDefinition/externalParameters/workflow/key"},
    {"workflowVersion", "predicate/buildDefinition/externalParameters/workflow/version"},
    {"specSha256", "predicate/buildDefinition/externalParameters/workflow/digest/sha256"},
    {"inputSha256", "predicate/buildDefinition/externalParameters/input/digest/sha256"},
    {"startedAt", "predicate/runDetails/metadata/startedOn"},
    {"finishedAt", "predicate/runDetails/metadata/finishedOn"},
    {"complete", "predicate/runDetails/metadata/arp_evidence/complete"},
};

/* Definition, context and input are hashed as they were stored; the first two stand in the document byte for byte. */
static void digests_check(const struct verification *v, struct check *c)
{
    const struct packed_file *f = packed_find(&v->zip, DOCUMENT);
    const char *spec = json_str_at(v->document, "specSha256"),
               *context = json_str_at(v->document, "contextSha256"),
               *input = json_str_at(v->document, "input"),
               *input_digest = json_str_at(v->document, "inputSha256");
    char begin[128], end[128], hex[SHA256_HEX_LEN + 1];
    snprintf(begin, sizeof(begin), "\"specSha256\":\"%.64s\",\"context\":", spec ? spec : "");
    if (!spec || !between_digest(f, "\"definition\":", ",\"specSha256\":\"", hex) || strcmp(hex, spec) != 0)
        check_fail(c, "definition is not the one that specSha256 is the digest of");
    /* The context holds names that tenants choose: the end is where its digest stands. */
    snprintf(end, sizeof(end), ",\"contextSha256\":\"%.64s\"", context ? context : "");
    if (!context || !between_digest(f, begin, end, hex) || strcmp(hex, context) != 0)
        check_fail(c, "context is not the one that contextSha256 is the digest of");
    sha256_hex_of(input ? input : "", input ? strlen(input) : 0, hex);
    if (!input || !input_digest || strcmp(hex, input_digest) != 0)
        check_fail(c, "input is not the one that inputSha256 is the digest of");
}

/* The container of a step: what its agent was resolved to at the start, and what the run's metadata tells of the step. */
static void step_context_check(const struct verification *v, const cJSON *step, struct check *c)
{
    const char *key = json_str_at(step, "key"), *agent = json_str_at(step, "agentKey");
    const cJSON *context = json_at(step, "container_context");
    const cJSON *told =
        cJSON_GetObjectItemCaseSensitive(json_at(v->document, "metadata/container_context"), key);
    if (!equal(context, told))
        check_fail(c, "step %s: container_context is not the one in metadata", key);
    if (!cJSON_IsObject(context))
        return;
    const cJSON *choice = cJSON_GetObjectItemCaseSensitive(json_at(v->document, "context/agents"), agent);
    bool own = text_is(context, "source", "auto");
    if (!equal(json_at(context, "agent_key"), json_at(step, "agentKey")))
        check_fail(c, "step %s: agent_key of container_context is not the step's agent", key);
    if (!equal(json_at(context, "source"), json_at(choice, "container/source")) ||
        !equal(json_at(context, "image_name"), json_at(choice, "container/imageName")) ||
        (!own && (!equal(json_at(context, "container_id"), json_at(choice, "container/id")) ||
                     !equal(json_at(context, "name"), json_at(choice, "container/name")))))
        check_fail(c, "step %s: container_context is not what agent %s was resolved to", key, agent);
}

/* One step as it stands in the document; definition: the same step of it. */
static void step_check(
    const struct verification *v, const cJSON *step, const cJSON *definition, int index, struct check *c)
{
    static const char *const final[] = {"succeeded", "failed", "timeout", "skipped"};
    const cJSON *at = json_at(step, "step"), *run = json_at(step, "runId"), *bundle = json_at(step, "bundle");
    const char *key = json_str_at(step, "key"), *status = json_str_at(step, "status");
    if (!key || !json_str_at(step, "agentKey") || !cJSON_IsNumber(at) || at->valuedouble != index) {
        check_fail(c, "step %d has no key or no agent, or is out of place", index);
        return;
    }
    if (!equal(json_at(step, "key"), json_at(definition, "key")) ||
        !equal(json_at(step, "agentKey"), json_at(definition, "agent")))
        check_fail(c, "step %s is not step %d of the definition", key, index);
    if (!one_of(status, final, sizeof(final) / sizeof(final[0])))
        check_fail(c, "step %s has not ended", key);
    bool ran = cJSON_IsString(run) && uuid_ok(run->valuestring);
    if (!ran &&
        (!cJSON_IsNull(run) || !cJSON_IsNull(bundle) || !cJSON_IsNull(json_at(step, "container_context"))))
        check_fail(c, "step %s has no run, but a bundle or a container", key);
    if (ran && (!cJSON_IsObject(bundle) || !one_of(json_str_at(step, "runStatus"), final, 3)))
        check_fail(c, "step %s has a run that has not ended, or no bundle", key);
    if (ran && text_is(step, "status", "skipped"))
        check_fail(c, "step %s was skipped, but has a run", key);
    if (!ran && (text_is(step, "status", "succeeded") || text_is(step, "status", "timeout")))
        check_fail(c, "step %s has a result, but no run", key);
    step_context_check(v, step, c);
}

static void steps_check(const struct verification *v, struct check *c)
{
    const cJSON *steps = json_at(v->document, "steps"),
                *definition = json_at(v->document, "definition/steps");
    const cJSON *told = json_at(v->document, "metadata/container_context"), *item;
    int n = cJSON_GetArraySize(steps), contexts = 0;
    if (n != cJSON_GetArraySize(definition)) {
        check_fail(c, "the steps are not those of the definition");
        return;
    }
    for (int i = 0; i < n; i++) {
        const cJSON *step = cJSON_GetArrayItem(steps, i);
        step_check(v, step, cJSON_GetArrayItem(definition, i), i, c);
        contexts += cJSON_IsObject(json_at(step, "container_context"));
        for (int other = 0; other < i; other++) {
            const cJSON *before = cJSON_GetArrayItem(steps, other);
            if (cJSON_IsString(json_at(step, "runId")) &&
                equal(json_at(step, "runId"), json_at(before, "runId")))
                check_fail(c, "steps %d and %d have the same run", other, i);
        }
    }
    cJSON_ArrayForEach(item, told)
    {
        contexts--;
    }
    if (contexts != 0)
        check_fail(c, "metadata tells of other containers than the steps");
}

/* An object of version 1 with the number of steps that a workflow can have: the later checks rely on it. */
static bool document_parse(struct verification *v)
{
    const struct packed_file *f = packed_find(&v->zip, DOCUMENT);
    if (f->size < 2 || f->data[f->size - 1] != '\n' || json_parse(f->data, f->size - 1, &v->document, NULL))
        return false;
    const cJSON *version = json_at(v->document, "v"), *steps = json_at(v->document, "steps");
    int n = cJSON_GetArraySize(steps);
    return cJSON_IsNumber(version) && version->valuedouble == 1 && cJSON_IsArray(steps) && n >= 1 &&
           n <= LIMIT_WORKFLOW_STEPS;
}

void step_workflow(struct verification *v, struct check *c)
{
    static const char *const final[] = {"succeeded", "failed", "timeout"};
    if (!v->statement) {
        check_unable(c, "there is no readable statement to compare with");
        return;
    }
    if (!document_parse(v)) {
        check_fail(c, DOCUMENT " is not a JSON object of version 1 with 1 to %d steps", LIMIT_WORKFLOW_STEPS);
        cJSON_Delete(v->document);
        v->document = NULL;
        return;
    }
    if (!text_is(v->document, "workflowRunId", v->zip.run_id))
        check_fail(c, DOCUMENT " belongs to another workflow run");
    for (size_t i = 0; i < sizeof(signed_paths) / sizeof(signed_paths[0]); i++)
        if (!equal(json_at(v->document, signed_paths[i][0]), json_at(v->statement, signed_paths[i][1])))
            check_fail(c, "%s of " DOCUMENT " is not what the statement says", signed_paths[i][0]);
    if (!one_of(json_str_at(v->document, "status"), final, sizeof(final) / sizeof(final[0])))
        check_fail(c, DOCUMENT " has no final status");
    digests_check(v, c);
    steps_check(v, c);
    check_pass(c,
        "status %s, %d steps: definition, context, input, owner and containers agree with the statement",
        json_str_at(v->document, "status"), cJSON_GetArraySize(json_at(v->document, "steps")));
}

/* --- workflow.jsonl -------------------------------------------------------------------------------------------------------------- */

/* Which lines of each step came by, bit per step. */
struct seen {
    uint64_t started, finished;
};

/* The members of the line must be those of obj. */
static void members_check(const cJSON *line, size_t n, const cJSON *obj, const char *const *names,
    size_t count, const char *what, struct check *c)
{
    for (size_t i = 0; i < count; i++)
        if (!equal(json_at(line, names[i]), json_at(obj, names[i])))
            check_fail(c, "line %zu: %s is not that of %s in " DOCUMENT, n, names[i], what);
}

static void started_line(const struct verification *v, const cJSON *line, struct check *c)
{
    static const char *const names[] = {"workflowKey", "workflowVersion", "specSha256", "contextSha256",
        "inputSha256", "userId", "projectId", "workspaceId"};
    const cJSON *steps = json_at(v->document, "steps"), *told = json_at(line, "steps");
    members_check(line, 0, v->document, names, sizeof(names) / sizeof(names[0]), "the run", c);
    if (cJSON_GetArraySize(told) != cJSON_GetArraySize(steps)) {
        check_fail(c, "line 0: another number of steps than in " DOCUMENT);
        return;
    }
    for (int i = 0; i < cJSON_GetArraySize(told); i++) {
        const cJSON *a = cJSON_GetArrayItem(told, i), *b = cJSON_GetArrayItem(steps, i);
        if (!equal(json_at(a, "key"), json_at(b, "key")) ||
            !equal(json_at(a, "agentKey"), json_at(b, "agentKey")))
            check_fail(c, "line 0: step %d is another than in " DOCUMENT, i);
    }
}

static void step_line(
    const struct verification *v, struct seen *s, const cJSON *line, size_t n, bool finished, struct check *c)
{
    static const char *const start_names[] = {"key", "agentKey", "runId"};
    static const char *const end_names[] = {
        "key", "status", "errorMessage", "reason", "runId", "container_context"};
    const cJSON *steps = json_at(v->document, "steps"), *at = json_at(line, "step");
    double place = cJSON_IsNumber(at) ? at->valuedouble : -1;
    if (place < 0 || place >= cJSON_GetArraySize(steps) || place != (double)(int)place) {
        check_fail(c, "line %zu is of a step that does not exist", n);
        return;
    }
    const cJSON *step = cJSON_GetArrayItem(steps, (int)place);
    const char *key = json_str_at(step, "key");
    uint64_t bit = 1ull << (int)place;
    bool ran = !cJSON_IsNull(json_at(step, "runId"));
    if ((s->finished & bit) || (!finished && (s->started & bit)))
        check_fail(c, "line %zu: step %s starts or ends twice", n, key);
    if (finished) {
        members_check(line, n, step, end_names, sizeof(end_names) / sizeof(end_names[0]), key, c);
        if (ran && !(s->started & bit))
            check_fail(c, "line %zu: step %s ends and never started", n, key);
    } else {
        /* A step that was to start, and whose run came to nothing, has no run. */
        members_check(line, n, step, start_names, ran ? 3 : 2, key, c);
        if (s->started & ~s->finished)
            check_fail(c, "line %zu: step %s starts while another runs", n, key);
    }
    *(finished ? &s->finished : &s->started) |= bit;
}

/* One line in its place. */
static void log_line(
    const struct verification *v, struct seen *s, const cJSON *line, size_t n, struct check *c)
{
    static const char *const end_names[] = {"status", "errorMessage", "reason"};
    bool last = n + 1 == v->workflow_line_count;
    int64_t ts;
    if (!text_is(line, "workflowRunId", v->zip.run_id) || !json_str_at(line, "ts") ||
        clock_parse_iso(json_str_at(line, "ts"), &ts, NULL) != 0)
        check_fail(c, "line %zu has no workflowRunId or no well-formed time", n);
    if ((n == 0) != text_is(line, "type", "WorkflowStarted"))
        check_fail(c, "line %zu: WorkflowStarted is not the first line, or comes again", n);
    if (last != text_is(line, "type", "WorkflowCompleted"))
        check_fail(c, "line %zu: WorkflowCompleted is not the last line, or comes before", n);
    if (n == 0)
        started_line(v, line, c);
    else if (last)
        members_check(
            line, n, v->document, end_names, sizeof(end_names) / sizeof(end_names[0]), "the run", c);
    else if (text_is(line, "type", "WorkflowStepStarted"))
        step_line(v, s, line, n, false, c);
    else if (text_is(line, "type", "WorkflowStepFinished"))
        step_line(v, s, line, n, true, c);
}

void step_workflow_log(struct verification *v, struct check *c)
{
    struct seen s = {0};
    if (!v->workflow_log.ok || !v->document) {
        check_unable(c, "the chain of " LOG " is not sound, or " DOCUMENT " can't be read");
        return;
    }
    for (size_t n = 0; n < v->workflow_line_count; n++) {
        cleanup_cjson cJSON *line = line_parse(&v->workflow_lines[n]);
        log_line(v, &s, line, n, c);
    }
    int steps = cJSON_GetArraySize(json_at(v->document, "steps"));
    for (int i = 0; i < steps && i < LIMIT_WORKFLOW_STEPS; i++)
        if (!(s.finished & 1ull << i))
            check_fail(c, "step %d never ends in " LOG, i);
    if (v->workflow_line_count == 0)
        check_fail(c, LOG " is empty");
    check_pass(c, "%zu lines: every step once, as it stands in " DOCUMENT, v->workflow_line_count);
}
