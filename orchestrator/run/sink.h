/*
 * Where a run's event lines go: checked against the chain, persisted, shown. Lines are gathered and written in one statement per flush;
 * a line is shown to clients only after it is persisted, and RunCompleted only after the run's row says the run has ended.
 * The sink also gathers what the lines state (how the run ended, digests of the evidence files). One thread, the run's.
 * Source: design.md 4.4 and section 9; docs/formats/events.md.
 */
#ifndef ARP_ORCHESTRATOR_RUN_SINK_H
#define ARP_ORCHESTRATOR_RUN_SINK_H

#include <stdbool.h>
#include <stdint.h>

#include "orchestrator/http/feed.h"
#include "orchestrator/run/env.h"
#include "orchestrator/store/runs.h"
#include "shared/chain.h"
#include "shared/event.h"

/* What the accepted lines say. Strings are owned, NULL where no line said so. */
struct sink_facts {
    bool closed;   /* a RunCompleted is the last line */
    bool by_agent; /* and the agent wrote it */
    enum run_status status;
    char *error_message;
    char *reason;
    char *final_text;
    char *thread_id; /* as engines make them (run/request.h), else NULL */
    char *engine;    /* a known one, else NULL */
    char *git_commit;
    char *command_log_sha256;
    char *processes_sha256;
    char *outputs_sha256;
    char *env_sha256;
    char *diff_sha256;
    char *engine_sha256; /* of engine.jsonl */
    char *tree_before;
    char *tree_after;
    char *container_context;                   /* JSON text of the member, as ToolContext has it */
    uint64_t commands;                         /* RunCommandFinished lines */
    char command_log_head[SHA256_HEX_LEN + 1]; /* of the last of them, "" when there was none */
    uint64_t processes;                        /* RunProcess lines */
    char process_head[SHA256_HEX_LEN + 1];     /* of the last of them, "" when there was none */
};

struct sink {
    const struct run_env *env; /* borrowed */
    const char *user_id;       /* borrowed */
    const char *run_id;        /* borrowed */
    struct feed *feed;         /* borrowed; NULL when nobody can watch (recovery) */
    struct feed *also;         /* borrowed; of the workflow run whose step this is, NULL for none */
    uint64_t also_base;        /* position there of this run's first line */
    struct chain chain;        /* after the last accepted line */
    struct buf pending;        /* accepted lines that are not persisted yet, each with LF */
    uint64_t pending_first;    /* seq of the first of them */
    size_t pending_close;      /* offset of RunCompleted in pending; SIZE_MAX when it is not there */
    uint64_t bytes;            /* of all accepted lines with their LFs */
    struct buf held;           /* persisted RunCompleted that waits to be shown */
    struct sink_facts facts;
};

void sink_init(
    struct sink *s, const struct run_env *env, const char *user_id, const char *run_id, struct feed *feed);
void sink_done(struct sink *s);

/* Take up a chain that an earlier process began: read its persisted lines. Errors: those of run_events_read, ARP_E_CORRUPT. */
int sink_resume(struct sink *s, struct arp_err *err);

/* Accept one line of the agent (no LF). Errors: those of event_check; ARP_E_CORRUPT (a line after RunCompleted, a RunStarted);
 * ARP_E_TOO_LARGE (the whole log would be over LIMIT_EVENTS_BYTES, or have more than LIMIT_PROCESS_RECORDS lines of processes). */
int sink_agent_line(struct sink *s, const char *line, size_t len, struct arp_err *err);
/* Write the orchestrator's own lines: RunStarted at the start of a chain, ToolContext after it, RunCompleted where no agent closed it. */
int sink_write_started(struct sink *s, const char *project_id, const char *workspace_id, const char *prompt,
    const char *engine, struct arp_err *err);
/* ToolContext: the container the run is in. container_context: the object as JSON text. */
int sink_write_context(struct sink *s, const char *container_context, struct arp_err *err);
int sink_write_completed(
    struct sink *s, enum run_status status, const char *message, const char *reason, struct arp_err *err);

/* Persist what is pending, then show all of it but RunCompleted. Errors: ARP_E_CONFLICT (another process has taken the run over), those of
 * the store; after an error nothing more may be accepted. */
int sink_flush(struct sink *s, struct arp_err *err);
/* Show RunCompleted. Call it when the row says that the run has ended. */
void sink_show_end(struct sink *s);

#endif
