/*
 * A watcher: one API call on a thread of its own whose answer is looked at while it arrives. For streams, for requests that wait, and for
 * many requests at once.
 */
#ifndef ARP_TESTS_SUPPORT_WATCH_H
#define ARP_TESTS_SUPPORT_WATCH_H

#include "tests/support/client.h"
#include "tests/support/stack.h"

struct watch;

/* Start the call; strings are copied. body, headers ("Name: value" …, NULL-terminated): NULL for none. */
struct watch *watch_start(const struct stack *s, const char *key, const char *method, const char *path,
    const char *body, const char *const *headers);
/* Wait until the body received so far contains text; false when the call ended, or 60 s passed, without it. */
bool watch_until(struct watch *w, const char *text);
/* A copy of the body received so far (free()). */
char *watch_text(struct watch *w);
/* True when the call has ended. */
bool watch_ended(struct watch *w);
/* Drop the connection from our side at the next byte that arrives, or now when the call has ended. */
void watch_leave(struct watch *w);
/* Wait for the call's end and release w. The answer into *ret (replaced). Returns its status. */
long watch_join(struct watch *w, struct reply *ret);

/* n equal calls at once; statuses into ret_status[0..n), answers into ret[0..n) (each reply_done by the caller). */
void watch_many(const struct stack *s, const char *key, const char *method, const char *path,
    const char *body, const char *const *headers, unsigned n, struct reply *ret);

#endif
