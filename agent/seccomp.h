/*
 * Seccomp profiles of commands, compiled once per process life to two BPF programs each and then only loaded.
 *   policy  allow-list; default ENOSYS so that a libc falls back when it meets a call it may not use; calls that are dangerous by
 *           name answer EPERM; a foreign ABI (i386, x32) kills the process.
 *   args    default allow; rules that look at arguments (clone flags, ioctl requests, socket families, prctl options …), in a
 *           second program because libseccomp can't say "allow ioctl except these three" in an allow-list.
 * A program is immutable after creation and may be used by any thread, also between fork and exec.
 * What each profile refuses: docs/AGENT.md, "Seccomp profiles".
 */
#ifndef ARP_AGENT_SECCOMP_H
#define ARP_AGENT_SECCOMP_H

#include <linux/filter.h>

#include "shared/err.h"
#include "shared/hash.h"

enum seccomp_profile { SECCOMP_DEFAULT, SECCOMP_NO_NETWORK, SECCOMP_STRICT, SECCOMP_PROFILES };

struct seccomp_prog {
    struct sock_fprog policy;
    struct sock_fprog args;
    char sha256[SHA256_HEX_LEN + 1]; /* of the instructions of policy, then args, as loaded */
};

/* "default", "no-network", "strict". */
const char *seccomp_profile_name(enum seccomp_profile p);
/* Errors: ARP_E_FIELD ("sandboxProfile") for another name. */
int seccomp_profile_of(const char *name, enum seccomp_profile *ret, struct arp_err *err);

/* Compile a profile for this machine's native ABI. *ret is owned by the caller. Errors: ARP_E_UNSUPPORTED, ARP_E_IO, ARP_E_NOMEM. */
int seccomp_compile(enum seccomp_profile p, struct seccomp_prog **ret, struct arp_err *err);
void seccomp_prog_free(struct seccomp_prog *p);

/* Load both programs into the calling thread, which must have no_new_privs. Async-signal-safe. 0 or an errno. */
int seccomp_load_prog(const struct seccomp_prog *p);

#endif
