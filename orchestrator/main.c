/*
 * arp-orchestrator: options -> config -> command.
 */
#include <popt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "orchestrator/config.h"
#include "orchestrator/routes/table.h"
#include "orchestrator/serve.h"
#include "orchestrator/store/migrate.h"
#include "orchestrator/store/users.h"
#include "orchestrator/tenancy/auth.h"
#include "shared/log.h"

extern char **environ;

static int command_migrate(const struct config *cfg, struct arp_err *err)
{
    cleanup_db struct db *db = NULL;
    unsigned applied = 0;
    int rc = db_open(cfg->database_url, 1, &db, err);
    if (rc == 0)
        rc = migrate_up(db, cfg->migrations_dir, &applied, err);
    if (rc == 0)
        printf("%u migrations applied\n", applied);
    return rc;
}

/* The way in to a fresh installation: an admin user and its key on standard output. */
static int command_create_admin(const struct config *cfg, const char *name, struct arp_err *err)
{
    cleanup_db struct db *db = NULL;
    struct user user = {0};
    char key[AUTH_KEY_LEN + 1];
    int rc = db_open(cfg->database_url, 1, &db, err);
    if (rc == 0)
        rc = users_insert(db, name, cfg->daily_run_limit, &user, err);
    if (rc == 0)
        rc = auth_make_key(
            db, user.id, "admin key", API_SCOPE_ADMIN | API_SCOPE_RUN | API_SCOPE_READ, key, NULL, err);
    if (rc == 0)
        printf("{\"userId\":\"%s\",\"apiKey\":\"%s\"}\n", user.id, key);
    user_done(&user);
    return rc;
}

/* The tables that README.md and docs/ hold; `make docs` writes them there. */
static int command_print(const char *command)
{
    cleanup_buf struct buf text;
    buf_init(&text, 1 << 20);
    if (strcmp(command, "print-config") == 0)
        config_print_markdown(&text);
    else
        router_print_markdown(route_table, route_table_len, &text);
    fputs(buf_str(&text), stdout);
    return text.error || fflush(stdout) != 0 ? 1 : 0;
}

static int run_command(const char *command, const char *name, const struct config *cfg, struct arp_err *err)
{
    if (strcmp(command, "serve") == 0)
        return serve(cfg, err);
    if (strcmp(command, "migrate") == 0)
        return command_migrate(cfg, err);
    return command_create_admin(cfg, name, err);
}

/* Commands, and whether they need the configuration. */
static const struct {
    const char *name;
    bool configured;
    const char *help;
} commands[] = {
    {"serve", true, "serve the API until SIGTERM"},
    {"migrate", true, "bring the database schema up to date"},
    {"create-admin", true, "make an admin user and print its API key"},
    {"print-config", false, "the configuration table as Markdown"},
    {"print-routes", false, "the API table as Markdown"},
};
#define N_COMMANDS (sizeof(commands) / sizeof(commands[0]))

/* Load the configuration and do the command. Returns the exit code. */
static int do_configured(const char *command, const char *name)
{
    struct arp_err err = {0};
    cleanup_config struct config cfg = {0};
    int rc = config_load((const char *const *)environ, &cfg, &err);
    if (rc == 0) {
        log_set_level(cfg.log_level);
        rc = run_command(command, name, &cfg, &err);
    }
    if (rc)
        fprintf(stderr, "arp-orchestrator: %s\n", err.msg);
    return rc ? 1 : 0;
}

static int do_command(const char *command, const char *name)
{
    for (size_t i = 0; command && i < N_COMMANDS; i++) {
        if (strcmp(commands[i].name, command) == 0)
            return commands[i].configured ? do_configured(command, name) : command_print(command);
    }
    fprintf(stderr, "arp-orchestrator: give one command: serve, migrate or create-admin (see --help)\n");
    return 2;
}

static void print_help(poptContext options)
{
    cleanup_buf struct buf help;
    buf_init(&help, 1 << 20);
    config_print_help(&help);
    poptPrintHelp(options, stdout, 0);
    printf("\nCommands:\n");
    for (size_t i = 0; i < N_COMMANDS; i++)
        printf("  %-14s %s\n", commands[i].name, commands[i].help);
    printf("\nConfiguration is by environment:\n%s", buf_str(&help));
}

int main(int argc, char **argv)
{
    char *name = NULL;
    int want_help = 0;
    int want_version = 0;
    struct poptOption table[] = {
        {"name", 0, POPT_ARG_STRING, &name, 0, "name of the user (create-admin; default \"admin\")", "NAME"},
        {"help", 'h', POPT_ARG_NONE, &want_help, 0, "this text", NULL},
        {"version", 'V', POPT_ARG_NONE, &want_version, 0, "the version", NULL}, POPT_TABLEEND};
    poptContext options = poptGetContext("arp-orchestrator", argc, (const char **)argv, table, 0);
    poptSetOtherOptionHelp(options, "COMMAND");
    int bad = poptGetNextOpt(options);
    const char *command = poptGetArg(options);
    int exit_code = 2;
    if (bad < -1) {
        fprintf(stderr, "arp-orchestrator: %s: %s\n", poptBadOption(options, 0), poptStrerror(bad));
    } else if (want_help) {
        print_help(options);
        exit_code = 0;
    } else if (want_version) {
        printf("arp-orchestrator %s\n", ARP_VERSION);
        exit_code = 0;
    } else {
        exit_code = do_command(poptPeekArg(options) ? NULL : command, name ? name : "admin");
    }
    free(name);
    poptFreeContext(options);
    return exit_code;
}
