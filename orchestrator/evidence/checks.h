/*
 * Checks of evidence files that came out of a workspace: pure functions on bytes, all hostile.
 * Formats: docs/formats/command_log.md, processes.md, outputs.md, env.md, chain.md.
 */
#ifndef ARP_ORCHESTRATOR_EVIDENCE_CHECKS_H
#define ARP_ORCHESTRATOR_EVIDENCE_CHECKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shared/chain.h"
#include "shared/err.h"
#include "shared/hash.h"
#include "shared/limits.h"

/* What the accepted events say about the command log: the hash of each of its lines, as streamed while the run went on, and whose line it is.
 * Commands are numbered as they start and their lines stand as they end: the k-th RunCommandFinished names the k-th line. 300 KiB: not for
 * a stack. */
struct check_heads {
    size_t n;       /* RunCommandFinished */
    size_t started; /* RunCommandStarted */
    char head[LIMIT_COMMAND_LINES][SHA256_HEX_LEN + 1];
    bool ended[LIMIT_COMMAND_LINES]; /* by command id */
    bool engine;                     /* command 0 is an engine's program: all processes of the run are its */
    bool closed;                     /* the agent closed the run itself: there can be no line more */
    const char *defect;              /* what is wrong with the ids, static; NULL: nothing */
};
/* Read them out of events.jsonl (RunCommandStarted and RunCommandFinished). Lines that say nothing of it are skipped; more than
 * LIMIT_COMMAND_LINES are not kept. closed is for the caller to set. */
void check_heads_read(const char *events, size_t len, struct check_heads *ret);

/* Chain, form and count of command_log.jsonl, each line against heads, the ids that the events give: each once, from 0. A run that broke off may have logged more
 * commands than it could stream: those lines are chained to what was streamed, and nothing vouches for them beyond that. *ret_end: behind its last line. Errors: ARP_E_CORRUPT, ARP_E_JSON, ARP_E_UTF8, ARP_E_TOO_LARGE. */
int check_command_log(const char *run_id, const char *bytes, size_t len, const struct check_heads *heads,
    struct chain *ret_end, struct arp_err *err);

/* What the accepted events say about processes.jsonl, which is read out of them line by line: a run may have many thousand. Borrowed. */
struct check_streamed {
    const char *events; /* events.jsonl, lines that were accepted one by one */
    size_t len;
    bool engine; /* as in struct check_heads, so is the next */
    bool closed;
};
/* Chain, members and count of processes.jsonl, their commands, what its exit lines refer to, and line k against the k-th RunProcess event. A run that broke
 * off may have recorded more than it could stream, as with commands. *ret_end: behind its last line.
 * Errors: ARP_E_CORRUPT, ARP_E_JSON, ARP_E_UTF8, ARP_E_TOO_LARGE (a line, or more than LIMIT_PROCESS_RECORDS), ARP_E_NOMEM. */
int check_processes(const char *run_id, const char *bytes, size_t len, const struct check_streamed *streamed,
    struct chain *ret_end, struct arp_err *err);

struct check_diff_stats {
    bool known;
    int64_t files_changed;
    int64_t insertions;
    int64_t deletions;
};
/* outputs.json: one object of this run, artifacts within LIMIT_ARTIFACTS. Errors: ARP_E_CORRUPT, ARP_E_JSON, ARP_E_UTF8. */
int check_outputs(
    const char *run_id, const char *bytes, size_t len, struct check_diff_stats *ret, struct arp_err *err);

/* env.json: one object of this run. Errors: ARP_E_CORRUPT, ARP_E_JSON, ARP_E_UTF8. */
int check_env(const char *run_id, const char *bytes, size_t len, struct arp_err *err);

#endif
