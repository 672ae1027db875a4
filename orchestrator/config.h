/*
 * Configuration from the environment (design.md 10). One table in config.c (name, type, default, range, help, secret) gives the
 * struct below, --help, docs/CONFIG.md and the check at start. Immutable after loading.
 */
#ifndef ARP_ORCHESTRATOR_CONFIG_H
#define ARP_ORCHESTRATOR_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "shared/buf.h"
#include "shared/err.h"
#include "shared/log.h"

/* Where providers of models may be (run/provider_url.h). */
enum config_reach {
    CONFIG_REACH_PUBLIC,   /* https, public addresses */
    CONFIG_REACH_LOOPBACK, /* also this host, by http too */
    CONFIG_REACH_ANY       /* also private networks; http everywhere */
};

struct config {
    char *listen_address; /* numeric IPv4 or IPv6 */
    int64_t listen_port;  /* 0: the kernel chooses */
    char *database_url;   /* secret */
    char *docker_socket;
    char *workspace_image;
    char *artifacts; /* patterns as in "results/" and two stars, separated by commas */
    char *evidence_root;
    char *state_dir;
    char *migrations_dir;
    char *network;
    int64_t workspace_nano_cpus; /* 1e9 is one CPU */
    int64_t workspace_memory_mb; /* MiB */
    int64_t workspace_pids;
    int64_t idle_timeout_s;
    int64_t warm_workspaces_per_user;
    int64_t containers_per_user;
    int64_t agents_per_user;
    int64_t workflows_per_user;
    int64_t daily_run_limit;
    int64_t run_timeout_s;
    int64_t command_timeout_s;
    int64_t bundle_scan_s;
    int64_t workspace_cold_ttl_nano_days; /* 1e9 is one day */
    int64_t evidence_ttl_nano_days;       /* 1e9 is one day */
    int64_t gc_interval_s;
    int64_t lease_s;
    int64_t http_threads;
    int64_t worker_threads;
    int64_t db_connections;
    int64_t max_runs;
    char *secrets_key; /* secret: 64 hex digits; "" when there is none */
    enum config_reach provider_http;
    bool metrics_public;
    enum log_level log_level;
    int64_t shutdown_s;
};

/* Read env ("NAME=value" strings ended by NULL, such as environ) into ret; strings are copied. Names that begin with ARP_ and are
 * not in the table are refused; NAME_FILE gives a secret by file (one trailing line break is cut).
 * Errors: ARP_E_INVALID, the message names the variable and says why, never a secret's value. ret is then empty. */
int config_load(const char *const *env, struct config *ret, struct arp_err *err);
void config_done(struct config *c);

/* The table for --help, as plain text. */
void config_print_help(struct buf *out);
/* The whole text of docs/CONFIG.md. */
void config_print_markdown(struct buf *out);

#define cleanup_config __attribute__((cleanup(config_done)))

#endif
