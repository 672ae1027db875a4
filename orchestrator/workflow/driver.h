/*
 * Who drives a workflow run: one small-stack thread that asks plan.h what comes next, does it, writes it down, and looks again. Each step becomes
 * an ordinary run (run/lifecycle.h) under the workspace lock that the driver holds from the first step to the last.
 * All it knows stands in the database, so a driver that can't go on just lets go: of both locks (the run's, "workflow:<id>", and its workspace's)
 * and of its place among the live runs. Its workflow run is then an orphan like those of a crashed process, and is taken up again, here or
 * elsewhere (resume.h), when recovery has ended the run of its step.
 * Source: design.md section 3 ("A crash anywhere"), docs/formats/workflow.md.
 */
#ifndef ARP_ORCHESTRATOR_WORKFLOW_DRIVER_H
#define ARP_ORCHESTRATOR_WORKFLOW_DRIVER_H

#include <stdint.h>

#include "orchestrator/run/env.h"
#include "orchestrator/run/live.h"
#include "shared/uuid.h"

/* What a driver takes over: it gives back the locks and the live run (its reference too) when it ends. */
struct workflow_drive {
    const struct run_env *env; /* borrowed */
    char user_id[UUID_LEN + 1];
    char project_id[UUID_LEN + 1];
    char workspace_id[UUID_LEN + 1];
    char id[UUID_LEN + 1];
    struct live_run *live;
    int64_t epoch;           /* of "workflow:<id>" */
    int64_t workspace_epoch; /* of "workspace:<id>" */
};
/* Start the thread; when there is none to be had, let go. */
void workflow_drive_start(const struct workflow_drive *d);

#endif
