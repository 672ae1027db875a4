/*
 * How a verification is told: see verify.h. Reasons may quote a hostile bundle, so what could steer a terminal is shown as '?'.
 */
#include <inttypes.h>

#include "cli/clean.h"
#include "cli/verify.h"
#include "shared/json.h"

static const char *const verdict_names[] = {
    [CHECK_PASS] = "PASS", [CHECK_UNABLE] = "UNABLE", [CHECK_FAIL] = "FAIL"};

static const char *authenticity(const struct verify_report *r)
{
    return r->trusted ? r->key_id : "UNTRUSTED";
}

/* What stands behind the seal: nobody but the operator yet, as there is no log or witness. */
static const char *assurance(const struct verify_report *r)
{
    return r->trusted ? "operator-only" : "none";
}

/* Of a workflow run: whether all steps' bundles are listed, and what was looked at. */
static void print_workflow_record(const struct verify_report *r, FILE *out)
{
    fprintf(out, "record:       %s, %zu bundles of steps listed, ",
        r->complete ? "complete" : "NOT complete: the bundles of some steps were not sealed",
        r->bundles_listed);
    if (r->bundles_checked)
        fprintf(out, "%zu looked at, %zu accepted\n", r->bundles_checked, r->bundles_accepted);
    else
        fprintf(out, "none looked at (--steps DIR)\n");
}

/* What the record says of itself. */
static void print_record(const struct verify_report *r, FILE *out)
{
    fprintf(out, "record:       %s, %s", r->closed ? "closed by the agent" : "NOT closed by the agent",
        r->complete ? "complete" : "NOT complete");
    if (r->records_dropped)
        fprintf(out, " but for %" PRIu64 " process records over the limit", r->records_dropped);
    fprintf(out, ", %s\n",
        r->volume_match ? "equal to the workspace's copy" : "NOT equal to the workspace's copy");
}

/* What an engine's run did beside what it was asked and told: for the reader to judge. */
static void print_reconciliation(const struct verify_report *r, FILE *out)
{
    const struct verify_reconciliation *n = &r->reconciliation;
    fprintf(out,
        "reconciliation: %" PRIu64 " matched, %" PRIu64 " missing, %" PRIu64 " unattributed (%" PRIu64
        " set-up), %" PRIu64 " misreported, %" PRIu64 " changed paths unexplained, %" PRIu64
        " model calls told differently\n",
        n->matched, n->missing, n->unattributed, n->setup, n->misreported, n->unexplained, n->calls_differ);
}

static void json_reconciliation(struct json *j, const struct verify_reconciliation *n)
{
    json_key(j, "reconciliation");
    json_obj_open(j);
#define X(member, name) json_kuint(j, name, n->member);
    VERIFY_RECONCILIATION(X)
#undef X
    json_obj_close(j);
}

void verify_print(const struct verify_report *r, FILE *out)
{
    for (size_t i = 0; i < r->count; i++) {
        fprintf(out, "%-6s %-17s ", verdict_names[r->checks[i].verdict], r->checks[i].name);
        put_clean(r->checks[i].reason, false, out);
        putc('\n', out);
    }
    if (r->exit_code == VERIFY_UNUSABLE) {
        fprintf(out, "not a bundle that can be read\n");
        return;
    }
    fprintf(out, "%s %s\n",
        r->workflow ? "workflow run:" : "run:         ", r->run_id[0] ? r->run_id : "unknown");
    fprintf(out, "integrity:    %s\n", r->integrity ? "VERIFIED" : "FAILED");
    fprintf(out, "authenticity: %s\n", authenticity(r));
    fprintf(out, "assurance:    %s\n", assurance(r));
    if (r->integrity)
        (r->workflow ? print_workflow_record : print_record)(r, out);
    if (r->integrity && r->reconciled)
        print_reconciliation(r, out);
    fprintf(out, "not proven:   that the operator was honest when recording, or that nothing happened beside "
                 "the record\n");
}

/* A workflow run's record has no agent that closes it and no copy on a volume. */
static void print_flags(struct json *j, const struct verify_report *r)
{
    if (r->workflow)
        json_knull(j, "closed");
    else
        json_kbool(j, "closed", r->closed);
    json_kbool(j, "complete", r->complete);
    if (r->workflow)
        json_knull(j, "volumeMatch");
    else
        json_kbool(j, "volumeMatch", r->volume_match);
}

void verify_print_json(const struct verify_report *r, FILE *out)
{
    cleanup_buf struct buf b;
    buf_init(&b, 512u << 10);
    struct json j;
    json_init(&j, &b);
    json_obj_open(&j);
    json_kint(&j, "exitCode", r->exit_code);
    json_kstr(&j, "kind", r->workflow ? "workflow-run" : "run");
    json_kstr(&j, "runId", r->run_id[0] ? r->run_id : NULL);
    json_kstr(&j, "integrity", r->integrity ? "VERIFIED" : "FAILED");
    json_kstr(&j, "authenticity", authenticity(r));
    json_kstr(&j, "keyId", r->key_id[0] ? r->key_id : NULL);
    json_kstr(&j, "assurance", assurance(r));
    print_flags(&j, r);
    json_kuint(&j, "recordsDropped", r->records_dropped);
    if (r->workflow) {
        json_key(&j, "bundles");
        json_obj_open(&j);
        json_kuint(&j, "listed", r->bundles_listed);
        json_kuint(&j, "checked", r->bundles_checked);
        json_kuint(&j, "accepted", r->bundles_accepted);
        json_obj_close(&j);
    }
    if (r->reconciled)
        json_reconciliation(&j, &r->reconciliation);
    json_key(&j, "checks");
    json_arr_open(&j);
    for (size_t i = 0; i < r->count; i++) {
        json_obj_open(&j);
        json_kstr(&j, "check", r->checks[i].name);
        json_kstr(&j, "verdict", verdict_names[r->checks[i].verdict]);
        json_kstr(&j, "reason", r->checks[i].reason);
        json_obj_close(&j);
    }
    json_arr_close(&j);
    json_obj_close(&j);
    fprintf(out, "%s\n", buf_str(&b));
}
