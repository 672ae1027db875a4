/*
 * Layers: what a launcher has on, read back from the kernel, and how the documents name it (command_log.jsonl, env.json, metadata).
 */
#ifndef ARP_AGENT_LAYERS_H
#define ARP_AGENT_LAYERS_H

#include <stdbool.h>
#include <stdint.h>

#include "shared/json.h"

/* Layers every command gets, as read back from the kernel. */
struct sandbox_layers {
    bool uid, capabilities, bounding_set, no_new_privs, rlimits, landlock, seccomp;
    /* Of engine runs: no TCP connection but to the relay's port, no datagrams. */
    bool gateway_only;
    int landlock_abi; /* of the kernel; 0: it has none */
    uint64_t cap_effective, cap_bounding;
    unsigned seccomp_mode;
    unsigned launcher_uid;
};

/* Names of the layers that are on, as an array value; NULL writes an empty one. */
void sandbox_layers_put(struct json *j, const struct sandbox_layers *layers);
/* The member "recorder": what is recorded of processes under these layers on this kernel. */
void sandbox_recorder_put(struct json *j, const struct sandbox_layers *layers);

#endif
