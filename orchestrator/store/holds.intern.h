/*
 * Deciding under holds: for the store's own files only. A statement that deletes what a hold may cover does three things:
 *   1. lock the row (FOR UPDATE SKIP LOCKED) and, in the same SELECT, the owner's row in users (FOR SHARE SKIP LOCKED): who places a hold
 *      takes that row for itself and so waits for, or is passed over by, the collector;
 *   2. only then ask HOLDS_DECIDED, which sees holds that were committed meanwhile;
 *   3. change the row and append the line (store/custody.intern.h).
 * As one statement:
 *   WITH due AS MATERIALIZED (SELECT b.id FROM evidence_bundles b JOIN users u ON u.id = b.user_id WHERE b.status = 'ready' AND …
 *                             AND NOT HOLDS_SEEN("b.user_id", "b.project_id", "b.run_id") ORDER BY b.created_at, b.id LIMIT 200
 *                             FOR UPDATE OF b SKIP LOCKED FOR SHARE OF u SKIP LOCKED),
 *        gone AS (UPDATE evidence_bundles b SET status = 'deleted', … FROM due WHERE b.id = due.id
 *                 AND NOT HOLDS_DECIDED("b.user_id", "b.project_id", "b.run_id") RETURNING b.*)
 *   SELECT gone.id, CUSTODY_PURGED("gone", "$1", "$2") FROM gone
 * A null run asks for anything of the project: for workspaces, and for bundles of workflow runs.
 */
#ifndef ARP_ORCHESTRATOR_STORE_HOLDS_INTERN_H
#define ARP_ORCHESTRATOR_STORE_HOLDS_INTERN_H

/* Covered by a hold that is in force now, at the moment of this row (function held, migration 0008). */
#define HOLDS_DECIDED(user, project, run) "held(" user ", " project ", " run ")"

/* The same by the statement's own snapshot: cheap, for passing over what is held, never for deciding. */
#define HOLDS_SEEN(user, project, run)                                                                       \
    "EXISTS (SELECT 1 FROM holds h WHERE h.user_id = " user                                                  \
    " AND h.in_force AND (h.project_id IS NULL OR (h.project_id = " project " AND (h.run_id IS NULL OR " run \
    " IS NULL OR h.run_id = " run "))))"

#endif
