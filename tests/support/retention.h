/*
 * What tests of retention do and look at: passes, holds, pins, rows, files.
 */
#ifndef ARP_TESTS_SUPPORT_RETENTION_H
#define ARP_TESTS_SUPPORT_RETENTION_H

#include "tests/support/stack.h"

/* Run commands (JSON text) to their success and wait until the bundle is ready; the run's id goes to ret_id[40]. */
bool sealed_run(const struct stack *s, const struct tenant *t, const char *commands, char *ret_id);
/* Make the workspace cold. */
bool cool_workspace(const struct stack *s, const struct tenant *t);
/* POST /ops/gc, again while the pass of the start is in progress. Returns the status. */
long gc_pass(const struct stack *s, bool dry_run, struct reply *ret);
/* The same with a failure unless it answers 200; answers what "path" of the answer says, -1 when it says nothing. */
double gc_counts(const struct stack *s, bool dry_run, const char *path);

/* PUT (reason) or DELETE (NULL) /<what>/<id>/hold. Returns the status. */
long hold_call(const struct stack *s, const char *key, const char *what, const char *id, const char *reason);
/* POST /workspaces/:id/<pin or unpin>. Returns the status. */
long pin_call(const struct stack *s, const struct tenant *t, const char *verb);

/* A column, or expression, of the row as text; a static buffer of pg_sql. */
const char *bundle_column(const char *run_id, const char *column);
const char *workspace_column(const struct tenant *t, const char *column);
/* Wait until it is value; false when 30 s went by. */
bool bundle_wait(const char *run_id, const char *column, const char *value);
bool workspace_wait(const struct tenant *t, const char *column, const char *value);
/* Is the file there, beneath the evidence root? */
bool evidence_has(const struct stack *s, const char *name);
bool zip_exists(const struct stack *s, const char *run_id);

#endif
