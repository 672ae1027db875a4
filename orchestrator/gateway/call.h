/*
 * Call: one model call's life. It is judged, waits for a place, is asked of the provider (again, while nothing was handed on), its answer is uploaded to
 * the agent, and each attempt becomes a line of the ledger. Driven by turns, never from within a callback of libcurl. Gateway thread only.
 */
#ifndef ARP_ORCHESTRATOR_GATEWAY_CALL_H
#define ARP_ORCHESTRATOR_GATEWAY_CALL_H

#include "orchestrator/gateway/frames.h"
#include "orchestrator/gateway/run.h"

/* Copies what it needs of the frame and takes its body. run: borrowed. NULL: ARP_E_NOMEM in err. */
struct call *call_of_frame(struct gateway_run *run, const struct frame *f, struct arp_err *err);
uint64_t call_number(const struct call *c);
struct call *call_next(const struct call *c);
struct call **call_link(struct call *c);
/* Bytes of bodies that it keeps. */
size_t call_held(const struct call *c);

/* Do what is due. Returns when it wants its next turn, monotonic ns: 0 at once, INT64_MAX when something happens to its transfers. */
int64_t call_turn(struct call *c, int64_t now_ns);
/* The client left: its next turn ends the call. May be called from a callback. */
void call_gone(struct call *c);
/* End it now; what there was is recorded as cut. */
void call_abort(struct call *c);
bool call_is_over(const struct call *c);
/* Digests of a request take longer than its way to the provider: they are made while the provider thinks. prepares: it is judged, and they wait. */
bool call_prepares(const struct call *c);
void call_prepare(struct call *c);
void call_free(struct call *c);

#endif
