/*
 * Run: one run, top to bottom, on its own thread:
 *   git before -> commands one after another, or one prompt to an engine -> kill what is left -> git after, diff -> outputs.json ->
 *   env.json -> RunCompleted
 * Everything it learns goes to the evidence directory and the event stream as it happens. It always ends with RunCompleted.
 * Contract: docs/AGENT.md. Commands stop at the first that does not exit with 0.
 */
#ifndef ARP_AGENT_RUN_H
#define ARP_AGENT_RUN_H

#include "agent/request.h"
#include "agent/runner.h"
#include "agent/stream.h"
#include "shared/err.h"

struct run;

/* Make the evidence directory and its logs. Takes over req and peer_fd also on errors; takes a reference of stream.
 * Errors: ARP_E_CONFLICT, ARP_E_IO, ARP_E_NOMEM. */
int run_new(struct runner *runner, struct run_request *req, struct stream *stream, int peer_fd,
    struct run **ret, struct arp_err *err);
/* Do it all. Frees nothing: run_free after it. */
void run_execute(struct run *run);
void run_free(struct run *run);

const char *run_id(const struct run *run);
/* From any thread: stop as soon as possible. The first reason counts. */
void run_stop(struct run *run, enum stop_reason why);

#endif
