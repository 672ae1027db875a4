/*
 * The seccomp profile of the workspace container itself, in place of the engine's default: an errno of that one would be stricter than
 * the agent's notification and hide from the record what commands tried. It lets through what the agent's own programs let through
 * or refuse (shared/seccomp_names.h, so the two can't drift apart) and nothing else; the agent itself, which alone runs without those
 * programs, is held by its few capabilities. Same bytes every time. Pure; any thread.
 */
#ifndef ARP_ORCHESTRATOR_RUNTIME_CONTAINER_SECCOMP_H
#define ARP_ORCHESTRATOR_RUNTIME_CONTAINER_SECCOMP_H

#include "shared/buf.h"
#include "shared/err.h"

/* 6 KiB, room for twice the names. */
#define CONTAINER_SECCOMP_MAX (16u << 10)

/* Append the profile as the engine takes it after "seccomp=" (Docker's dialect of the OCI object). Errors: those of out. */
int container_seccomp_write(struct buf *out, struct arp_err *err);

#endif
