/*
 * arpctl: start and watch runs, fetch their evidence, verify it offline.
 */
#include <stdio.h>
#include <string.h>

#include "cli/commands.h"

static const struct {
    const char *name;
    int (*run)(int argc, const char **argv);
    const char *help;
} commands[] = {
    {"run", command_run, "start a run in a project and show what happens"},
    {"logs", command_logs, "show the events of a run, -f to its end"},
    {"evidence", command_evidence, "fetch the sealed evidence of a run"},
    {"custody", command_custody, "fetch what was done with the evidence of a run, with proofs"},
    {"keys", command_keys, "fetch the server's public keys, to keep and verify with"},
    {"verify", command_verify, "check a bundle, or a custody file, offline"},
};
#define COMMANDS (sizeof(commands) / sizeof(commands[0]))

static void usage(FILE *out)
{
    fprintf(out, "usage: arpctl COMMAND [OPTION...]      arpctl COMMAND --help\n\n");
    for (size_t i = 0; i < COMMANDS; i++)
        fprintf(out, "  %-10s %s\n", commands[i].name, commands[i].help);
    fprintf(out,
        "\nEnvironment: ARP_URL (default http://127.0.0.1:8080), ARP_API_KEY, ARP_PROJECT\n"
        "Exit: 0 done, 1 run or bundle failed, 2 trouble, 3 bundle intact but trust not established\n");
}

int main(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : "";
    for (size_t i = 0; i < COMMANDS; i++)
        if (strcmp(name, commands[i].name) == 0)
            return commands[i].run(argc - 1, (const char **)(argv + 1));
    if (strcmp(name, "--version") == 0) {
        puts("arpctl " ARP_VERSION);
        return 0;
    }
    if (strcmp(name, "--help") == 0) {
        usage(stdout);
        return 0;
    }
    usage(stderr);
    return EXIT_TROUBLE;
}
