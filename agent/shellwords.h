/*
 * Shell words: what a list of arguments looks like on one line, and which of a shell's arguments is the command it was given.
 */
#ifndef ARP_AGENT_SHELLWORDS_H
#define ARP_AGENT_SHELLWORDS_H

#include <stddef.h>

#include "shared/buf.h"

/* Append argv so that a POSIX shell would read exactly it. Errors: of out. */
void shellwords_quote(struct buf *out, char *const *argv, size_t argc);
/* argv of a shell (bash, dash): the index of the command behind -c, as the shell itself would find it ("-lc TEXT", "-c -l TEXT",
 * "-o pipefail -c TEXT"); 0 when it has none. */
size_t shellwords_command(char *const *argv, size_t argc);

#endif
