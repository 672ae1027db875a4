/*
 * What a workspace container must be: written as the engine's create request, and compared with what the engine says it made
 * (engines drop settings they cannot apply without an error). Both halves stand together so that they cannot drift apart.
 * Pure functions on borrowed data. Source: design.md section 7 (container), section 12 (readback).
 */
#ifndef ARP_ORCHESTRATOR_RUNTIME_CONTAINER_SPEC_H
#define ARP_ORCHESTRATOR_RUNTIME_CONTAINER_SPEC_H

#include <cjson/cJSON.h>
#include <stdint.h>

#include "shared/buf.h"
#include "shared/err.h"

#define CONTAINER_AGENT_PORT 8811

#define LABEL_INSTANCE  "arp.instance"
#define LABEL_WORKSPACE "arp.workspace"
/* Only on containers of a tenant's environment. */
#define LABEL_ENVIRONMENT "arp.environment"

/* All borrowed. */
struct container_spec {
    const char *image_id;   /* what the container is made from: an id, so that a moved tag changes nothing */
    const char *image_name; /* as configured; told to the agent */
    const char *image_digest; /* "sha256:<hex>"; told to the agent */
    const char *token;        /* agent's bearer token */
    const char *instance_id;
    const char *workspace_id;
    const char *volume_name; /* mounted at /workspace */
    const char *network_name;
    int64_t nano_cpus;
    int64_t memory_bytes;
    int64_t pids_limit;
    const char *environment_id; /* of a tenant's environment; NULL: the server's own */
};

/* Append the body of POST /containers/create to out. */
int container_spec_write(const struct container_spec *spec, struct buf *out, struct arp_err *err);

/* Compare an inspect answer with spec: image, token, labels, capabilities, no-new-privileges, seccomp, read-only root, memory, CPU,
 * processes, namespaces, mounts, devices, network. The first difference is the error (ARP_E_CONFLICT, in words; never the token). */
int container_spec_check(const struct container_spec *spec, const cJSON *inspect, struct arp_err *err);

/* Append the settings the engine reports as one JSON object (see runtime_workspace.applied). */
int container_spec_report(const cJSON *inspect, struct buf *out, struct arp_err *err);

#endif
