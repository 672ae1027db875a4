/*
 * The server process: makes all parts in order, serves until SIGTERM or SIGINT, takes them down in reverse order.
 */
#ifndef ARP_ORCHESTRATOR_SERVE_H
#define ARP_ORCHESTRATOR_SERVE_H

#include "orchestrator/config.h"
#include "shared/err.h"

/* Call it once, on the process's only thread (the signer forks). Returns when the server has stopped. Errors: whatever part can't start. */
int serve(const struct config *cfg, struct arp_err *err);

#endif
