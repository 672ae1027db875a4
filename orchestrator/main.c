/*
 * arp-orchestrator: options -> config -> command.
 */
#include <popt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "orchestrator/config.h"
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

static int run_command(const char *command, const char *name, const struct config *cfg, struct arp_err *err)
{
    if (strcmp(command, "serve") == 0)
        return serve(cfg, err);
    if (strcmp(command, "migrate") == 0)
        return command_migrate(cfg, err);
    return command_create_admin(cfg, name, err);
}

static void print_help(poptContext options)
{
    cleanup_buf struct buf help;
    buf_init(&help, 1 << 20);
    config_print_help(&help);
    poptPrintHelp(options, stdout, 0);
    printf("\nCommands:\n"
           "  serve          serve the API until SIGTERM\n"
           "  migrate        bring the database schema up to date\n"
           "  create-admin   make an admin user and print its API key\n"
           "\nConfiguration is by environment:\n%s",
        buf_str(&help));
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
    poptSetOtherOptionHelp(options, "serve|migrate|create-admin");
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
    } else if (!command || poptPeekArg(options) ||
               (strcmp(command, "serve") != 0 && strcmp(command, "migrate") != 0 &&
                   strcmp(command, "create-admin") != 0)) {
        fprintf(stderr, "arp-orchestrator: give one command: serve, migrate or create-admin (see --help)\n");
    } else {
        struct arp_err err = {0};
        cleanup_config struct config cfg = {0};
        int rc = config_load((const char *const *)environ, &cfg, &err);
        if (rc == 0) {
            log_set_level(cfg.log_level);
            rc = run_command(command, name ? name : "admin", &cfg, &err);
        }
        if (rc)
            fprintf(stderr, "arp-orchestrator: %s\n", err.msg);
        exit_code = rc ? 1 : 0;
    }
    free(name);
    poptFreeContext(options);
    return exit_code;
}
