/*
 * Pipeline: hot single-row reads without a waiting thread. One thread owns a few libpq connections in pipeline mode and sends what
 * was submitted since it last looked as one batch; answers call back on that thread. A read costs
 * a third of the pool's CPU (6 instead of 17 us, client side, 32 in flight).
 * Only for statements that read: a batch is one implicit transaction, and what an error in it aborted is sent again.
 * A broken connection fails what was in flight on it with ARP_E_DATABASE and is opened again; while none can be opened, submitted work fails
 * the same way. Submitting statements is for the store's own files (pipeline.intern.h); others call runs_get_async and its like.
 */
#ifndef ARP_ORCHESTRATOR_STORE_PIPELINE_H
#define ARP_ORCHESTRATOR_STORE_PIPELINE_H

#include "shared/err.h"

struct pipeline;

/* Start the thread; conns: 1 or 2 (a second one uses a second server process). Connects in the background. Errors: ARP_E_INVALID (url), ARP_E_IO. */
int pipeline_open(const char *url, unsigned conns, struct pipeline **ret, struct arp_err *err);
/* Fail what is still waiting (ARP_E_UNAVAILABLE), stop the thread. No other thread may still be submitting. NULL is fine. */
void pipeline_close(struct pipeline *p);

static inline void pipeline_close_ptr(struct pipeline **p)
{
    pipeline_close(*p);
}
#define cleanup_pipeline __attribute__((cleanup(pipeline_close_ptr)))

#endif
