/*
 * Runs of this process that have not ended: where a request finds the live feed of a run, asks for its cancellation or waits for its end.
 * Workflow runs that this process drives are here too, each beside the run of its current step.
 * A struct live_run is reference-counted; the run's thread holds one reference, the registry one, every finder one. Thread-safe.
 */
#ifndef ARP_ORCHESTRATOR_RUN_LIVE_H
#define ARP_ORCHESTRATOR_RUN_LIVE_H

#include <stdbool.h>

#include "orchestrator/http/feed.h"
#include "orchestrator/runtime/agent_client.h"
#include "shared/err.h"

struct live;
struct live_run;

/* max_runs: how many may be live at once. NULL: out of memory. */
struct live *live_new(unsigned max_runs);
/* No run may be live. */
void live_free(struct live *l);

/* Reserve a place before a run is admitted; live_add uses it, live_unreserve gives it back. Errors: ARP_E_UNAVAILABLE (full or stopping). */
int live_reserve(struct live *l, struct arp_err *err);
void live_unreserve(struct live *l);
/* A place for the run of a workflow's step: never refused, for its workflow run was admitted and has one run at a time. */
void live_reserve_step(struct live *l);
/* Hold up admissions under the same idempotency key (of one user) until live_admission_end: who comes second finds the first one's run.
 * Keys share locks by hash; a collision costs a short wait. */
void live_admission_begin(struct live *l, const char *user_id, const char *key);
void live_admission_end(struct live *l, const char *user_id, const char *key);
/* Another server can't be held up: who was refused pauses here and looks again for the run that came first. False at live_stop, and when it was
 * looked for long enough. *looks: 0 before the first pause. */
bool live_admission_again(struct live *l, int *looks);
/* Register a run under a reserved place; the caller gets a reference. Errors: ARP_E_NOMEM, ARP_E_IO (timerfd); the place stays reserved. */
int live_add(
    struct live *l, const char *user_id, const char *run_id, struct live_run **ret, struct arp_err *err);
/* The same for a workflow run; its feed counts positions. */
int live_add_workflow(struct live *l, const char *user_id, const char *workflow_run_id, struct live_run **ret,
    struct arp_err *err);
/* For a workflow run's thread: the run of its current step (a reference is taken), which is cancelled with it, at once when that was asked
 * for before. NULL: none any more. */
void live_set_step(struct live_run *r, struct live_run *step);
/* The run has ended and its row says so: end the feed, call the waiters, take it out of the registry, free the place. */
void live_end(struct live *l, struct live_run *r);

/* A reference to a live run of that user, or NULL. */
struct live_run *live_find(struct live *l, const char *user_id, const char *run_id);
struct live_run *live_find_workflow(struct live *l, const char *user_id, const char *workflow_run_id);
struct live_run *live_ref(struct live_run *r);
void live_unref(struct live_run *r);

struct feed *live_feed(struct live_run *r); /* borrowed */

/* Call fn(ctx) once when the run has ended: on the run's thread, or at once when it has ended already. Errors: ARP_E_NOMEM (fn is not called). */
int live_on_end(struct live_run *r, void (*fn)(void *ctx), void *ctx, struct arp_err *err);

/* Wait until live_end of r is through. */
void live_wait_end(struct live *l, struct live_run *r);

/* A run of this process that could not be finished, and why (static text, as in RunCompleted.reason): recovery will end it, here or
 * elsewhere, and should say what happened rather than guess. The last few are remembered. */
void live_note_lost(struct live *l, const char *run_id, const char *reason);
/* That reason, NULL when this process did not lose the run. */
const char *live_lost_reason(struct live *l, const char *run_id);

/* Ask the run to stop: tell its agent, and give up on the agent after a grace of 10 s. Idempotent; may block on the agent's answer. */
void live_cancel(struct live_run *r);
/* For the run's thread: the agent that may be told; false when cancellation was asked for before, so the run must not start. */
bool live_set_target(struct live_run *r, const struct agent_target *t);
bool live_cancelled(struct live_run *r);
/* Readable once the agent was given up on. */
int live_cancel_fd(const struct live_run *r);

/* Shutdown: refuse new runs; wait up to wait_ms for the live ones; then cancel what is left and wait for it. */
void live_stop(struct live *l, int wait_ms);
unsigned live_count(struct live *l);
/* live_stop was called: work that can wait for the next start should. */
bool live_stopping(struct live *l);
/* Wait for ms, or until live_stop is called: false then. */
bool live_pause(struct live *l, int ms);

#endif
