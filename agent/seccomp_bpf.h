/*
 * The way from a libseccomp context to BPF in memory, the same for our own profiles and for a caller's. Native ABI only: anything else
 * kills the process. For agent/seccomp*.c.
 */
#ifndef ARP_AGENT_SECCOMP_BPF_H
#define ARP_AGENT_SECCOMP_BPF_H

#include <linux/filter.h>
#include <seccomp.h>

#include "shared/err.h"

/* A context that compiles to a binary tree over the call numbers. NULL when out of memory; seccomp_release. */
scmp_filter_ctx seccomp_bpf_new(uint32_t default_action);
/* Compile into memory of our own (free ret->filter). Errors: ARP_E_UNSUPPORTED (over BPF_MAXINSNS, too), ARP_E_IO, ARP_E_NOMEM. */
int seccomp_bpf_export(scmp_filter_ctx ctx, struct sock_fprog *ret, struct arp_err *err);

#endif
