/*
 * Workflow runs as a client sees them: put a definition, start, watch, and judge a stream of all steps against what each step's run says of itself.
 */
#ifndef ARP_TESTS_SUPPORT_WORKFLOW_H
#define ARP_TESTS_SUPPORT_WORKFLOW_H

#include "tests/support/stack.h"
#include "tests/support/watch.h"

/* PUT /workflows/:key with these steps (JSON array). */
bool workflow_put(const struct stack *s, const struct tenant *t, const char *key, const char *steps);

/* POST /workflows/:key/runs in the tenant's project. members: more of the body, from its first comma on, or "". headers: as client_call.
 * Returns the status. */
long workflow_run(const struct stack *s, const struct tenant *t, const char *key, const char *members,
    const char *const *headers, struct reply *ret);
/* The same without waiting; the workflow run's id goes to ret_id. */
bool workflow_begin(
    const struct stack *s, const struct tenant *t, const char *key, const char *members, char ret_id[40]);
/* The same as a stream. */
struct watch *workflow_stream(
    const struct stack *s, const struct tenant *t, const char *key, const char *members);
/* Id of a streamed workflow run, from its first line; waits for that. */
bool workflow_id_of(struct watch *w, char ret_id[40]);
/* GET /workflow-runs/:id/events; after < -1: no position is named. */
struct watch *workflow_events(
    const struct stack *s, const struct tenant *t, const char *id, bool sse, long after);
/* GET /workflow-runs/:id until it has ended or the seconds are over. */
bool workflow_wait(
    const struct stack *s, const struct tenant *t, const char *id, int seconds, struct reply *ret);
/* Member of the step with that key in an answered workflow run; NULL: no such step, or null. */
const char *workflow_step(const struct reply *r, const char *step_key, const char *member);

/* Is sse, a whole body or the beginning of one, a right stream of the workflow run from its start? Positions without gaps, the run's own lines one
 * chain, after each start of a step all lines of that run byte for byte, each step's head the digest of its last line. ended: up to
 * WorkflowCompleted. false: why on standard error. */
bool workflow_stream_ok(
    const struct stack *s, const struct tenant *t, const char *id, const char *sse, bool ended);

#endif
