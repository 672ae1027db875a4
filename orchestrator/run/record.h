/*
 * The two documents that the orchestrator adds to a run's evidence: env_snapshot.json (also runs.env_snapshot) and metadata.json. They are
 * composed once, when the run ends, from what was accepted and checked; the bundler reads metadata.json back and asks nobody else, so a
 * bundle built again says the same. Formats: docs/formats/bundle.md.
 */
#ifndef ARP_ORCHESTRATOR_RUN_RECORD_H
#define ARP_ORCHESTRATOR_RUN_RECORD_H

#include "orchestrator/bundle/bundle.h"
#include "orchestrator/evidence/collect.h"
#include "orchestrator/evidence/reconcile.h"
#include "orchestrator/run/sink.h"
#include "orchestrator/store/runs.h"
#include "shared/buf.h"

/* Everything a finished run is described by. All borrowed. */
struct record {
    const struct run *run;                   /* ids, prompt, run_context, created_us, started_us */
    const char *project_name;                /* NULL: unknown */
    const char *runtime_metadata;            /* JSON text of the workspace row, NULL: unknown */
    const struct runtime_workspace *runtime; /* NULL: the run never had a container */
    const struct sink_facts *facts;
    const struct chain *events;             /* after the last line */
    struct reconcile_counts reconciliation; /* of an engine's run */
    const struct evidence_facts *evidence;  /* NULL while the run is in progress */
    int64_t finished_us;
};

/* Is it an engine's run, whose evidence has engine.jsonl, model_log.jsonl and reconciliation.json? As it was asked for: what the agent
 * says of its engine changes nothing about that. */
bool record_has_engine(const struct run *run);
/* The engine that ran: the one asked for, or the one the agent chose for ENGINE_AUTO. Borrowed. */
const char *record_engine(const struct record *r);
/* Append the JSON documents. Without evidence, env_snapshot is what is known at the start of a run. Errors: the buffer's. */
int record_env_snapshot(const struct record *r, struct buf *out, struct arp_err *err);
int record_metadata(const struct record *r, struct buf *out, struct arp_err *err);

/* metadata.json read back: in borrows its strings from doc. staging_dir and salt are borrowed too.
 * Errors: ARP_E_CORRUPT (not what record_metadata writes). */
struct record_doc {
    cJSON *root; /* owned; so is the next */
    char *container_context;
};
int record_read(
    const char *text, size_t len, struct record_doc *doc, struct bundle_input *in, struct arp_err *err);
void record_doc_done(struct record_doc *doc);

#endif
