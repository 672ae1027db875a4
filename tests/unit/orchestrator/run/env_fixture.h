/*
 * What the tests of run/ that touch providers start from: the store's fixture, a configuration and a key that provider keys are sealed under.
 * Header-only; one per program. ENV_SUITE(name, TEST(...), ...) makes the program.
 */
#ifndef ARP_TESTS_RUN_ENV_FIXTURE_H
#define ARP_TESTS_RUN_ENV_FIXTURE_H

#include "orchestrator/run/env.h"
#include "tests/unit/orchestrator/store/fixture.h"

static struct config cfg;
static struct run_env env; /* without a gateway: who needs one sets it */

static int env_up(void)
{
    static const char *const environ_of[] = {"DATABASE_URL=postgresql:///x", NULL};
    static const char key[] = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
    if (fixture_up() || config_load(environ_of, &cfg, &err) || secret_key_parse(key, &env.secrets, &err))
        return 1;
    env.cfg = &cfg;
    env.db = db;
    return 0;
}

static int env_down(void)
{
    config_done(&cfg);
    return fixture_down();
}

#define ENV_SUITE(name, ...) TEST_SUITE_WITH(name, env_up, env_down, __VA_ARGS__)

#endif
