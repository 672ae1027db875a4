/*
 * Configuration: see config.h.
 */
#include "orchestrator/config.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "orchestrator/secret.h"
#include "shared/fd.h"
#include "shared/limits.h"

/* A secret read from a file; a connection string is far below. */
#define SECRET_FILE_MAX 65536
/* What agents take: agent/request.c. */
#define PATTERNS_MAX 32
#define PATTERN_MAX  255

enum option_type {
    OPTION_TEXT,     /* char *, not empty */
    OPTION_PATH,     /* char *, absolute */
    OPTION_ADDRESS,  /* char *, numeric IPv4 or IPv6 */
    OPTION_PATTERNS, /* char *, directories of which all is meant, separated by commas */
    OPTION_KEY,      /* char *, 64 hex digits, or empty for none */
    OPTION_INT,      /* int64_t, range */
    OPTION_CPUS,     /* int64_t in 1e-9, range in whole CPUs, without its lower end */
    OPTION_DAYS,     /* int64_t in 1e-9 of a day, range in whole days */
    OPTION_BOOL,     /* bool */
    OPTION_REACH,    /* enum config_reach */
    OPTION_LEVEL     /* enum log_level */
};

struct option {
    const char *name;
    enum option_type type;
    size_t offset;
    const char *fallback; /* NULL: must be set */
    int64_t min, max;     /* of numbers */
    bool secret;
    const char *help;
};

#define AT(field) offsetof(struct config, field)

/* clang-format off */
static const struct option options[] = {
    {"DATABASE_URL", OPTION_TEXT, AT(database_url), NULL, 0, 0, true,
        "Postgres connection string or URI (libpq)."},
    {"ARP_LISTEN_ADDRESS", OPTION_ADDRESS, AT(listen_address), "127.0.0.1", 0, 0, false,
        "Address the API listens on."},
    {"ARP_LISTEN_PORT", OPTION_INT, AT(listen_port), "8080", 0, 65535, false,
        "Port the API listens on; 0 lets the kernel choose."},
    {"ARP_DOCKER_SOCKET", OPTION_PATH, AT(docker_socket), "/var/run/docker.sock", 0, 0, false,
        "Unix socket of the Docker Engine API."},
    {"WORKSPACE_IMAGE", OPTION_TEXT, AT(workspace_image), "arp-workspace:v0.3", 0, 0, false,
        "Image of workspaces that name no other."},
    {"ARP_ARTIFACTS", OPTION_PATTERNS, AT(artifacts), "results/**,artifacts/**", 0, 0, false,
        "Files of the repository that a run's outputs.json lists: patterns DIR/**, separated by commas."},
    {"EVIDENCE_ROOT", OPTION_PATH, AT(evidence_root), "/var/lib/arp/evidence", 0, 0, false,
        "Directory of the evidence bundles and their staging area."},
    {"ARP_STATE_DIR", OPTION_PATH, AT(state_dir), "/var/lib/arp", 0, 0, false,
        "Directory of the sealing key and the installation secret."},
    {"ARP_MIGRATIONS_DIR", OPTION_PATH, AT(migrations_dir), "/usr/local/share/arp/migrations", 0, 0, false,
        "Directory of the SQL migrations."},
    {"ARP_NETWORK", OPTION_TEXT, AT(network), "arp-internal", 0, 0, false,
        "Docker network of the workspaces; made internal, without traffic between containers, when missing."},
    {"ARP_WORKSPACE_CPUS", OPTION_CPUS, AT(workspace_nano_cpus), "2", 0, 1024, false,
        "CPUs of a workspace, a decimal number such as 0.5."},
    {"ARP_WORKSPACE_MEMORY_MB", OPTION_INT, AT(workspace_memory_mb), "2048", 16, 1 << 24, false,
        "Memory of a workspace in MiB; there is no swap."},
    {"ARP_WORKSPACE_PIDS", OPTION_INT, AT(workspace_pids), "512", 16, 1 << 22, false,
        "Processes and threads of a workspace."},
    {"ARP_IDLE_TIMEOUT_SECONDS", OPTION_INT, AT(idle_timeout_s), "900", 1, 7 * 86400, false,
        "A warm workspace without a run for this long is made cold."},
    {"ARP_WARM_WORKSPACES_PER_USER", OPTION_INT, AT(warm_workspaces_per_user), "1", 1, 1000, false,
        "Warm workspaces per user; the least recently used idle one is made cold over it."},
    {"ARP_CONTAINERS_PER_USER", OPTION_INT, AT(containers_per_user), "50", 0, 1 << 20, false,
        "Containers a user may have registered."},
    {"ARP_AGENTS_PER_USER", OPTION_INT, AT(agents_per_user), "50", 0, LIMIT_AGENTS, false,
        "Agents a user may have, the built-in one not counted."},
    {"ARP_WORKFLOWS_PER_USER", OPTION_INT, AT(workflows_per_user), "50", 0, LIMIT_WORKFLOWS, false,
        "Workflows a user may have."},
    {"ARP_DAILY_RUN_LIMIT", OPTION_INT, AT(daily_run_limit), "500", 0, 1 << 30, false,
        "Runs a user may start per UTC day."},
    {"ARP_RUN_TIMEOUT_SECONDS", OPTION_INT, AT(run_timeout_s), "900", 1, 86400, false,
        "Time limit of a run that names none."},
    {"ARP_COMMAND_TIMEOUT_SECONDS", OPTION_INT, AT(command_timeout_s), "600", 1, 86400, false,
        "Time limit of a command that names none."},
    {"ARP_BUNDLE_SCAN_SECONDS", OPTION_INT, AT(bundle_scan_s), "30", 1, 86400, false,
        "Interval of the scan for bundles that were not built at once."},
    {"WORKSPACE_COLD_TTL_DAYS", OPTION_DAYS, AT(workspace_cold_ttl_nano_days), "30", 0, 36500, false,
        "Days after its last use until a cold workspace is deleted with its volume; 0: with the next pass."},
    {"EVIDENCE_TTL_DAYS", OPTION_DAYS, AT(evidence_ttl_nano_days), "190", 0, 36500, false,
        "Days until an evidence bundle is deleted; 0: with the next pass. Six months can be 184 days: below it, the start warns."},
    {"GC_INTERVAL_SECONDS", OPTION_INT, AT(gc_interval_s), "3600", 1, 7 * 86400, false,
        "Time between two passes of retention."},
    {"ARP_LEASE_SECONDS", OPTION_INT, AT(lease_s), "15", 2, 3600, false,
        "How long a lease on a workspace or run outlives its holder."},
    {"ARP_HTTP_THREADS", OPTION_INT, AT(http_threads), "2", 1, 64, false,
        "Threads that serve connections."},
    {"ARP_WORKER_THREADS", OPTION_INT, AT(worker_threads), "8", 1, 256, false,
        "Threads for requests that block."},
    {"ARP_DB_CONNECTIONS", OPTION_INT, AT(db_connections), "12", 2, 512, false,
        "Database connections at most."},
    {"ARP_MAX_RUNS", OPTION_INT, AT(max_runs), "64", 1, 4096, false,
        "Runs at once on this orchestrator."},
    {"ARP_SECRETS_KEY", OPTION_KEY, AT(secrets_key), "", 0, 0, true,
        "Key under which API keys of model providers are stored (AES-256-GCM): openssl rand -hex 32. Without it none can be stored."},
    {"ARP_PROVIDER_HTTP", OPTION_REACH, AT(provider_http), "none", 0, 0, false,
        "Where model providers may be: none: https, no loopback or private address; loopback: also this host, by http too; allow: also private networks, by http too."},
    {"ARP_METRICS_PUBLIC", OPTION_BOOL, AT(metrics_public), "true", 0, 0, false,
        "Serve /metrics without a key; false asks for a key with the admin scope."},
    {"ARP_LOG_LEVEL", OPTION_LEVEL, AT(log_level), "info", 0, 0, false,
        "debug, info, warn or error."},
    {"ARP_SHUTDOWN_SECONDS", OPTION_INT, AT(shutdown_s), "30", 0, 3600, false,
        "How long a stop waits for requests and runs in progress."},
};
/* clang-format on */
#define N_OPTIONS (sizeof(options) / sizeof(options[0]))

/* --- values -------------------------------------------------------------------------------------------------------------------- */

/* One pattern: plain names with slashes between them, then the ending that means all below. */
static bool pattern_ok(const char *p, size_t len)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    if (len < 4 || len > PATTERN_MAX || memcmp(p + len - 3, "/**", 3) != 0)
        return false;
    const char *end = p + len - 3;
    while (p < end) {
        size_t n = strspn(p, plain);
        if (n == 0 || strncmp(p, "./", 2) == 0 || strncmp(p, "../", 3) == 0 || p[n] != '/')
            return false;
        p += n + 1;
    }
    return p == end + 1;
}

static bool patterns_ok(const char *list)
{
    for (int i = 0; i < PATTERNS_MAX; i++) {
        size_t n = strcspn(list, ",");
        if (!pattern_ok(list, n))
            return false;
        if (!list[n])
            return true;
        list += n + 1;
    }
    return false;
}

static int set_text(const struct option *o, const char *value, struct config *c, struct arp_err *err)
{
    unsigned char address[sizeof(struct in6_addr)];
    if (value[0] == '\0' && o->type != OPTION_KEY)
        return arp_fail(err, ARP_E_INVALID, 0, "%s is empty", o->name);
    if (o->type == OPTION_PATH && value[0] != '/')
        return arp_fail(err, ARP_E_INVALID, 0, "%s is not an absolute path", o->name);
    if (o->type == OPTION_ADDRESS && inet_pton(AF_INET, value, address) != 1 &&
        inet_pton(AF_INET6, value, address) != 1)
        return arp_fail(
            err, ARP_E_INVALID, 0, "%s is not a numeric IPv4 or IPv6 address: '%s'", o->name, value);
    if (o->type == OPTION_PATTERNS && !patterns_ok(value))
        return arp_fail(err, ARP_E_INVALID, 0,
            "%s is not a list of at most %d patterns DIR/**, separated by commas: '%s'", o->name,
            PATTERNS_MAX, value);
    struct secret_key key;
    int rc = o->type == OPTION_KEY ? secret_key_parse(value, &key, err) : 0;
    if (rc)
        return rc;
    char *copy = strdup(value);
    if (!copy)
        return arp_fail(err, ARP_E_NOMEM, 0, "%s", o->name);
    memcpy((char *)c + o->offset, &copy, sizeof(copy));
    /* cppcheck-suppress memleak ; it was stored, and config_done frees it */
    return 0;
}

static int set_int(const struct option *o, const char *value, int64_t *ret, struct arp_err *err)
{
    char *end = NULL;
    errno = 0;
    long long v = isdigit((unsigned char)value[0]) ? strtoll(value, &end, 10) : -1;
    if (!end || *end != '\0')
        return arp_fail(err, ARP_E_INVALID, 0, "%s is not a whole number: '%s'", o->name, value);
    if (errno == ERANGE || v < o->min || v > o->max)
        return arp_fail(
            err, ARP_E_INVALID, 0, "%s is %s, not in %" PRId64 "..%" PRId64, o->name, value, o->min, o->max);
    *ret = v;
    return 0;
}

/* A decimal with at most nine places, exactly, in 1e-9; strtod would make 0.1 something else. */
static int set_decimal(const struct option *o, const char *value, int64_t *ret, struct arp_err *err)
{
    bool open = o->type == OPTION_CPUS;
    int64_t nano = 0;
    const char *p = value;
    int places = -1; /* digits after the point; -1 before it */
    for (; isdigit((unsigned char)*p) || (*p == '.' && places < 0 && p > value); p++) {
        if (*p == '.') {
            places = 0;
            continue;
        }
        if (places == 9 || nano > o->max * INT64_C(1000000000))
            break;
        nano = nano * 10 + (*p - '0');
        places += places >= 0;
    }
    if (*p != '\0' || p == value || places == 0)
        return arp_fail(err, ARP_E_INVALID, 0, "%s is not a decimal number: '%s'", o->name, value);
    for (int i = places < 0 ? 0 : places; i < 9 && nano <= INT64_MAX / 10; i++)
        nano *= 10;
    int64_t min = o->min * INT64_C(1000000000);
    if (nano < min || (open && nano == min) || nano > o->max * INT64_C(1000000000))
        return arp_fail(err, ARP_E_INVALID, 0, "%s is %s, not %s %" PRId64 " and up to %" PRId64, o->name,
            value, open ? "above" : "from", o->min, o->max);
    *ret = nano;
    return 0;
}

static int set_bool(const struct option *o, const char *value, bool *ret, struct arp_err *err)
{
    if (strcmp(value, "true") != 0 && strcmp(value, "false") != 0)
        return arp_fail(err, ARP_E_INVALID, 0, "%s is neither true nor false: '%s'", o->name, value);
    *ret = value[0] == 't';
    return 0;
}

static const char *const reaches[] = {
    [CONFIG_REACH_PUBLIC] = "none", [CONFIG_REACH_LOOPBACK] = "loopback", [CONFIG_REACH_ANY] = "allow"};

static int set_reach(const struct option *o, const char *value, enum config_reach *ret, struct arp_err *err)
{
    for (size_t i = 0; i < sizeof(reaches) / sizeof(reaches[0]); i++) {
        if (strcmp(value, reaches[i]) == 0) {
            *ret = (enum config_reach)i;
            return 0;
        }
    }
    return arp_fail(err, ARP_E_INVALID, 0, "%s is none of none, loopback, allow: '%s'", o->name, value);
}

static int option_set(const struct option *o, const char *value, struct config *c, struct arp_err *err)
{
    void *field = (char *)c + o->offset;
    switch (o->type) {
    case OPTION_TEXT:
    case OPTION_PATH:
    case OPTION_ADDRESS:
    case OPTION_PATTERNS:
    case OPTION_KEY:
        return set_text(o, value, c, err);
    case OPTION_INT:
        return set_int(o, value, field, err);
    case OPTION_CPUS:
    case OPTION_DAYS:
        return set_decimal(o, value, field, err);
    case OPTION_BOOL:
        return set_bool(o, value, field, err);
    case OPTION_REACH:
        return set_reach(o, value, field, err);
    case OPTION_LEVEL: {
        int rc = log_level_parse(value, field, err);
        return rc < 0 ? arp_wrap(err, "%s", o->name) : 0;
    }
    }
    return arp_fail(err, ARP_E_INTERNAL, 0, "%s has no type", o->name);
}

static int option_set_from_file(
    const struct option *o, const char *path, struct config *c, struct arp_err *err)
{
    struct buf text cleanup_buf;
    buf_init(&text, SECRET_FILE_MAX);
    if (file_read(path, &text, err) < 0)
        return arp_wrap(err, "%s_FILE", o->name);
    if (text.len > 0 && text.data[text.len - 1] == '\n')
        text.data[--text.len] = '\0';
    if (text.len != strlen(buf_str(&text)))
        return arp_fail(err, ARP_E_INVALID, 0, "%s_FILE: '%s' holds a NUL byte", o->name, path);
    return option_set(o, buf_str(&text), c, err);
}

/* --- environment --------------------------------------------------------------------------------------------------------------- */

/* Value of the variable called name + suffix, NULL when it is not set. */
static const char *env_get(const char *const *env, const char *name, const char *suffix)
{
    size_t n = strlen(name), s = strlen(suffix);
    for (; *env; env++) {
        if (strncmp(*env, name, n) == 0 && strncmp(*env + n, suffix, s) == 0 && (*env)[n + s] == '=')
            return *env + n + s + 1;
    }
    return NULL;
}

static bool env_known(const char *entry)
{
    size_t len = strcspn(entry, "=");
    for (size_t i = 0; i < N_OPTIONS; i++) {
        size_t n = strlen(options[i].name);
        if (strncmp(entry, options[i].name, n) != 0)
            continue;
        if (len == n || (options[i].secret && len == n + 5 && strncmp(entry + n, "_FILE", 5) == 0))
            return true;
    }
    return false;
}

static int option_load(const struct option *o, const char *const *env, struct config *c, struct arp_err *err)
{
    const char *value = env_get(env, o->name, "");
    const char *file = o->secret ? env_get(env, o->name, "_FILE") : NULL;
    if (value && file)
        return arp_fail(err, ARP_E_INVALID, 0, "%s and %s_FILE are both set", o->name, o->name);
    if (file)
        return option_set_from_file(o, file, c, err);
    if (!value && !o->fallback)
        return arp_fail(
            err, ARP_E_INVALID, 0, "%s is not set%s", o->name, o->secret ? " (nor its _FILE form)" : "");
    return option_set(o, value ? value : o->fallback, c, err);
}

int config_load(const char *const *env, struct config *ret, struct arp_err *err)
{
    struct config c = {0};
    int rc = 0;
    *ret = c;
    for (const char *const *e = env; *e && rc == 0; e++) {
        if (strncmp(*e, "ARP_", 4) == 0 && !env_known(*e))
            rc = arp_fail(
                err, ARP_E_INVALID, 0, "%.*s is not an option; --help lists them", (int)strcspn(*e, "="), *e);
    }
    for (size_t i = 0; i < N_OPTIONS && rc == 0; i++)
        rc = option_load(&options[i], env, &c, err);
    if (rc < 0) {
        config_done(&c);
        return rc;
    }
    *ret = c;
    return 0;
}

void config_done(struct config *c)
{
    for (size_t i = 0; i < N_OPTIONS; i++) {
        if (options[i].type <= OPTION_KEY)
            free(*(char **)((char *)c + options[i].offset));
    }
    *c = (struct config){0};
}

/* --- documentation ------------------------------------------------------------------------------------------------------------- */

static void print_range(const struct option *o, struct buf *out)
{
    static const char *const kinds[] = {[OPTION_TEXT] = "text",
        [OPTION_PATH] = "absolute path",
        [OPTION_ADDRESS] = "IP address",
        [OPTION_PATTERNS] = "list of DIR/**",
        [OPTION_KEY] = "64 hex digits",
        [OPTION_BOOL] = "true, false",
        [OPTION_REACH] = "none, loopback, allow",
        [OPTION_LEVEL] = "log level"};
    if (o->type == OPTION_INT)
        buf_printf(out, "%" PRId64 "..%" PRId64, o->min, o->max);
    else if (o->type == OPTION_CPUS)
        buf_printf(out, "decimal, above %" PRId64 ", up to %" PRId64, o->min, o->max);
    else if (o->type == OPTION_DAYS)
        buf_printf(out, "decimal, %" PRId64 "..%" PRId64, o->min, o->max);
    else
        buf_append_str(out, kinds[o->type]);
}

void config_print_help(struct buf *out)
{
    buf_append_str(out, "Environment:\n");
    for (size_t i = 0; i < N_OPTIONS; i++) {
        const struct option *o = &options[i];
        buf_printf(out, "  %s%s\n      %s\n      ", o->name, o->secret ? " (or its path in NAME_FILE)" : "",
            o->help);
        print_range(o, out);
        if (o->fallback)
            buf_printf(out, "; default %s\n", o->fallback[0] ? o->fallback : "none");
        else
            buf_append_str(out, "; required\n");
    }
}

void config_print_markdown(struct buf *out)
{
    buf_append_str(out,
        "# Configuration\n\n"
        "`arp-orchestrator` is configured by environment variables. This page is printed from the table in\n"
        "`orchestrator/config.c` and a test compares the two. A bad value, a missing required one or an "
        "unknown\n"
        "name that begins with `ARP_` stops the start with a message that names the variable.\n\n"
        "A secret may be given as a file instead: `NAME_FILE` holds the path. Setting both is an error.\n\n"
        "| name | value | default | meaning |\n|---|---|---|---|\n");
    for (size_t i = 0; i < N_OPTIONS; i++) {
        const struct option *o = &options[i];
        buf_printf(out, "| `%s`%s | ", o->name, o->secret ? " (secret)" : "");
        print_range(o, out);
        if (o->fallback)
            buf_printf(out, " | `%s` | %s |\n", o->fallback[0] ? o->fallback : "none", o->help);
        else
            buf_printf(out, " | required | %s |\n", o->help);
    }
}
