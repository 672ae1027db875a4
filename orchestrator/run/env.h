/*
 * What the parts of run/ work with: borrowed, made once by main and fixed for the life of the process.
 */
#ifndef ARP_ORCHESTRATOR_RUN_ENV_H
#define ARP_ORCHESTRATOR_RUN_ENV_H

#include "orchestrator/config.h"
#include "orchestrator/obs/metrics.h"
#include "orchestrator/runtime/workspace.h"
#include "orchestrator/secret.h"
#include "orchestrator/store/db.h"
#include "shared/uuid.h"

struct bundler;
struct collector;
struct gateway;
struct live;
struct warm;

struct run_env {
    const struct config *cfg;
    struct db *db;
    struct runtime *runtime;
    struct metrics *metrics;
    struct live *live;                        /* runs of this process that have not ended */
    struct warm *warm;                        /* workspaces: warming, cooling */
    struct bundler *bundler;                  /* woken when a run has ended */
    struct collector *collector;              /* retention */
    struct gateway *gateway;                  /* model calls of runs */
    struct secret_key secrets;                /* keys of providers are stored under it */
    char holder[UUID_LEN + 1];                /* this process start, as lease holder */
    unsigned char secret[RUNTIME_SECRET_LEN]; /* of the installation: agent tokens, bundle salts */
    char staging_root[4096];                  /* <EVIDENCE_ROOT>/staging */
    char model_root[4096];                    /* <EVIDENCE_ROOT>/model: ledgers of runs that have not ended */
};

#endif
