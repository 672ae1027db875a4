/*
 * Make an agent idle: see agent_idle.h.
 */
#include "orchestrator/run/agent_idle.h"

#include <time.h>

#define POLL_MS      100
#define WAIT_MS      15000
#define CANCEL_EVERY 20 /* polls */
#define HEALTH_MS    5000

int agent_make_idle(const struct agent_target *t, const struct agent_state *state, struct arp_err *err)
{
    struct agent_state now = *state;
    for (int poll = 0; now.busy; poll++) {
        bool found;
        int rc = poll % CANCEL_EVERY == 0 ? agent_cancel(t, now.run_id, &found, err) : 0;
        if (rc)
            return rc;
        if (poll == WAIT_MS / POLL_MS)
            return arp_fail(err, ARP_E_AGENT, 0, "the agent does not end its earlier run %s", now.run_id);
        /* The agent offers nothing to wait on here, and this path is taken once after a crash. */
        struct timespec pause = {.tv_nsec = POLL_MS * 1000000L};
        nanosleep(&pause, NULL);
        rc = agent_health(t, HEALTH_MS, &now, err);
        if (rc)
            return rc;
    }
    return 0;
}
