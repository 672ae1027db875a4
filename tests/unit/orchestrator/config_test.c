/*
 * Configuration: values, refusals, and docs/CONFIG.md. Run from the top of the tree.
 */
#include "orchestrator/config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "shared/fd.h"
#include "tests/support/suite.h"

#define HEX_KEY "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
#define DB      "DATABASE_URL=postgres://u:secret@h/d"

static void defaults_are_as_documented(void)
{
    struct config c cleanup_config;
    const char *env[] = {DB, "PATH=/bin", "HOME=/", NULL};
    ASSERT_INT(config_load(env, &c, NULL), 0);
    ASSERT_STR(c.listen_address, "127.0.0.1");
    ASSERT_INT(c.listen_port, 8080);
    ASSERT_STR(c.database_url, "postgres://u:secret@h/d");
    ASSERT_STR(c.workspace_image, "arp-workspace:v0.3");
    ASSERT_INT(c.workspace_nano_cpus, 2000000000);
    ASSERT_INT(c.daily_run_limit, 500);
    ASSERT_INT(c.warm_workspaces_per_user, 1);
    ASSERT_INT(c.bundle_scan_s, 30);
    ASSERT_INT(c.workspace_cold_ttl_nano_days, 30 * INT64_C(1000000000));
    ASSERT_INT(c.evidence_ttl_nano_days, 190 * INT64_C(1000000000));
    ASSERT_INT(c.gc_interval_s, 3600);
    ASSERT_TRUE(c.metrics_public);
    ASSERT_STR(c.secrets_key, "");
    ASSERT_INT(c.provider_http, CONFIG_REACH_PUBLIC);
    ASSERT_INT(c.log_level, LOG_LEVEL_INFO);
}

static void values_are_read(void)
{
    struct config c cleanup_config;
    const char *env[] = {DB, "ARP_LISTEN_ADDRESS=::1", "ARP_LISTEN_PORT=0", "ARP_WORKSPACE_CPUS=0.125",
        "ARP_METRICS_PUBLIC=false", "ARP_LOG_LEVEL=debug", "EVIDENCE_ROOT=/x",
        "ARP_ARTIFACTS=out/**,build/.log-s/x_1/**", "WORKSPACE_COLD_TTL_DAYS=0", "EVIDENCE_TTL_DAYS=0.25",
        "GC_INTERVAL_SECONDS=1", "ARP_SECRETS_KEY=" HEX_KEY, "ARP_PROVIDER_HTTP=loopback", NULL};
    ASSERT_INT(config_load(env, &c, NULL), 0);
    ASSERT_STR(c.secrets_key, HEX_KEY);
    ASSERT_INT(c.provider_http, CONFIG_REACH_LOOPBACK);
    ASSERT_STR(c.listen_address, "::1");
    ASSERT_INT(c.listen_port, 0);
    ASSERT_INT(c.workspace_nano_cpus, 125000000);
    ASSERT_TRUE(!c.metrics_public);
    ASSERT_INT(c.log_level, LOG_LEVEL_DEBUG);
    ASSERT_STR(c.evidence_root, "/x");
    ASSERT_INT(c.workspace_cold_ttl_nano_days, 0);
    ASSERT_INT(c.evidence_ttl_nano_days, 250000000);
    ASSERT_INT(c.gc_interval_s, 1);
    ASSERT_STR(c.artifacts, "out/**,build/.log-s/x_1/**");
}

static void bad_values_are_named(void)
{
    static const struct {
        const char *entry, *says;
    } cases[] = {
        {"ARP_LISTEN_PROT=1", "ARP_LISTEN_PROT is not an option"},
        {"ARP_=1", "ARP_ is not an option"},
        {"ARP_LISTEN_PORT_FILE=/x", "ARP_LISTEN_PORT_FILE is not an option"},
        {"ARP_LISTEN_PORT=65536", "ARP_LISTEN_PORT is 65536, not in 0..65535"},
        {"ARP_LISTEN_PORT=80x", "ARP_LISTEN_PORT is not a whole number: '80x'"},
        {"ARP_LISTEN_PORT=", "ARP_LISTEN_PORT is not a whole number"},
        {"ARP_LISTEN_PORT=-1", "ARP_LISTEN_PORT is not a whole number"},
        {"ARP_LISTEN_PORT=+1", "ARP_LISTEN_PORT is not a whole number"},
        {"ARP_DAILY_RUN_LIMIT=99999999999999999999", "ARP_DAILY_RUN_LIMIT is 99999999999999999999, not in"},
        {"ARP_LISTEN_ADDRESS=localhost", "ARP_LISTEN_ADDRESS is not a numeric"},
        {"ARP_WORKSPACE_CPUS=0", "ARP_WORKSPACE_CPUS is 0, not above 0"},
        {"ARP_WORKSPACE_CPUS=1.", "ARP_WORKSPACE_CPUS is not a decimal"},
        {"ARP_WORKSPACE_CPUS=.5", "ARP_WORKSPACE_CPUS is not a decimal"},
        {"ARP_WORKSPACE_CPUS=1.2.3", "ARP_WORKSPACE_CPUS is not a decimal"},
        {"ARP_WORKSPACE_CPUS=0.0000000001", "ARP_WORKSPACE_CPUS is not a decimal"},
        {"ARP_WORKSPACE_CPUS=1e3", "ARP_WORKSPACE_CPUS is not a decimal"},
        {"ARP_WORKSPACE_CPUS=99999999999999999999999", "ARP_WORKSPACE_CPUS is"},
        {"EVIDENCE_TTL_DAYS=-1", "EVIDENCE_TTL_DAYS is not a decimal"},
        {"EVIDENCE_TTL_DAYS=", "EVIDENCE_TTL_DAYS is not a decimal"},
        {"EVIDENCE_TTL_DAYS=36500.1", "EVIDENCE_TTL_DAYS is 36500.1, not from 0 and up to 36500"},
        {"WORKSPACE_COLD_TTL_DAYS=never", "WORKSPACE_COLD_TTL_DAYS is not a decimal"},
        {"GC_INTERVAL_SECONDS=0", "GC_INTERVAL_SECONDS is 0, not in 1..604800"},
        {"ARP_METRICS_PUBLIC=yes", "ARP_METRICS_PUBLIC is neither true nor false"},
        {"ARP_LOG_LEVEL=loud", "ARP_LOG_LEVEL"},
        {"ARP_SECRETS_KEY=00", "ARP_SECRETS_KEY does not hold 64 hex digits"},
        {"ARP_PROVIDER_HTTP=true", "ARP_PROVIDER_HTTP is none of none, loopback, allow: 'true'"},
        {"EVIDENCE_ROOT=rel", "EVIDENCE_ROOT is not an absolute path"},
        {"WORKSPACE_IMAGE=", "WORKSPACE_IMAGE is empty"},
        {"ARP_ARTIFACTS=*.csv", "ARP_ARTIFACTS is not a list of at most 32 patterns"},
        {"ARP_ARTIFACTS=results/**,", "ARP_ARTIFACTS is not a list"},
        {"ARP_ARTIFACTS=/**", "ARP_ARTIFACTS is not a list"},
        {"ARP_ARTIFACTS=/etc/**", "ARP_ARTIFACTS is not a list"},
        {"ARP_ARTIFACTS=a//**", "ARP_ARTIFACTS is not a list"},
        {"ARP_ARTIFACTS=a/../b/**", "ARP_ARTIFACTS is not a list"},
        {"ARP_ARTIFACTS=../**", "ARP_ARTIFACTS is not a list"},
        {"ARP_ARTIFACTS=./**", "ARP_ARTIFACTS is not a list"},
        {"ARP_ARTIFACTS=a b/**", "ARP_ARTIFACTS is not a list"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char *env[] = {DB, cases[i].entry, NULL};
        struct config c;
        struct arp_err err = {0};
        ASSERT_INT(config_load(env, &c, &err), ARP_E_INVALID);
        ASSERT_CONTAINS(err.msg, cases[i].says);
        ASSERT_TRUE(!c.database_url && !c.network);
    }
}

static void secrets_come_from_files_too(void)
{
    char path[] = "/tmp/arp-config-test-XXXXXX";
    int fd cleanup_fd = mkstemp(path);
    ASSERT_TRUE(fd >= 0 && write(fd, "host=h\n", 7) == 7);
    char entry[128];
    snprintf(entry, sizeof(entry), "DATABASE_URL_FILE=%s", path);
    struct config c;
    struct arp_err err = {0};
    const char *env[] = {entry, NULL};
    ASSERT_INT(config_load(env, &c, NULL), 0);
    ASSERT_STR(c.database_url, "host=h");
    config_done(&c);
    const char *both[] = {DB, entry, NULL};
    ASSERT_INT(config_load(both, &c, &err), ARP_E_INVALID);
    ASSERT_CONTAINS(err.msg, "both set");
    ASSERT_TRUE(!strstr(err.msg, "secret"));
    ASSERT_INT(pwrite(fd, "\0", 1, 2), 1);
    ASSERT_INT(config_load(env, &c, &err), ARP_E_INVALID);
    ASSERT_CONTAINS(err.msg, "NUL");
    unlink(path);
    ASSERT_TRUE(config_load(env, &c, &err) < 0);
    ASSERT_CONTAINS(err.msg, "DATABASE_URL_FILE");
    const char *none[] = {NULL};
    ASSERT_INT(config_load(none, &c, &err), ARP_E_INVALID);
    ASSERT_CONTAINS(err.msg, "DATABASE_URL is not set");
}

static void documentation_is_the_table(void)
{
    struct buf want cleanup_buf, got cleanup_buf, help cleanup_buf;
    buf_init(&want, 65536);
    buf_init(&got, 65536);
    buf_init(&help, 65536);
    config_print_markdown(&want);
    struct arp_err err = {0};
    ASSERT_INT(file_read("docs/CONFIG.md", &got, &err), 0);
    ASSERT_STR(buf_str(&got), buf_str(&want));
    config_print_help(&help);
    ASSERT_CONTAINS(buf_str(&help), "ARP_WORKSPACE_CPUS");
    ASSERT_INT(help.error + want.error, 0);
}

TEST_SUITE(config_test, TEST(defaults_are_as_documented), TEST(values_are_read), TEST(bad_values_are_named),
    TEST(secrets_come_from_files_too), TEST(documentation_is_the_table))
