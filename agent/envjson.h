/*
 * env.json: what surrounded a run: git state before and after, which sandbox layers were applied, limits, environment, image and agent.
 * Pure writer on borrowed data. Format: docs/formats/env.md.
 */
#ifndef ARP_AGENT_ENVJSON_H
#define ARP_AGENT_ENVJSON_H

#include "agent/cmdenv.h"
#include "agent/engine.h"
#include "agent/layers.h"
#include "agent/metadata.h"
#include "agent/request.h"
#include "agent/snapshot.h"
#include "shared/buf.h"
#include "shared/err.h"

struct envjson_spec {
    const struct run_request *req;
    const struct snapshot_state *before, *after;
    const struct agent_info *info;
    const struct cmdenv *env;
    const struct sandbox_layers *layers; /* NULL: no command could be started */
    const struct seccomp_prog *seccomp;  /* NULL when it could not be compiled */
    const struct engine_info *engine;    /* NULL: the image does not have what was asked for */
};

/* Errors: ARP_E_NOMEM, ARP_E_TOO_LARGE. */
int envjson_write(const struct envjson_spec *spec, struct buf *out, struct arp_err *err);

#endif
