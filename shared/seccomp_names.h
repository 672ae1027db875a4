/*
 * System calls by name: the one table from which the agent compiles its programs (agent/seccomp.c) and the orchestrator writes the
 * container's own profile (orchestrator/runtime/container_seccomp.c), so that what the agent wants to hear of reaches it. The allow-list
 * is what an ordinary program needs and what Docker's default profile grants a container without capabilities, minus what is denied.
 * Each list ends with NULL; no name stands in two. personality(2) is in none: it is allowed by value.
 */
#ifndef ARP_SHARED_SECCOMP_NAMES_H
#define ARP_SHARED_SECCOMP_NAMES_H

/* This machine's ABI as OCI profiles call it. */
#if defined(__x86_64__)
#define SECCOMP_NATIVE_ARCH "SCMP_ARCH_X86_64"
#elif defined(__aarch64__)
#define SECCOMP_NATIVE_ARCH "SCMP_ARCH_AARCH64"
#endif

/* Allowed everywhere; some are looked at by argument. */
extern const char *const seccomp_names_allowed[];
/* Allowed by "default" and "no-network", refused by "strict". */
extern const char *const seccomp_names_lenient[];
/* Refused in every profile. */
extern const char *const seccomp_names_denied[];

#endif
