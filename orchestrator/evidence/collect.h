/*
 * Evidence ingestion: bring the files an agent left for a run out of the workspace into the orchestrator's own staging directory,
 * recomputing everything that can be recomputed. The orchestrator's own event stream is authoritative; the volume's copy is compared
 * with it. Nothing from the workspace is believed: allowed names only, bounded sizes and counts, digests and chains checked here.
 * A file that fails a check does not enter under its name: its bytes are kept as a blob (they are evidence too), its place is an empty
 * file, and a problem says why. Blocking calls on the caller's thread; different runs may be collected at the same time.
 * Layout: <staging_root>/<runId>/{metadata.json,env_snapshot.json,command_log.jsonl,processes.jsonl,outputs.json,events.jsonl,diff.patch,
 * blobs/…}, and of an engine's run (any engine but "shell") engine.jsonl, model_log.jsonl and reconciliation.json too;
 * a directory of that name is always whole (built as .tmp-<runId>, synced, renamed). Source: design.md 4.5 and section 8.
 */
#ifndef ARP_ORCHESTRATOR_EVIDENCE_COLLECT_H
#define ARP_ORCHESTRATOR_EVIDENCE_COLLECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "orchestrator/runtime/agent_client.h"
#include "shared/chain.h"
#include "shared/err.h"

/* What the orchestrator knows from the lines it accepted. All borrowed. Digests: hex with or without "sha256:"; NULL when the stream
 * did not get that far (then the file is checked by itself only and the evidence is not complete). */
struct evidence_expect {
    const char *events; /* the authoritative events.jsonl, each line LF-terminated */
    size_t events_len;
    const char *command_log_sha256; /* RunCompleted.commandLogSha256 */
    const char *processes_sha256;   /* RunCompleted.processesSha256 */
    const char *outputs_sha256;     /* RunCompleted.outputsSha256 */
    const char *env_sha256;         /* RunCompleted.envSha256 */
    const char *diff_sha256;        /* RunDiffReady.diffSha256 */
    bool engine;                    /* the run has an engine other than "shell" */
    const char *engine_sha256;      /* RunCompleted.engineSha256; NULL: the agent left no engine.jsonl */
    const char *model_root;         /* where ledgers are (evidence/model_files.h); NULL without an engine */
};

#define EVIDENCE_PROBLEMS_MAX    16
#define EVIDENCE_PROBLEM_MSG_MAX 256

struct evidence_facts {
    bool has_command_log;      /* present and passed every check */
    bool has_process_log;      /* the same */
    bool has_outputs_manifest; /* the same */
    bool has_diff;             /* the same; true also for the empty diff of a run that changed nothing */
    bool has_engine_log;       /* the same, of an engine's run; so is the next */
    bool has_model_log;        /* our own ledger was there and whole */
    bool volume_match;         /* the volume's events.jsonl is byte-identical to expect->events */
    bool complete;             /* all of the above, every expected digest known, no problem */
    /* Behind the last line of each log as it is staged; of an empty one at its start. */
    struct chain command_log, processes, model_log;
    bool has_diff_stats; /* outputs.json held a diffSummary: the three numbers below */
    int64_t files_changed;
    int64_t insertions;
    int64_t deletions;
    char *
        env_json; /* env.json as the agent wrote it: one JSON object that passed its checks, owned; NULL when there is none */
    size_t problem_count; /* of all problems; the first EVIDENCE_PROBLEMS_MAX are kept */
    char problems[EVIDENCE_PROBLEMS_MAX]
                 [EVIDENCE_PROBLEM_MSG_MAX]; /* for people; may quote the workspace: escape when printing */
};
/* Release what facts own. Accepts a zeroed struct. */
void evidence_facts_done(struct evidence_facts *f);

/* Collect run_id's evidence into <staging_root>/<run_id>/. Whatever the agent does, a whole staging directory results and 0 is
 * returned; what is missing or wrong stands in ret. Errors are our own only: ARP_E_IO (disk), ARP_E_NOMEM, ARP_E_INVALID (run_id is not
 * a UUID), ARP_E_CONFLICT (that run was collected before; nothing is changed). */
int evidence_collect(const struct agent_target *t, const char *run_id, const struct evidence_expect *expect,
    const char *staging_root, struct evidence_facts *ret, struct arp_err *err);
/* The same when there is no agent to ask: empty files beside the authoritative events; reason becomes the first problem. */
int evidence_collect_nothing(const char *run_id, const struct evidence_expect *expect,
    const char *staging_root, const char *reason, struct evidence_facts *ret, struct arp_err *err);

/* Write metadata.json, env_snapshot.json or reconciliation.json (no other name) durably into a collected run's staging directory; replaces an older one.
 * Errors: ARP_E_INVALID (name or run_id), ARP_E_NOT_FOUND (not collected), ARP_E_IO. */
int evidence_put(const char *staging_root, const char *run_id, const char *name, const void *bytes,
    size_t len, struct arp_err *err);
/* Remove a run's staging directory and any half-made one; 0 when there is none. Errors: ARP_E_INVALID, ARP_E_IO. */
int evidence_discard(const char *staging_root, const char *run_id, struct arp_err *err);

#endif
