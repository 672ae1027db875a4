/*
 * Keys: the names by which users address their agents and workflows, in URLs and in requests.
 */
#ifndef ARP_ORCHESTRATOR_STORE_KEY_H
#define ARP_ORCHESTRATOR_STORE_KEY_H

#include <stdbool.h>

#define KEY_MAX 128

/* [A-Za-z0-9][A-Za-z0-9._-]{0,127}; nothing else names anything. */
bool key_ok(const char *key);

#endif
