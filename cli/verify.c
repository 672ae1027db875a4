/*
 * Offline verification, step by step: see verify.h. The checks themselves: checks.h.
 */
#include "cli/verify.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "cli/checks.h"

static const struct {
    const char *name;
    void (*run)(struct verification *v, struct check *c);
} steps[] = {
    {"files", step_files},
    {"manifests", step_manifests},
    {"ssh-signature", step_ssh_signature},
    {"signature", step_signature},
    {"statement", step_statement},
    {"events-chain", step_events_chain},
    {"command-log-chain", step_command_log_chain},
    {"processes-chain", step_processes_chain},
    {"lifecycle", step_lifecycle},
    {"commands", step_commands},
    {"processes", step_processes},
    {"outputs", step_outputs},
    {"completion", step_completion},
    {"environment", step_environment},
    {"container-context", step_container_context},
    {"trust", step_trust},
};
#define STEPS (sizeof(steps) / sizeof(steps[0]))

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

static void run_steps(struct verification *v, struct verify_report *r, bool readable)
{
    for (size_t i = 0; i < STEPS; i++) {
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

static enum verify_exit conclude(const struct verification *v, bool strict, struct verify_report *r)
{
    bool failed = false, unable = false;
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
    memcpy(r->key_id, v->key_id, sizeof(r->key_id));
    if (!v->trusted || !v->closed || !v->complete || !v->volume_match || (strict && unable))
        return VERIFY_UNTRUSTED;
    return VERIFY_OK;
}

enum verify_exit verify_bundle(
    const char *path, const struct keyring *keys, bool strict, struct verify_report *ret)
{
    struct verification v = {.keys = keys};
    memset(ret, 0, sizeof(*ret));
    bool readable = open_container(&v, path, ret);
    memcpy(ret->run_id, v.zip.run_id, sizeof(ret->run_id));
    run_steps(&v, ret, readable);
    ret->exit_code = conclude(&v, strict, ret);
    cJSON_Delete(v.statement);
    free(v.commands);
    free(v.log_lines);
    free(v.processes);
    free(v.process_lines);
    packed_done(&v.zip);
    return ret->exit_code;
}
