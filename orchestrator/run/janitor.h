/*
 * Periodic work of this process, one thread: renew its leases, end orphaned runs, cool idle workspaces. It ticks three times per lease,
 * because a lease that is not renewed in time lets others take our runs. Source: style.md section 6, design.md section 12.
 */
#ifndef ARP_ORCHESTRATOR_RUN_JANITOR_H
#define ARP_ORCHESTRATOR_RUN_JANITOR_H

#include "orchestrator/run/env.h"
#include "shared/err.h"

struct janitor;

/* What is taken up after the runs that others left behind have been ended: of the parts above this one. */
typedef void janitor_resume_fn(const struct run_env *env);

/* Start the thread. env is borrowed until janitor_stop. Errors: ARP_E_NOMEM, ARP_E_IO. */
int janitor_start(
    const struct run_env *env, janitor_resume_fn *resume, struct janitor **ret, struct arp_err *err);
/* Finish the work at hand, stop, free. Accepts NULL. */
void janitor_stop(struct janitor *j);

#endif
