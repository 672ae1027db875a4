/*
 * A workflow run that has ended: see workflow_story.h.
 */
#include "tests/support/workflow_story.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shared/chain.h"
#include "shared/clock.h"
#include "shared/fd.h"
#include "tests/support/run_story.h"

#define T0_US     1795305610000000ll /* 2026-11-22T00:00:10Z */
#define MINUTE_US 60000000ll
#define LINES     8

static const struct {
    const char *key, *agent;
    enum fixture_kind kind; /* of its run */
    enum step_status status;
    const char *error, *reason;
} steps[STORY_STEPS] = {
    {"build", "coder", FIXTURE_FULL, STEP_FAILED, "command 2 exited with code 3", NULL},
    {"test", "default", FIXTURE_EMPTY, STEP_SUCCEEDED, NULL, NULL},
    {"deploy", "default", FIXTURE_EMPTY, STEP_FAILED, "its container was deleted", "container_gone"},
    {"report", "default", FIXTURE_EMPTY, STEP_SKIPPED, NULL, NULL},
};

static const char spec[] =
    "{\"description\":\"every \\\"night\\\"\",\"steps\":["
    "{\"key\":\"build\",\"agent\":\"coder\",\"prompt\":\"build {{input}}\",\"commands\":null,\"engine\":null,"
    "\"needs\":[],\"continueOnFailure\":true,\"timeoutMs\":null},"
    "{\"key\":\"test\",\"agent\":\"default\",\"prompt\":\"test\",\"commands\":null,\"engine\":\"shell\","
    "\"needs\":[\"build\"],\"continueOnFailure\":false,\"timeoutMs\":60000},"
    "{\"key\":\"deploy\",\"agent\":\"default\",\"prompt\":\"deploy\",\"commands\":null,\"engine\":null,"
    "\"needs\":[],\"continueOnFailure\":false,\"timeoutMs\":null},"
    "{\"key\":\"report\",\"agent\":\"default\",\"prompt\":\"report\",\"commands\":null,\"engine\":null,"
    "\"needs\":[],\"continueOnFailure\":false,\"timeoutMs\":null}]}";
static const char context[] =
    "{\"v\":1,\"request\":{\"containerOverrides\":{\"coder\":\"44444444-2222-4333-8444-555555555555\"}},"
    "\"agents\":{\"coder\":{\"agent\":{\"key\":\"coder\"},\"container\":{\"agentKey\":\"coder\",\"source\":"
    "\"override\",\"id\":\"44444444-2222-4333-8444-555555555555\",\"name\":\"slim\",\"imageName\":"
    "\"arp-workspace:test\"}},\"default\":{\"agent\":{\"key\":\"default\"},\"container\":{\"agentKey\":"
    "\"default\",\"source\":\"auto\",\"id\":null,\"name\":null,\"imageName\":\"arp-workspace:test\"}}}}";
static const char input[] = "all of it, \"quoted\"\nand in lines";

static char *copy(const char *s)
{
    char *own = s ? strdup(s) : NULL;
    MUST(own || !s);
    return own;
}

/* The run of a step, with its bundle. */
static void tell_run(struct fixture *f, const char *id, int i, const char *run_id, struct workflow_step *s,
    char zip[PATH_MAX], char head[SHA256_HEX_LEN + 1])
{
    const struct fixture_step of = {
        .workflow_run_id = id, .step = i, .key = steps[i].key, .agent = steps[i].agent};
    struct bundle_input in;
    struct bundle_result made;
    struct arp_err err = {0};
    f->step = &of;
    fixture_stage(f, run_id, steps[i].kind, &in);
    f->step = NULL;
    MUST(bundle_build(&in, f->signer, f->out, &made, &err) == 0);
    snprintf(zip, PATH_MAX, "%s", made.path);
    memcpy(s->run_id, run_id, sizeof(s->run_id));
    s->run_status = steps[i].status == STEP_SUCCEEDED ? RUN_SUCCEEDED : RUN_FAILED;
    s->container_context = copy(in.container_context);
    s->bundle_status = copy("ready");
    s->bundle_sha256 = copy(made.sha256);
    s->bundle_bytes = (int64_t)made.size_bytes;
    memcpy(head, in.events.head, SHA256_HEX_LEN + 1);
}

/* --- its log --------------------------------------------------------------------------------------------------------------------- */

struct log {
    const struct workflow_run *run;
    struct workflow_lines *lines;
    struct chain chain;
    struct buf line;
};

static void line_open(struct log *l, struct json *j, const char *type)
{
    char ts[CLOCK_ISO_LEN + 1];
    clock_iso(T0_US + (int64_t)l->lines->n * MINUTE_US, ts);
    buf_init(&l->line, 64u << 10);
    json_init(j, &l->line);
    json_obj_open(j);
    json_kstr(j, "ts", ts);
    json_kstr(j, "workflowRunId", l->run->id);
    json_kstr(j, "type", type);
}

static void line_close(struct log *l, struct json *j)
{
    chain_stamp(&l->chain, j);
    json_obj_close(j);
    chain_advance(&l->chain, l->line.data, l->line.len);
    MUST(l->lines->n < LINES);
    l->lines->v[l->lines->n].seq = (int64_t)l->lines->n;
    l->lines->v[l->lines->n++].line = copy(buf_str(&l->line));
    buf_done(&l->line);
}

static void put_digest(struct json *j, const char *key, const char *text)
{
    char hex[SHA256_HEX_LEN + 1];
    sha256_hex_of(text, strlen(text), hex);
    json_kstr(j, key, hex);
}

static void tell_start(struct log *l)
{
    struct json j;
    line_open(l, &j, "WorkflowStarted");
    json_kstr(&j, "workflowKey", l->run->workflow_key);
    json_kint(&j, "workflowVersion", l->run->workflow_version);
    put_digest(&j, "specSha256", spec);
    put_digest(&j, "contextSha256", context);
    put_digest(&j, "inputSha256", input);
    json_kstr(&j, "userId", l->run->user_id);
    json_kstr(&j, "projectId", l->run->project_id);
    json_kstr(&j, "workspaceId", l->run->workspace_id);
    json_key(&j, "steps");
    json_arr_open(&j);
    for (int i = 0; i < STORY_STEPS; i++) {
        json_obj_open(&j);
        json_kstr(&j, "key", steps[i].key);
        json_kstr(&j, "agentKey", steps[i].agent);
        json_obj_close(&j);
    }
    json_arr_close(&j);
    line_close(l, &j);
}

static void tell_step(struct log *l, const struct workflow_step *s, const char *head)
{
    struct json j;
    bool ran = s->run_id[0] != '\0';
    if (ran) {
        line_open(l, &j, "WorkflowStepStarted");
        json_kint(&j, "step", s->step);
        json_kstr(&j, "key", s->key);
        json_kstr(&j, "agentKey", s->agent_key);
        json_kstr(&j, "runId", s->run_id);
        line_close(l, &j);
    }
    line_open(l, &j, "WorkflowStepFinished");
    json_kint(&j, "step", s->step);
    json_kstr(&j, "key", s->key);
    json_kstr(&j, "status", step_status_name(s->status));
    json_kstr(&j, "runId", ran ? s->run_id : NULL);
    json_kstr(&j, "errorMessage", s->error_message);
    json_kstr(&j, "reason", s->reason);
    json_kstr(&j, "eventsHead", ran ? head : NULL);
    json_kraw(&j, "container_context", s->container_context);
    line_close(l, &j);
}

static void tell_end(struct log *l)
{
    struct json j;
    line_open(l, &j, "WorkflowCompleted");
    json_kstr(&j, "status", run_status_name(l->run->status));
    json_kstr(&j, "errorMessage", l->run->error_message);
    json_kstr(&j, "reason", l->run->reason);
    line_close(l, &j);
}

/* --- its rows -------------------------------------------------------------------------------------------------------------------- */

static void put_run(const char *id, struct workflow_run *r)
{
    *r = (struct workflow_run){
        .user_id = "11111111-2222-4333-8444-555555555555",
        .project_id = "22222222-2222-4333-8444-555555555555",
        .workspace_id = "33333333-2222-4333-8444-555555555555",
        .workflow_key = copy("nightly"),
        .workflow_version = 2,
        .status = RUN_FAILED,
        .error_message = copy("step 'deploy' failed"),
        .reason = copy("container_gone"),
        .created_us = T0_US,
        .started_us = T0_US + 5000,
        .finished_us = T0_US + LINES * MINUTE_US,
        .input = copy(input),
        .context = copy(context),
        .spec = copy(spec),
        .steps = calloc(STORY_STEPS, sizeof(*r->steps)),
        .step_count = STORY_STEPS,
    };
    MUST(r->steps);
    memcpy(r->id, id, sizeof(r->id));
    for (int i = 0; i < STORY_STEPS; i++) {
        struct workflow_step *s = &r->steps[i];
        s->step = i;
        s->key = copy(steps[i].key);
        s->agent_key = copy(steps[i].agent);
        s->status = steps[i].status;
        s->error_message = copy(steps[i].error);
        s->reason = copy(steps[i].reason);
        s->started_us = i < 2 ? T0_US + i * MINUTE_US : 0;
        s->finished_us = T0_US + (i + 1) * MINUTE_US;
    }
}

void workflow_story_tell(
    struct fixture *f, const char *id, const char *run_a, const char *run_b, struct workflow_story *ret)
{
    char heads[2][SHA256_HEX_LEN + 1];
    char metadata[2048];
    *ret = (struct workflow_story){0};
    struct workflow_run *r = &ret->run;
    put_run(id, r);
    tell_run(f, id, 0, run_a, &r->steps[0], ret->zip_a, heads[0]);
    tell_run(f, id, 1, run_b, &r->steps[1], ret->zip_b, heads[1]);
    snprintf(metadata, sizeof(metadata), "{\"container_context\": {\"test\": %s, \"build\": %s}}",
        r->steps[1].container_context, r->steps[0].container_context);
    r->metadata = copy(metadata);
    ret->lines.v = calloc(LINES, sizeof(*ret->lines.v));
    MUST(ret->lines.v);
    struct log l = {.run = r, .lines = &ret->lines};
    chain_init(&l.chain, id, "workflow.jsonl");
    tell_start(&l);
    for (int i = 0; i < STORY_STEPS; i++)
        tell_step(&l, &r->steps[i], i < 2 ? heads[i] : NULL);
    tell_end(&l);
}

void workflow_story_lose_bundle(struct workflow_story *s)
{
    struct workflow_step *step = &s->run.steps[0];
    free(step->bundle_status);
    free(step->bundle_sha256);
    step->bundle_status = copy("error");
    step->bundle_sha256 = NULL;
    step->bundle_bytes = 0;
}

void workflow_story_build(struct fixture *f, const struct workflow_story *s, char ret[PATH_MAX])
{
    const struct workflow_bundle_input in = {.run = &s->run, .lines = &s->lines, .salt = STORY_SALT};
    struct bundle_result made;
    struct arp_err err = {0};
    bool complete;
    if (workflow_bundle_build(&in, f->signer, f->out, &made, &complete, &err) != 0) {
        fprintf(stderr, "story: %s\n", err.msg);
        abort();
    }
    snprintf(ret, PATH_MAX, "%s", made.path);
}

void workflow_story_done(struct workflow_story *s)
{
    workflow_run_done(&s->run);
    workflow_lines_done(&s->lines);
}
