/*
 * Keyset page positions: the (created_at, id) of the last row seen, as opaque text "<microseconds>.<uuid>" for clients.
 */
#ifndef ARP_ORCHESTRATOR_STORE_CURSOR_H
#define ARP_ORCHESTRATOR_STORE_CURSOR_H

#include <stdint.h>

#include "shared/err.h"
#include "shared/uuid.h"

#define CURSOR_LEN (20 + 1 + UUID_LEN) /* without the terminator */

struct cursor {
    int64_t created_us;
    char id[UUID_LEN + 1];
};

/* NULL or "": the start (newest row). Errors: ARP_E_FIELD (details.field "cursor"). */
int cursor_parse(const char *text, struct cursor *ret, struct arp_err *err);
void cursor_format(int64_t created_us, const char *id, char ret[CURSOR_LEN + 1]);

#endif
