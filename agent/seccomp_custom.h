/*
 * A caller's OCI profile as a BPF program. Pure; any thread.
 */
#ifndef ARP_AGENT_SECCOMP_CUSTOM_H
#define ARP_AGENT_SECCOMP_CUSTOM_H

#include <linux/filter.h>

#include "shared/err.h"

/* Check and compile the profile. *ret: free ret->filter. *ret_unknown: names libseccomp does not know, which are ignored.
 * Errors: those of json_parse and oci_profile_parse; ARP_E_FIELD (too long for one program), ARP_E_IO, ARP_E_NOMEM. */
int seccomp_custom_compile(
    const char *json, struct sock_fprog *ret, unsigned *ret_unknown, struct arp_err *err);

#endif
