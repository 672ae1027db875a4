/*
 * Lines of a collected log: the loops that all readers of them share. Pure functions.
 */
#ifndef ARP_ORCHESTRATOR_EVIDENCE_LINES_H
#define ARP_ORCHESTRATOR_EVIDENCE_LINES_H

#include <stdbool.h>
#include <stddef.h>

#include "shared/event.h"

/* The bytes of a file, or what is left of them; data of none may be NULL. Borrowed. */
struct log_text {
    const char *data;
    size_t len;
};

/* The next line, without LF; moves *rest behind it. A last line without LF counts too (*ret_ended false). NULL at the end. */
const char *lines_next(struct log_text *rest, size_t *ret_len, bool *ret_ended);

/* A set of types of events: those of runs are few. */
#define LINES_OF(type) (1u << (type))
/* The next event of one of those types in events.jsonl, whose lines were accepted one by one; moves *rest behind it. *ret: cJSON_Delete; NULL when
 * memory was too short to parse it. False at the end. */
bool lines_next_event(struct log_text *rest, unsigned types, enum event_type *ret_type, cJSON **ret);

#endif
