/*
 * Client of the agent inside a workspace container. Everything that arrives is hostile: lines, counts and sizes are bounded, names
 * are checked, digests are computed here. Blocking calls on the caller's thread; a target may be used by several threads.
 * Protocol: design.md 4.3 and docs/AGENT.md.
 */
#ifndef ARP_ORCHESTRATOR_RUNTIME_AGENT_CLIENT_H
#define ARP_ORCHESTRATOR_RUNTIME_AGENT_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "orchestrator/runtime/http_call.h"
#include "shared/buf.h"
#include "shared/err.h"
#include "shared/hash.h"
#include "shared/limits.h"
#include "shared/uuid.h"

/* Where an agent answers. Copied by value. */
struct agent_target {
    char address[64];               /* "172.30.0.2:8811" */
    char token[SHA256_HEX_LEN + 1]; /* bearer token of this container; never logged */
    struct http_pool *pool; /* borrowed from the runtime, lives as long as it; NULL: a connection per call */
};

/* What GET /health said. */
struct agent_state {
    bool busy;                 /* a run is in progress */
    char run_id[UUID_LEN + 1]; /* of that run, "" when not busy */
};

/* Errors of all calls below unless said otherwise: ARP_E_AGENT (not reachable, refused us, broke off, answered nonsense),
 * ARP_E_TIMEOUT (answered too late). */
int agent_health(const struct agent_target *t, int timeout_ms, struct agent_state *ret, struct arp_err *err);
/* GET /metadata: appends one checked JSON object as the agent sent it; out->max bounds it too (LIMIT_METADATA is the ceiling). */
int agent_metadata(const struct agent_target *t, struct buf *out, struct arp_err *err);
/* 0 also when the agent runs no such run (any more): then there is nothing to cancel and *ret_found is false. */
int agent_cancel(const struct agent_target *t, const char *run_id, bool *ret_found, struct arp_err *err);

struct agent_run {
    const char *body; /* of POST /run, JSON; borrowed */
    size_t body_len;
    int silence_ms; /* no byte for this long: the agent is lost. Heartbeats come every 5 s; 30000 is the usual value */
    int64_t
        timeout_ms; /* whole call; a lying agent can send heartbeats for ever. Run timeout plus grace. > 0 */
    int cancel_fd;  /* readable = leave the run (which makes the agent cancel it); -1 for none */
    /* One line without LF, 1..LIMIT_LINE bytes, may hold any byte but LF. Non-zero (a negative code, err filled) leaves the run. */
    int (*on_line)(void *ctx, const char *line, size_t len, struct arp_err *err);
    /* All lines that have arrived by now were handed over: the moment to write them in one go. Return as on_line. */
    int (*on_pause)(void *ctx, struct arp_err *err);
    void *ctx;
};

/* Start a run and hand over its lines until the agent ends the stream. 0: the stream ended whole (whether the chain is closed is
 * for the caller to see). Errors: on_line's code; ARP_E_BUSY (409: a run is in progress or that run's evidence exists);
 * ARP_E_INVALID (400, the agent's words in err); ARP_E_AGENT (lost: not reachable, cut, silent, empty or unfinished line);
 * ARP_E_TOO_LARGE (line over LIMIT_LINE); ARP_E_TIMEOUT (timeout_ms); ARP_E_UNAVAILABLE (cancel_fd).
 * ret_started: false only when the agent can't have seen the request, so that it may be sent again. */
int agent_run(
    const struct agent_target *t, const struct agent_run *run, bool *ret_started, struct arp_err *err);

#define AGENT_EVIDENCE_NAME_MAX 96
/* As many entries as one run may leave: seven files, two blobs per command line, and some hundred artifacts. */
#define AGENT_EVIDENCE_FILES_MAX (2 * LIMIT_COMMAND_LINES + 512)

struct agent_evidence_file {
    char name[AGENT_EVIDENCE_NAME_MAX]; /* an allowed name, see agent_evidence_name_ok */
    uint64_t size_bytes;                /* the agent's claim */
    char sha256[SHA256_HEX_LEN + 1];    /* the agent's claim */
};

/* command_log.jsonl, processes.jsonl, outputs.json, events.jsonl, diff.patch, env.json, engine.jsonl or blobs/sha256-<64 lower-case hex>:
 * what an agent may leave. model_log.jsonl and reconciliation.json are the orchestrator's own. */
bool agent_evidence_name_ok(const char *name);
/* GET /evidence/:runId/. *ret: array of *ret_n, free(); no name twice. Errors: also ARP_E_NOT_FOUND (no evidence of that run),
 * ARP_E_INVALID (a name, size or digest that is not allowed, a name twice, too many), ARP_E_TOO_LARGE. */
int agent_evidence_list(const struct agent_target *t, const char *run_id, struct agent_evidence_file **ret,
    size_t *ret_n, struct arp_err *err);
/* GET /evidence/:runId/<name> into fd (appended at its offset). Stops at max_bytes. ret_sha256, ret_size: of what arrived.
 * Errors: also ARP_E_NOT_FOUND, ARP_E_TOO_LARGE (more than max_bytes), ARP_E_IO (write). */
int agent_evidence_fetch(const struct agent_target *t, const char *run_id, const char *name, int fd,
    uint64_t max_bytes, char ret_sha256[SHA256_HEX_LEN + 1], uint64_t *ret_size, struct arp_err *err);

#endif
