/*
 * Serve: the agent's HTTP endpoints on libmicrohttpd, one thread. Knows requests, tokens and streams; runs are the runner's.
 * Every request needs "Authorization: Bearer <token>"; errors are JSON from the table in shared/err.h. Routes: docs/AGENT.md.
 */
#ifndef ARP_AGENT_SERVE_H
#define ARP_AGENT_SERVE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "agent/relay.h"
#include "agent/runner.h"
#include "agent/workspace.h"
#include "shared/err.h"

/* Connections at once: the orchestrator needs three or four, and one for each model call whose answer is on its way, of which the relay has as many as
 * clients (64). */
#define SERVE_CONNECTIONS 96
/* A connection that neither sends nor takes bytes; a parked /run stream does not count. */
#define SERVE_IDLE_SECONDS 30

struct serve_config {
    uint16_t port;     /* 0 lets the kernel choose */
    const char *token; /* borrowed for the server's life */
    struct runner *runner;
    struct relay *relay; /* whose calls the orchestrator serves */
    const struct workspace *workspace;
    /* Refuses a peer before anything is read; peer_is_local, or a test's own. */
    bool (*refuse_peer)(const struct sockaddr *addr, socklen_t len);
};

struct server;

/* Bind and serve. Errors: ARP_E_IO, ARP_E_NOMEM. */
int serve_start(const struct serve_config *config, struct server **ret, struct arp_err *err);
uint16_t serve_port(const struct server *s);
/* Give the answer of GET /metadata; until then that route waits. text is copied. */
void serve_set_metadata(struct server *s, const char *text);
/* Stop listening and end all connections. The runner must be shut down before. Accepts NULL. */
void serve_stop(struct server *s);

#endif
