/*
 * Route handlers, by the file that holds them. All are http_handler (orchestrator/http/router.h) with a struct app as context; what a route
 * takes and answers stands in docs/API.md. Thin: parse, call, render.
 */
#ifndef ARP_ORCHESTRATOR_ROUTES_HANDLERS_H
#define ARP_ORCHESTRATOR_ROUTES_HANDLERS_H

#include "orchestrator/http/router.h"

/* users.c */
http_handler route_user_create;
http_handler route_user_me;
http_handler route_key_create;
http_handler route_key_list;
http_handler route_key_revoke;
http_handler route_usage;

/* projects.c */
http_handler route_project_create;
http_handler route_project_list;
http_handler route_project_get;
http_handler route_project_delete;
http_handler route_project_open;
http_handler route_project_close;
http_handler route_workspace_list;

/* workspaces.c */
http_handler route_workspace_pin;
http_handler route_workspace_unpin;
http_handler route_workspace_delete;

/* containers.c */
http_handler route_container_create;
http_handler route_container_list;
http_handler route_container_get;
http_handler route_container_change;
http_handler route_container_delete;

/* agents.c */
http_handler route_agent_put;
http_handler route_agent_list;
http_handler route_agent_get;
http_handler route_agent_delete;
http_handler route_binding_put;
http_handler route_binding_get;
http_handler route_binding_delete;

/* providers.c */
http_handler route_provider_put;
http_handler route_provider_list;
http_handler route_provider_get;
http_handler route_provider_delete;

/* workflows.c */
http_handler route_workflow_put;
http_handler route_workflow_list;
http_handler route_workflow_get;
http_handler route_workflow_delete;

/* messages.c */
http_handler route_message;
http_handler route_message_stream;

/* runs.c */
http_handler route_run_list;
http_handler route_run_get;
http_handler route_run_events;
http_handler route_run_cancel;

/* workflow_runs.c */
http_handler route_workflow_run_start;
http_handler route_workflow_run_stream;
http_handler route_workflow_run_list;
http_handler route_workflow_run_get;
http_handler route_workflow_run_events;
http_handler route_workflow_run_cancel;

/* evidence.c */
http_handler route_evidence_get;
http_handler route_workflow_evidence_get;

/* holds.c */
http_handler route_run_hold;
http_handler route_run_release;
http_handler route_project_hold;
http_handler route_project_release;
http_handler route_user_hold;
http_handler route_user_release;
http_handler route_hold_list;

/* custody.c */
http_handler route_custody_get;
http_handler route_custody_note;
http_handler route_custody_days;

/* ops.c */
http_handler route_gc;
http_handler route_bundles_retry;
http_handler route_healthz;
http_handler route_readyz;
http_handler route_metrics;
http_handler route_keys;
http_handler route_allowed_signers;
http_handler route_openapi;

#endif
