/*
 * Runs: admission under the quota, moves through the states, reading. Table runs. Conventions: store/db.h.
 * States: queued -> running -> succeeded | failed | timeout; queued -> failed. Cancelled runs are failed with reason "cancelled".
 */
#ifndef ARP_ORCHESTRATOR_STORE_RUNS_H
#define ARP_ORCHESTRATOR_STORE_RUNS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "orchestrator/store/db.h"
#include "shared/uuid.h"

enum run_status { RUN_QUEUED, RUN_RUNNING, RUN_SUCCEEDED, RUN_FAILED, RUN_TIMEOUT };
/* "queued", "running", "succeeded", "failed", "timeout". */
const char *run_status_name(enum run_status s);
bool run_status_final(enum run_status s);

struct run {
    char id[UUID_LEN + 1];
    char user_id[UUID_LEN + 1];
    char project_id[UUID_LEN + 1];
    char workspace_id[UUID_LEN + 1];
    enum run_status status;
    bool streaming;
    bool has_evidence; /* its bundle is ready */
    char *engine;
    char *thread_id;
    char *git_commit;
    char *image_name;
    char *image_digest;
    char *error_message;
    char *reason; /* "cancelled", "agent_lost", … */
    char *idempotency_key;
    char *model;                        /* asked for; NULL: the engine's own, or it calls none */
    char *provider;                     /* name */
    char *usage;                        /* JSON text of its model calls; NULL: none */
    char *agent_key;                    /* NULL for runs of before there were agents */
    char workflow_run_id[UUID_LEN + 1]; /* "" when the run is no step of a workflow */
    int64_t workflow_step;              /* place in its definition, from 0 */
    int64_t lease_epoch;
    int64_t created_us;
    int64_t started_us;
    int64_t finished_us;
    int64_t cancel_requested_us;
    /* not filled by lists */
    char *prompt;
    char *run_context;  /* canonical bytes */
    char *env_snapshot; /* JSON text as jsonb prints it; so is the next */
    char *container_context;
    char *legal_hold; /* the same: reason, since, by, scope; NULL when none is live */
    char *final_text;
    char *diff;
};
void run_done(struct run *r);
struct runs {
    struct run *v;
    size_t n;
};
void runs_done(struct runs *rs);

struct run_new {
    const char *id; /* NULL: the database makes one */
    const char *user_id;
    const char *project_id;
    bool streaming;
    const char *prompt;
    const char *engine;
    const char *run_context;
    const char *model; /* NULL: none; so for the next two */
    const char *provider;
    const char *thread_id;
    const char *idempotency_key; /* NULL: none */
    const char *container_id;    /* of the tenant's container, NULL: none */
    const char *agent_key;
    const char *workflow_run_id; /* whose step it is, NULL: none's */
    int64_t workflow_step;       /* place in its definition, from 0 */
};
struct run_admitted {
    char id[UUID_LEN + 1];
    char workspace_id[UUID_LEN + 1];
    int64_t created_us;
    bool earlier; /* the idempotency key was known: id is that run's, nothing was inserted or counted */
};
/* Admit a run: one statement takes one run of today's quota, notes the use of its container and inserts it as queued, with its empty event
 * chain, or does nothing.
 * Errors: ARP_E_NOT_FOUND (project), ARP_E_GONE (the container was deleted or has expired, or there is none), ARP_E_QUOTA (details limit, used,
 * resetsAt), ARP_E_CONFLICT (the idempotency key belongs to a run of another project or with another prompt; the id or the workflow's step has
 * its run already; the step is not running), ARP_E_INVALID, ARP_E_UTF8. */
int runs_admit(struct db *db, const struct run_new *n, struct run_admitted *ret, struct arp_err *err);

struct run_start {
    const char *image_name;
    const char *image_digest;      /* NULL when the engine has none */
    const char *env_snapshot;      /* JSON */
    const char *container_context; /* JSON */
    int64_t lease_epoch;           /* with which the workspace is locked for the run */
};
/* queued -> running. A step's container_context goes into its workflow run's metadata, as container_context.<step key>, in the same statement.
 * Errors: ARP_E_BUSY (the workspace's lock of that epoch was lost), ARP_E_CONFLICT (not queued any more; of a step that its workflow run does not have), ARP_E_INVALID (env_snapshot or container_context is not JSON, or the latter missing). */
int runs_set_started(
    struct db *db, const char *user_id, const char *id, const struct run_start *s, struct arp_err *err);

struct run_end {
    enum run_status status;    /* a final one */
    const char *error_message; /* NULL: none; so for all below */
    const char *reason;
    const char *git_commit;
    const char *final_text;
    const char *diff;
    const char *env_snapshot; /* JSON; NULL keeps what is stored */
    const char *thread_id;    /* NULL keeps what is stored; so for the next two */
    const char *engine;       /* that ran: the one asked for, or what "auto" was */
    const char *usage;        /* JSON */
    const char *
        container_context; /* JSON, for a run that was cut off between its ToolContext and its start; what is stored is kept */
};
/* Move a run that has not ended to its end and insert its evidence row (pending), close its event chain and note the use of its container, in one statement. ret_moved: false when it had ended
 * before: then nothing was changed. Errors: ARP_E_NOT_FOUND, ARP_E_INVALID, ARP_E_UTF8. */
int runs_finish(struct db *db, const char *user_id, const char *id, const struct run_end *e, bool *ret_moved,
    struct arp_err *err);

/* Errors: ARP_E_NOT_FOUND. */
int runs_get(struct db *db, const char *user_id, const char *id, struct run *ret, struct arp_err *err);
/* The run that an idempotency key was used for. Errors: ARP_E_NOT_FOUND (new key). */
int runs_find_by_key(
    struct db *db, const char *user_id, const char *idempotency_key, struct run *ret, struct arp_err *err);
/* The engine of the newest ended run of the project that was of that thread and whose engine is known; free(). Errors: ARP_E_NOT_FOUND. */
int runs_find_thread(struct db *db, const char *user_id, const char *project_id, const char *thread_id,
    char **ret_engine, struct arp_err *err);
/* runs_get through the pipeline. done runs once, on the pipeline's thread, and must not block; run is lent until it returns (NULL unless
 * code is 0). Errors at once, and then done is not called: ARP_E_NOT_FOUND (id is no UUID), ARP_E_NOMEM, ARP_E_UNAVAILABLE (closing). */
struct pipeline;
typedef void runs_get_fn(void *ctx, const struct run *run, int code, const struct arp_err *err);
int runs_get_async(struct pipeline *p, const char *user_id, const char *id, runs_get_fn *done, void *ctx,
    struct arp_err *err);

/* Runs of a project, newest first, at most limit, after cursor (NULL: from the start).
 * Errors: ARP_E_NOT_FOUND (project), ARP_E_FIELD (cursor). */
int runs_list(struct db *db, const char *user_id, const char *project_id, unsigned limit, const char *cursor,
    struct runs *ret, struct arp_err *err);
/* Note the wish; who drives the run acts on it. Idempotent. Errors: ARP_E_NOT_FOUND, ARP_E_CONFLICT (has ended). */
int runs_request_cancel(struct db *db, const char *user_id, const char *id, struct arp_err *err);
/* System: runs that have not ended and whose workspace lease is expired or absent: their orchestrator is gone. Only runs
 * older than min_age_ms, so that one just admitted, whose lease is about to be taken, is left alone. Oldest first, behind after (NULL: from the start;
 * its id and created_us count), so that those that can't be ended don't hide the others. */
int runs_orphans(struct db *db, int64_t min_age_ms, unsigned limit, const struct run *after, struct runs *ret,
    struct arp_err *err);

#endif
