/*
 * Routes: see table.h.
 */
#include "orchestrator/routes/table.h"

#include "orchestrator/routes/handlers.h"
#include "shared/limits.h"

/* Bodies of everything but messages are a few short fields. */
#define SMALL_BODY 16384

const struct http_route route_table[] = {
    {"GET", "/healthz", HTTP_SCOPE_NONE, 0, HTTP_INLINE, route_healthz, "the process is up"},
    {"GET", "/readyz", HTTP_SCOPE_NONE, 0, HTTP_BLOCKING, route_readyz,
        "database and container engine answer"},
    {"GET", "/metrics", HTTP_SCOPE_NONE, 0, HTTP_BLOCKING, route_metrics,
        "Prometheus metrics (admin key when ARP_METRICS_PUBLIC=false)"},
    {"GET", "/.well-known/arp-keys.json", HTTP_SCOPE_NONE, 0, HTTP_BLOCKING, route_keys,
        "public keys for arpctl verify"},
    {"GET", "/.well-known/arp-allowed-signers", HTTP_SCOPE_NONE, 0, HTTP_BLOCKING, route_allowed_signers,
        "public keys for ssh-keygen -Y verify"},
    {"POST", "/users", HTTP_SCOPE_ADMIN, SMALL_BODY, HTTP_BLOCKING, route_user_create,
        "make a user and its first key"},
    {"GET", "/users/me", HTTP_SCOPE_READ, 0, HTTP_BLOCKING, route_user_me, "the key's user"},
    {"GET", "/usage", HTTP_SCOPE_READ, 0, HTTP_BLOCKING, route_usage, "runs used and left today"},
    {"POST", "/api-keys", HTTP_SCOPE_RUN, SMALL_BODY, HTTP_BLOCKING, route_key_create,
        "make a key; shown once"},
    {"GET", "/api-keys", HTTP_SCOPE_READ, 0, HTTP_BLOCKING, route_key_list,
        "keys of the user, without their secrets"},
    {"DELETE", "/api-keys/:id", HTTP_SCOPE_RUN, 0, HTTP_BLOCKING, route_key_revoke, "revoke a key"},
    {"POST", "/projects", HTTP_SCOPE_RUN, SMALL_BODY, HTTP_BLOCKING, route_project_create, "make a project"},
    {"GET", "/projects", HTTP_SCOPE_READ, 0, HTTP_BLOCKING, route_project_list,
        "projects, newest first, in pages"},
    {"GET", "/projects/:id", HTTP_SCOPE_READ, 0, HTTP_BLOCKING, route_project_get,
        "one project and its workspace"},
    {"DELETE", "/projects/:id", HTTP_SCOPE_RUN, 0, HTTP_BLOCKING, route_project_delete,
        "delete a project; its runs stay"},
    {"POST", "/projects/:id/open", HTTP_SCOPE_RUN, 0, HTTP_BLOCKING, route_project_open,
        "make the workspace warm"},
    {"POST", "/projects/:id/close", HTTP_SCOPE_RUN, 0, HTTP_BLOCKING, route_project_close,
        "make the workspace cold"},
    {"POST", "/projects/:id/message", HTTP_SCOPE_RUN, LIMIT_BODY, HTTP_BLOCKING, route_message,
        "run and wait for the result"},
    {"POST", "/projects/:id/message/stream", HTTP_SCOPE_RUN, LIMIT_BODY, HTTP_BLOCKING, route_message_stream,
        "run and stream its events (SSE)"},
    {"GET", "/projects/:id/runs", HTTP_SCOPE_READ, 0, HTTP_BLOCKING, route_run_list,
        "runs, newest first, in pages"},
    {"GET", "/workspaces", HTTP_SCOPE_READ, 0, HTTP_BLOCKING, route_workspace_list, "workspaces of the user"},
    {"POST", "/containers", HTTP_SCOPE_RUN, LIMIT_CONTAINER_BODY, HTTP_BLOCKING, route_container_create,
        "register a container"},
    {"GET", "/containers", HTTP_SCOPE_READ, 0, HTTP_BLOCKING, route_container_list,
        "containers, newest first, in pages"},
    {"GET", "/containers/:id", HTTP_SCOPE_READ, 0, HTTP_BLOCKING, route_container_get, "one container"},
    {"PATCH", "/containers/:id", HTTP_SCOPE_RUN, LIMIT_CONTAINER_BODY, HTTP_BLOCKING, route_container_change,
        "change a container"},
    {"DELETE", "/containers/:id", HTTP_SCOPE_RUN, 0, HTTP_BLOCKING, route_container_delete,
        "delete a container; running runs keep it"},
    {"GET", "/runs/:id", HTTP_SCOPE_READ, 0, HTTP_INLINE, route_run_get, "one run"},
    {"POST", "/runs/:id/cancel", HTTP_SCOPE_RUN, 0, HTTP_BLOCKING, route_run_cancel, "stop a run"},
    {"GET", "/runs/:id/events", HTTP_SCOPE_READ, 0, HTTP_BLOCKING, route_run_events,
        "events: JSON lines, or SSE with Last-Event-ID"},
    {"GET", "/runs/:id/evidence", HTTP_SCOPE_READ, 0, HTTP_BLOCKING, route_evidence_get,
        "the evidence bundle (zip)"},
    {"GET", "/workflow-runs/:id/evidence", HTTP_SCOPE_READ, 0, HTTP_BLOCKING, route_workflow_evidence_get,
        "the bundle of a workflow run (zip)"},
};
const size_t route_table_len = sizeof(route_table) / sizeof(route_table[0]);
