/*
 * The stream of a workflow run, read from the database: its own lines, and after each that starts a step all lines of that step's run, byte for
 * byte. A line's place in it is its position, without gaps, so one number is enough to resume. Any thread, one at a time.
 * Format: docs/formats/workflow.md.
 */
#ifndef ARP_ORCHESTRATOR_WORKFLOW_STREAM_H
#define ARP_ORCHESTRATOR_WORKFLOW_STREAM_H

#include <stddef.h>
#include <stdint.h>

#include "orchestrator/store/db.h"
#include "shared/buf.h"
#include "shared/err.h"

struct workflow_stream;

/* db is borrowed, ids are copied. NULL: out of memory. */
struct workflow_stream *workflow_stream_new(struct db *db, const char *user_id, const char *workflow_run_id);
/* Append the persisted lines that follow position after (-1: from the start), each with its LF; stop at about max_bytes, but give at least one
 * when there is one. Errors: ARP_E_NOT_FOUND, those of run_events_read, the buffer's. */
int workflow_stream_read(
    struct workflow_stream *s, int64_t after, size_t max_bytes, struct buf *out, struct arp_err *err);
void workflow_stream_free(struct workflow_stream *s); /* accepts NULL */

#endif
