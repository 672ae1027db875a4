/*
 * Building a workflow run's bundle, step by step: see workflow_bundle.h.
 */
#include "orchestrator/bundle/workflow_bundle.h"

#include <stdio.h>
#include <string.h>

#include "orchestrator/bundle/bag.h"
#include "orchestrator/bundle/workflow_statement.h"
#include "shared/chain.h"
#include "shared/clock.h"
#include "shared/json.h"

#define ENVELOPE "attestation/workflow.intoto.jsonl"
#define LOG_FILE "workflow.jsonl"
/* Definition and context have limits of their own, far below; a line per step twice. */
#define DOCUMENT_MAX (64u << 20)

bool workflow_bundle_step_sealed(const struct workflow_step *s)
{
    /* What became of the file later, deleted or lost, does not change what was sealed. */
    return s->bundle_sha256 != NULL;
}

/* --- what the rows come to ------------------------------------------------------------------------------------------------------- */

static int input_check(const struct workflow_bundle_input *in, struct arp_err *err)
{
    const struct workflow_run *run = in->run;
    if (!run_status_final(run->status) || run->finished_us == 0 || !run->spec || !run->context ||
        !run->input || !run->metadata || run->step_count == 0)
        return arp_fail(err, ARP_E_INVALID, 0, "bundle input: not a whole workflow run that has ended");
    if (!uuid_ok(run->id) || !sha256_hex_ok(in->salt))
        return arp_fail(
            err, ARP_E_INVALID, 0, "bundle input: the id is not a UUID or the salt not 64 hex digits");
    for (size_t i = 0; i < run->step_count; i++) {
        const struct workflow_step *s = &run->steps[i];
        if (!s->run_id[0])
            continue;
        if (!s->bundle_status || strcmp(s->bundle_status, "pending") == 0)
            return arp_fail(err, ARP_E_BUSY, 0, "the bundle of step '%s' is still to be made", s->key);
    }
    return 0;
}

/* One line: it continues the chain, names this run, and the first and the last are what they must be. */
static int line_check(const struct workflow_bundle_input *in, size_t i, struct chain *c, struct arp_err *err)
{
    const char *line = in->lines->v[i].line;
    size_t len = strlen(line);
    cleanup_cjson cJSON *obj = NULL;
    int rc = json_parse_line(line, len, &obj, err);
    if (rc == 0)
        rc = chain_accept(c, line, len, obj, err);
    if (rc) {
        arp_wrap(err, "line %zu of " LOG_FILE, i);
        return rc;
    }
    const char *type = json_get_str(obj, "type"), *id = json_get_str(obj, "workflowRunId");
    bool first = i == 0, last = i + 1 == in->lines->n;
    if (!type || !id || strcmp(id, in->run->id) != 0 || first != (strcmp(type, "WorkflowStarted") == 0) ||
        last != (strcmp(type, "WorkflowCompleted") == 0))
        return arp_fail(
            err, ARP_E_EVIDENCE, 0, "line %zu of " LOG_FILE " is not of this run, or out of place", i);
    return 0;
}

static void digest_of(const char *text, char ret[SHA256_HEX_LEN + 1])
{
    sha256_hex_of(text, strlen(text), ret);
}

static int facts_of(
    const struct workflow_bundle_input *in, struct workflow_bundle_facts *ret, struct arp_err *err)
{
    struct chain c;
    chain_init(&c, in->run->id, LOG_FILE);
    if (in->lines->n < 2)
        return arp_fail(err, ARP_E_EVIDENCE, 0, LOG_FILE " has %zu lines", in->lines->n);
    for (size_t i = 0; i < in->lines->n; i++) {
        int rc = line_check(in, i, &c, err);
        if (rc)
            return rc;
    }
    ret->chain.lines = c.next_seq;
    memcpy(ret->chain.head, c.prev, sizeof(ret->chain.head));
    digest_of(in->run->spec, ret->spec_sha256);
    digest_of(in->run->context, ret->context_sha256);
    digest_of(in->run->input, ret->input_sha256);
    ret->complete = true;
    for (size_t i = 0; i < in->run->step_count; i++)
        if (in->run->steps[i].run_id[0] && !workflow_bundle_step_sealed(&in->run->steps[i]))
            ret->complete = false;
    return 0;
}

/* --- files ----------------------------------------------------------------------------------------------------------------------- */

static void ktime(struct json *j, const char *key, int64_t us)
{
    char iso[CLOCK_ISO_LEN + 1];
    clock_iso(us, iso);
    json_kstr(j, key, us ? iso : NULL);
}

static void write_bundle(struct json *j, const struct workflow_step *s)
{
    json_key(j, "bundle");
    if (!s->run_id[0]) {
        json_null(j);
        return;
    }
    bool sealed = workflow_bundle_step_sealed(s);
    json_obj_open(j);
    json_kstr(j, "status", sealed ? "ready" : "error");
    json_kstr(j, "sha256", sealed ? s->bundle_sha256 : NULL);
    if (sealed)
        json_kint(j, "sizeBytes", s->bundle_bytes);
    else
        json_knull(j, "sizeBytes");
    json_obj_close(j);
}

static void write_step(struct json *j, const struct workflow_step *s)
{
    bool has_run = s->run_id[0] != '\0';
    json_obj_open(j);
    json_kint(j, "step", s->step);
    json_kstr(j, "key", s->key);
    json_kstr(j, "agentKey", s->agent_key);
    json_kstr(j, "status", step_status_name(s->status));
    json_kstr(j, "errorMessage", s->error_message);
    json_kstr(j, "reason", s->reason);
    ktime(j, "startedAt", s->started_us);
    ktime(j, "finishedAt", s->finished_us);
    json_kstr(j, "runId", has_run ? s->run_id : NULL);
    json_kstr(j, "runStatus", has_run ? run_status_name(s->run_status) : NULL);
    json_kraw(j, "container_context", s->container_context);
    write_bundle(j, s);
    json_obj_close(j);
}

static void write_definition(
    struct json *j, const struct workflow_run *run, const struct workflow_bundle_facts *facts)
{
    json_kraw(j, "definition", run->spec);
    json_kstr(j, "specSha256", facts->spec_sha256);
    json_kraw(j, "context", run->context);
    json_kstr(j, "contextSha256", facts->context_sha256);
    json_kstr(j, "input", run->input);
    json_kstr(j, "inputSha256", facts->input_sha256);
    json_kraw(j, "metadata", run->metadata);
}

static int add_document(const struct workflow_run *run, const struct workflow_bundle_facts *facts,
    struct entries *e, struct arp_err *err)
{
    cleanup_buf struct buf b;
    buf_init(&b, DOCUMENT_MAX);
    struct json j;
    json_init(&j, &b);
    json_obj_open(&j);
    json_kint(&j, "v", 1);
    json_kstr(&j, "workflowRunId", run->id);
    json_kstr(&j, "workflowKey", run->workflow_key);
    json_kint(&j, "workflowVersion", run->workflow_version);
    json_kstr(&j, "userId", run->user_id);
    json_kstr(&j, "projectId", run->project_id);
    json_kstr(&j, "workspaceId", run->workspace_id);
    json_kstr(&j, "status", run_status_name(run->status));
    json_kstr(&j, "errorMessage", run->error_message);
    json_kstr(&j, "reason", run->reason);
    ktime(&j, "createdAt", run->created_us);
    ktime(&j, "startedAt", run->started_us);
    ktime(&j, "finishedAt", run->finished_us);
    ktime(&j, "cancelRequestedAt", run->cancel_requested_us);
    json_kbool(&j, "complete", facts->complete);
    write_definition(&j, run, facts);
    json_key(&j, "steps");
    json_arr_open(&j);
    for (size_t i = 0; i < run->step_count; i++)
        write_step(&j, &run->steps[i]);
    json_arr_close(&j);
    json_obj_close(&j);
    buf_append_char(&b, '\n');
    return entries_add_buf(e, "workflow.json", &b, err);
}

static int add_log(const struct workflow_lines *lines, struct entries *e, struct arp_err *err)
{
    cleanup_buf struct buf b;
    buf_init(&b, DOCUMENT_MAX);
    for (size_t i = 0; i < lines->n; i++) {
        buf_append_str(&b, lines->v[i].line);
        buf_append_char(&b, '\n');
    }
    return entries_add_buf(e, LOG_FILE, &b, err);
}

/* In the form of sha256sum(1), which checks it in the directory that holds the steps' bundles. */
static int add_bundle_list(const struct workflow_run *run, struct entries *e, struct arp_err *err)
{
    cleanup_buf struct buf b;
    buf_init(&b, DOCUMENT_MAX);
    for (size_t i = 0; i < run->step_count; i++)
        if (workflow_bundle_step_sealed(&run->steps[i]))
            buf_printf(&b, "%s  %s.zip\n", run->steps[i].bundle_sha256, run->steps[i].run_id);
    return entries_add_buf(e, "data/bundles-sha256.txt", &b, err);
}

static int add_readme(const struct workflow_run *run, struct entries *e, struct arp_err *err)
{
    char about[768];
    snprintf(about, sizeof(about),
        "Evidence of workflow run %s\n\n"
        "The record of the whole: workflow.json (definition, input, what each agent was resolved to, each "
        "step "
        "and its run),\n"
        "workflow.jsonl (what happened, in order), data/bundles-sha256.txt (the evidence bundles of the "
        "steps' "
        "runs).\n\n"
        "The steps' bundles are files of their own. In the directory that holds them:\n"
        "   sha256sum --strict -c <this directory>/data/bundles-sha256.txt\n\n",
        run->id);
    const struct bag_readme readme = {.about = about,
        .envelope = ENVELOPE,
        .chains = "each line of " LOG_FILE " names the SHA-256 of the line before it as \"prev\".",
        .verify = "arpctl verify --keyring keys.json --steps <directory of the steps' bundles> <bundle>.zip"};
    return bag_add_readme(&readme, e, err);
}

/* All files but the attestation. */
static int collect(const struct workflow_bundle_input *in, const struct workflow_bundle_facts *facts,
    struct entries *e, struct arp_err *err)
{
    int rc = add_document(in->run, facts, e, err);
    if (!rc)
        rc = add_log(in->lines, e, err);
    if (!rc)
        rc = add_bundle_list(in->run, e, err);
    if (!rc)
        rc = add_readme(in->run, e, err);
    const struct bag bag = {.id = in->run->id, .ended_us = in->run->finished_us, .salt = in->salt};
    return rc ? rc : bag_seal_manifests(&bag, e, err);
}

int workflow_bundle_build(const struct workflow_bundle_input *in, struct signer *signer, const char *out_dir,
    struct bundle_result *ret, bool *ret_complete, struct arp_err *err)
{
    cleanup_entries struct entries entries = {0};
    cleanup_buf struct buf statement;
    buf_init(&statement, SIGNER_STATEMENT_MAX);
    struct workflow_bundle_facts facts = {0};
    const struct package p = {.id = in->run->id, .envelope = ENVELOPE, .statement = &statement};
    int rc = input_check(in, err);
    if (!rc)
        rc = facts_of(in, &facts, err);
    if (!rc)
        rc = collect(in, &facts, &entries, err);
    if (!rc)
        rc = workflow_statement_write(in->run, &facts, &entries, &statement, err);
    if (!rc)
        rc = package_make(&p, &entries, signer, out_dir, ret, err);
    if (!rc)
        *ret_complete = facts.complete;
    else
        arp_wrap(err, "bundle of workflow run %s", in->run->id);
    return rc;
}
