/*
 * Pipeline: hot single-row reads without a waiting thread. One thread owns a few libpq connections in pipeline mode and sends what
 * was submitted since it last looked as one batch; answers call back on that thread. Measured against the pool in docs of bench/.
 * Only for statements that read: a batch is one implicit transaction, and what an error in it aborted is sent again.
 * A broken connection fails what was in flight on it with ARP_E_DATABASE and is opened again; while none can be opened, submitted work fails
 * the same way. Statements: store/sql.h.
 */
#ifndef ARP_ORCHESTRATOR_STORE_PIPELINE_H
#define ARP_ORCHESTRATOR_STORE_PIPELINE_H

#include <libpq-fe.h>

#include "shared/err.h"

struct pipeline;
struct sql;
struct sql_args;

/* Start the thread; conns: 1 or 2 (a second one uses a second server process). Connects in the background. Errors: ARP_E_INVALID (url), ARP_E_IO. */
int pipeline_open(const char *url, unsigned conns, struct pipeline **ret, struct arp_err *err);
/* Fail what is still waiting (ARP_E_UNAVAILABLE), stop the thread. No other thread may still be submitting. NULL is fine. */
void pipeline_close(struct pipeline *p);

/* res: the rows, lent until the callback returns; NULL unless code is 0. */
typedef void pipeline_fn(void *ctx, const PGresult *res, int code, const struct arp_err *err);
/* Queue one execution of q (which must only read). Arguments are copied. Any thread. When this fails, done is not called.
 * Errors: ARP_E_NOMEM, ARP_E_UNAVAILABLE (closing). */
int pipeline_submit(struct pipeline *p, const struct sql *q, const struct sql_args *a, pipeline_fn *done,
    void *ctx, struct arp_err *err);

static inline void pipeline_close_ptr(struct pipeline **p)
{
    pipeline_close(*p);
}
#define cleanup_pipeline __attribute__((cleanup(pipeline_close_ptr)))

#endif
