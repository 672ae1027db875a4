/*
 * Submitting statements to the pipeline: for the store's own files only. Threads and failures: pipeline.h.
 */
#ifndef ARP_ORCHESTRATOR_STORE_PIPELINE_INTERN_H
#define ARP_ORCHESTRATOR_STORE_PIPELINE_INTERN_H

#include "orchestrator/store/pipeline.h"
#include "orchestrator/store/sql.h"

/* res: the rows, lent until the callback returns; NULL unless code is 0. */
typedef void pipeline_fn(void *ctx, const PGresult *res, int code, const struct arp_err *err);
/* Queue one execution of q (which must only read). Arguments are copied. Any thread. When this fails, done is not called.
 * Errors: ARP_E_NOMEM, ARP_E_UNAVAILABLE (closing). */
int pipeline_submit(struct pipeline *p, const struct sql *q, const struct sql_args *a, pipeline_fn *done,
    void *ctx, struct arp_err *err);

#endif
