/*
 * What a run's files say of what was asked, told and run, counted anew: the auditor's own reading of the rules of docs/formats/reconciliation.md.
 * Internal to cli/. Shares with the recorder only which texts a command may have been asked by (shared/command_text.h) and the kinds of tools
 * (shared/model_tools.h).
 */
#ifndef ARP_CLI_RECOUNT_H
#define ARP_CLI_RECOUNT_H

#include "cli/checks.h"

/* More shell commands than these are beyond what the recorder counts. */
#define RECOUNT_ASKS_MAX 16384

struct recount {
    struct verify_reconciliation counts;
    uint64_t attempts, refused, edit_calls, side_calls;
    uint64_t outside; /* execs outside every command */
};

/* All chains of the bundle were walked and are sound. False: too much to count, or memory is too short; ret_reason says so (static). */
bool recount_make(const struct verification *v, struct recount *ret, const char **ret_reason);

#endif
