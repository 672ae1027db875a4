/*
 * Offline verification, step by step: see verify.h. The checks themselves: checks.h.
 */
#include "cli/verify.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "cli/checks.h"

struct step {
    const char *name;
    void (*run)(struct verification *v, struct check *c);
    bool engine; /* made of an engine's run only */
};

static const struct step run_steps[] = {
    {.name = "files", .run = step_files},
    {.name = "manifests", .run = step_manifests},
    {.name = "ssh-signature", .run = step_ssh_signature},
    {.name = "signature", .run = step_signature},
    {.name = "statement", .run = step_statement},
    {.name = "events-chain", .run = step_events_chain},
    {.name = "command-log-chain", .run = step_command_log_chain},
    {.name = "processes-chain", .run = step_processes_chain},
    {.name = "lifecycle", .run = step_lifecycle},
    {.name = "commands", .run = step_commands},
    {.name = "processes", .run = step_processes},
    {.name = "outputs", .run = step_outputs},
    {.name = "engine-log", .run = step_engine_log, .engine = true},
    {.name = "model-log-chain", .run = step_model_log_chain, .engine = true},
    {.name = "model-log", .run = step_model_log, .engine = true},
    {.name = "reconciliation", .run = step_reconciliation, .engine = true},
    {.name = "completion", .run = step_completion},
    {.name = "environment", .run = step_environment},
    {.name = "container-context", .run = step_container_context},
    {.name = "trust", .run = step_trust},
};
#define RUN_STEPS (sizeof(run_steps) / sizeof(run_steps[0]))

static const struct step workflow_steps[] = {
    {.name = "files", .run = step_files},
    {.name = "manifests", .run = step_manifests},
    {.name = "ssh-signature", .run = step_ssh_signature},
    {.name = "signature", .run = step_signature},
    {.name = "statement", .run = step_workflow_statement},
    {.name = "workflow-chain", .run = step_workflow_chain},
    {.name = "workflow", .run = step_workflow},
    {.name = "workflow-log", .run = step_workflow_log},
    {.name = "bundles", .run = step_bundles},
    {.name = "trust", .run = step_trust},
};
#define WORKFLOW_STEPS (sizeof(workflow_steps) / sizeof(workflow_steps[0]))

/* The heavier verdict stays; of equal ones the first. */
__attribute__((format(printf, 3, 0))) static void set_reason(
    struct check *c, enum check_verdict verdict, const char *fmt, va_list ap)
{
    if (c->reason[0] && verdict <= c->verdict)
        return;
    c->verdict = verdict;
    vsnprintf(c->reason, sizeof(c->reason), fmt, ap);
}

void check_fail(struct check *c, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    set_reason(c, CHECK_FAIL, fmt, ap);
    va_end(ap);
}

void check_unable(struct check *c, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    set_reason(c, CHECK_UNABLE, fmt, ap);
    va_end(ap);
}

void check_pass(struct check *c, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    set_reason(c, CHECK_PASS, fmt, ap);
    va_end(ap);
}

/* Make the container the first check and map it. Returns false when there is nothing more to look at. */
static bool open_container(struct verification *v, const char *path, struct verify_report *r)
{
    struct check *c = &r->checks[r->count++];
    struct arp_err err = {0};
    c->name = "container";
    int rc = packed_open(path, &v->zip, &err);
    if (rc == ARP_E_CORRUPT) {
        r->exit_code = VERIFY_FAILED;
        check_fail(c, "%s", err.msg);
    } else if (rc) {
        r->exit_code = VERIFY_UNUSABLE;
        check_unable(c, "%s", err.msg);
    } else {
        check_pass(c, "%zu files in the one canonical zip form, CRCs right, nothing before, between or after",
            v->zip.count);
    }
    return rc == 0;
}

static void make_checks(
    struct verification *v, const struct step *steps, size_t n, struct verify_report *r, bool readable)
{
    for (size_t i = 0; i < n; i++) {
        if (steps[i].engine && !v->engine)
            continue;
        struct check *c = &r->checks[r->count++];
        c->name = steps[i].name;
        if (!readable) {
            check_unable(c, "not made, because an earlier check failed");
            continue;
        }
        steps[i].run(v, c);
        /* Without the files of a bundle the later checks have nothing to read. */
        if (steps[i].run == step_files && c->verdict == CHECK_FAIL)
            readable = false;
    }
}

static enum verify_exit conclude(
    const struct verification *v, const struct verify_options *o, struct verify_report *r)
{
    bool failed = false, unable = false;
    r->bundles_listed = v->bundles_listed;
    for (size_t i = 0; i < r->count; i++) {
        failed = failed || r->checks[i].verdict == CHECK_FAIL;
        unable = unable || r->checks[i].verdict == CHECK_UNABLE;
    }
    if (r->exit_code == VERIFY_UNUSABLE)
        return VERIFY_UNUSABLE;
    if (failed)
        return VERIFY_FAILED;
    r->integrity = true;
    r->trusted = v->trusted;
    r->closed = v->closed;
    r->complete = v->complete;
    r->volume_match = v->volume_match;
    r->records_dropped = v->records_dropped;
    r->reconciled = v->reconciled;
    r->reconciliation = v->reconciliation;
    memcpy(r->key_id, v->key_id, sizeof(r->key_id));
    bool short_of_steps = o->steps_dir && r->bundles_accepted < r->bundles_listed;
    if (!v->trusted || !v->closed || !v->complete || !v->volume_match || short_of_steps ||
        (o->strict && unable))
        return VERIFY_UNTRUSTED;
    return VERIFY_OK;
}

enum verify_exit verification_make(
    const char *path, const struct verify_options *o, struct verification *v, struct verify_report *r)
{
    memset(r, 0, sizeof(*r));
    v->keys = o->keys;
    bool readable = open_container(v, path, r);
    memcpy(r->run_id, v->zip.run_id, sizeof(r->run_id));
    /* Which closed list of files it must have: one with files of both kinds has neither. */
    v->workflow = r->workflow = packed_find(&v->zip, WORKFLOW_ENVELOPE) != NULL;
    v->engine = !v->workflow && bag_has_engine(&v->zip);
    if (v->workflow)
        make_checks(v, workflow_steps, WORKFLOW_STEPS, r, readable);
    else
        make_checks(v, run_steps, RUN_STEPS, r, readable);
    if (v->document && o->steps_dir)
        workflow_bundles_verify(v, o, r);
    r->exit_code = conclude(v, o, r);
    return r->exit_code;
}

void verification_done(struct verification *v)
{
    cJSON_Delete(v->statement);
    cJSON_Delete(v->document);
    free(v->commands);
    free(v->finish_order);
    free(v->log_lines);
    free(v->processes);
    free(v->process_lines);
    free(v->workflow_lines);
    free(v->model_lines);
    free(v->model_events);
    packed_done(&v->zip);
}

enum verify_exit verify_bundle(const char *path, const struct verify_options *o, struct verify_report *ret)
{
    struct verification v = {0};
    enum verify_exit code = verification_make(path, o, &v, ret);
    verification_done(&v);
    return code;
}
