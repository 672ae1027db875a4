/*
 * Loop: one prompt given to the built-in engine (agent/builtin.h) as a run has it: its conversation comes from and goes to the volume, its lines to
 * engine.jsonl, its calls through the run's relay. The commands are the run's to execute. Run thread only.
 * Conversations lie in /workspace/engine/builtin, root's alone: what a model was told in an earlier run is no file of the workload's.
 */
#ifndef ARP_AGENT_LOOP_H
#define ARP_AGENT_LOOP_H

#include "agent/builtin.h"
#include "agent/engine.h"
#include "agent/evdir.h"
#include "agent/request.h"
#include "agent/workspace.h"
#include "shared/err.h"

/* Borrowed. */
struct loop_spec {
    const struct run_request *req;
    const struct workspace *workspace;
    struct relay *relay; /* open for this run */
    struct evdir *dir;
    int repo_fd;
    uid_t uid; /* of the workload */
    gid_t gid;
    int64_t deadline_ns;
    int cancel_fd;
    /* As in struct builtin_spec. */
    int (*idle)(void *ctx);
    int (*shell)(void *ctx, const char *command, int64_t timeout_ms, struct builtin_shell_result *ret,
        struct arp_err *err);
    void *ctx;
};

/* Do it. story: initialised; what came of it. ret_hex: digest of engine.jsonl.
 * Errors: ARP_E_NOT_FOUND (no conversation of that threadId), ARP_E_IO: the engine was not asked or its record is not whole. */
int loop_run(const struct loop_spec *spec, struct engine_story *story, char ret_hex[SHA256_HEX_LEN + 1],
    struct arp_err *err);

#endif
