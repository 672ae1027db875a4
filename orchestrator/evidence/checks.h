/*
 * Checks of evidence files that came out of a workspace: pure functions on bytes, all hostile.
 * Formats: docs/formats/command_log.md, processes.md, outputs.md, env.md, chain.md.
 */
#ifndef ARP_ORCHESTRATOR_EVIDENCE_CHECKS_H
#define ARP_ORCHESTRATOR_EVIDENCE_CHECKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shared/err.h"
#include "shared/hash.h"
#include "shared/limits.h"

/* What the accepted events say about the command log: the hash of each of its lines, as streamed while the run went on. */
struct check_heads {
    size_t n;
    char head[LIMIT_COMMANDS][SHA256_HEX_LEN + 1];
    bool closed; /* the agent closed the run itself: there can be no line more */
};
/* Read the heads out of events.jsonl (RunCommandFinished.commandLogHead). Lines that say nothing of it are skipped; more than
 * LIMIT_COMMANDS are not kept. closed is left alone. */
void check_heads_read(const char *events, size_t len, struct check_heads *ret);

/* Chain, form and count of command_log.jsonl, and each line against heads. A run that broke off may have logged more
 * commands than it could stream: those lines are chained to what was streamed, and nothing vouches for them beyond that. *ret_lines: its lines. Errors: ARP_E_CORRUPT, ARP_E_JSON, ARP_E_UTF8, ARP_E_TOO_LARGE. */
int check_command_log(const char *run_id, const char *bytes, size_t len, const struct check_heads *heads,
    uint64_t *ret_lines, struct arp_err *err);

/* What the accepted events say about processes.jsonl, which is read out of them line by line: a run may have many thousand. Borrowed. */
struct check_streamed {
    const char *events; /* events.jsonl, lines that were accepted one by one */
    size_t len;
    bool closed; /* as in struct check_heads */
};
/* Chain, members and count of processes.jsonl, what its exit lines refer to, and line k against the k-th RunProcess event. A run that broke
 * off may have recorded more than it could stream, as with commands. *ret_lines: its lines.
 * Errors: ARP_E_CORRUPT, ARP_E_JSON, ARP_E_UTF8, ARP_E_TOO_LARGE (a line, or more than LIMIT_PROCESS_RECORDS), ARP_E_NOMEM. */
int check_processes(const char *run_id, const char *bytes, size_t len, const struct check_streamed *streamed,
    uint64_t *ret_lines, struct arp_err *err);

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
