/*
 * What every route handler gets as its context: borrowed parts, made once by main and fixed while the server runs.
 */
#ifndef ARP_ORCHESTRATOR_ROUTES_APP_H
#define ARP_ORCHESTRATOR_ROUTES_APP_H

#include "orchestrator/config.h"
#include "orchestrator/obs/metrics.h"
#include "orchestrator/run/env.h"
#include "orchestrator/seal/signer.h"
#include "orchestrator/store/db.h"
#include "orchestrator/store/pipeline.h"
#include "orchestrator/tenancy/auth.h"

struct app {
    const struct config *cfg;
    struct db *db;
    struct pipeline *pipeline;
    struct auth *auth;
    struct metrics *metrics;
    struct signer *signer;
    const struct run_env *env;
};

#endif
