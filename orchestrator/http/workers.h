/*
 * A small pool of threads for what may block, with one bounded queue. Work items are embedded in their owner, so queueing never
 * allocates. Thread-safe.
 */
#ifndef ARP_HTTP_WORKERS_H
#define ARP_HTTP_WORKERS_H

#include <stdbool.h>
#include <stddef.h>

#include "shared/err.h"

struct workers;

struct work {
    /* cancelled: the pool was stopped before the item's turn; do what its owner needs and return at once. */
    void (*run)(struct work *w, bool cancelled);
    struct work *next; /* the pool's */
};

/* Start n_threads threads; at most queue_max items wait. Errors: ARP_E_NOMEM, ARP_E_IO (no thread). */
int workers_new(unsigned n_threads, size_t queue_max, struct workers **ret, struct arp_err *err);
/* Queue w; w->run will be called exactly once. Errors: ARP_E_UNAVAILABLE (queue full or pool stopped; run is not called). */
int workers_submit(struct workers *p, struct work *w, struct arp_err *err);
/* The same past the bound, for the next step of work that was admitted before (a stream's read); their number is bounded by the
 * connections. On a stopped pool run(w, true) is called on this thread. */
void workers_submit_admitted(struct workers *p, struct work *w);
/* Refuse new work, cancel what waits, let running items finish and join the threads. */
void workers_stop(struct workers *p);
/* Stops first if that was not done. */
void workers_free(struct workers *p);

#endif
