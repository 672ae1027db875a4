/*
 * Verdict: see verdict.h.
 */
#include "agent/verdict.h"

#include <stdio.h>
#include <string.h>

void verdict_init(struct verdict *v)
{
    *v = (struct verdict){.status = "succeeded"};
}

bool verdict_over(const struct verdict *v)
{
    return strcmp(v->status, "succeeded") != 0;
}

void verdict_fail(struct verdict *v, const char *status, const char *reason, const char *message)
{
    if (verdict_over(v))
        return;
    v->status = status;
    v->reason = reason;
    snprintf(v->message, sizeof(v->message), "%.*s", ARP_ERR_MSG_MAX - 1, message);
}

void verdict_start(struct verdict *v, const struct cmd_rec *rec, const struct exec_outcome *outcome)
{
    char text[ARP_ERR_MSG_MAX + 64];
    if (outcome->stage != EXEC_SETUP)
        return;
    snprintf(text, sizeof(text), "command %zu was not started: %s", (size_t)rec->id, rec->error);
    verdict_fail(v, "failed", "sandbox_error", text);
}

void verdict_command(struct verdict *v, const struct cmd_rec *rec, const struct exec_outcome *outcome)
{
    char text[ARP_ERR_MSG_MAX + 64];
    size_t id = (size_t)rec->id;
    verdict_start(v, rec, outcome);
    if (outcome->stage == EXEC_FAILED) {
        snprintf(text, sizeof(text), "command %zu could not be executed: %s", id, rec->error);
        verdict_fail(v, "failed", NULL, text);
    } else if (rec->timed_out) {
        snprintf(text, sizeof(text), "command %zu took longer than %lld ms", id,
            (long long)rec->command->timeout_ms);
        verdict_fail(v, "timeout", NULL, text);
    } else if (rec->signal) {
        snprintf(text, sizeof(text), "command %zu was ended by %s", id, rec->signal);
        verdict_fail(v, "failed", NULL, text);
    } else if (rec->exit_code != 0) {
        snprintf(text, sizeof(text), "command %zu exited with code %d", id, rec->exit_code);
        verdict_fail(v, "failed", NULL, text);
    }
}
