/*
 * What a tenant is told about something of another tenant's: nothing that it isn't told about what never was. For the tests of every route.
 */
#ifndef ARP_TESTS_SUPPORT_PROBE_H
#define ARP_TESTS_SUPPORT_PROBE_H

#include <stdbool.h>

#include "tests/support/stack.h"

/* Send the request twice with key, once with the other tenant's id (or agent key) for every "$ID" in path and body (NULL: none), once with
 * one that names nothing. true when both answers have that status and are the same bytes, headers too, but for request id, date and the id
 * itself where it is repeated; else says on stderr what differs. */
bool probe_same(const struct stack *s, const char *key, const char *method, const char *path,
    const char *body, const char *foreign, const char *missing, long status);

#endif
