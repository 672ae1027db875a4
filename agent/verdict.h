/*
 * Verdict: how a run ends. It succeeds unless something failed; the first failure counts. Run thread only.
 */
#ifndef ARP_AGENT_VERDICT_H
#define ARP_AGENT_VERDICT_H

#include <stdbool.h>

#include "agent/cmdlog.h"
#include "agent/exec.h"
#include "shared/err.h"

struct verdict {
    const char *status; /* "succeeded", "failed", "timeout"; static */
    const char *reason; /* NULL for none; static */
    char message[ARP_ERR_MSG_MAX];
};

void verdict_init(struct verdict *v);
bool verdict_over(const struct verdict *v);
/* Note why the run did not succeed, unless that is known already. */
void verdict_fail(struct verdict *v, const char *status, const char *reason, const char *message);
/* What a finished command of a shell run means. */
void verdict_command(struct verdict *v, const struct cmd_rec *rec, const struct exec_outcome *outcome);
/* The part of it that holds for every command: it was not started, for want of a sandbox. */
void verdict_start(struct verdict *v, const struct cmd_rec *rec, const struct exec_outcome *outcome);

#endif
