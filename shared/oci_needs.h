/*
 * What a seccomp profile must allow: the calls without which no command starts or ends as it should, each with its reason. Pure.
 */
#ifndef ARP_SHARED_OCI_NEEDS_H
#define ARP_SHARED_OCI_NEEDS_H

#include "shared/err.h"
#include "shared/oci_profile.h"

/* Errors: ARP_E_FIELD (details.field is path) naming the first call that is missing, and who needs it. */
int oci_needs_check(const struct oci_profile *p, const char *path, struct arp_err *err);

#endif
