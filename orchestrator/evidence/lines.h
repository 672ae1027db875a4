/*
 * Lines of a collected log: the one loop that all readers of them share. Pure function.
 */
#ifndef ARP_ORCHESTRATOR_EVIDENCE_LINES_H
#define ARP_ORCHESTRATOR_EVIDENCE_LINES_H

#include <stdbool.h>
#include <stddef.h>

/* The line at *p, without LF; moves *p behind it. A last line without LF counts too (*ret_ended false). NULL at the end. */
const char *lines_next(const char **p, const char *end, size_t *ret_len, bool *ret_ended);

#endif
