/*
 * Text of others on a terminal: bundles, servers and commands choose what is in it, so nothing in it may steer the terminal.
 */
#ifndef ARP_CLI_CLEAN_H
#define ARP_CLI_CLEAN_H

#include <stdbool.h>
#include <stdio.h>

/* Write text (NULL: nothing) with '?' for every control character (C0, DEL, C1), for the marks that reorder what is read, and for every
 * byte that is not UTF-8. lines: tab and LF stay. */
void put_clean(const char *text, bool lines, FILE *out);

#endif
