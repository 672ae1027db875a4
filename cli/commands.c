/*
 * What the subcommands share: see commands.h.
 */
#include "cli/commands.h"

#include <stdio.h>
#include <stdlib.h>

#include "cli/clean.h"

/* Where an orchestrator with its default settings listens. */
#define DEFAULT_URL "http://127.0.0.1:8080"

poptContext command_options(int argc, const char **argv, const struct poptOption *table, const char *usage)
{
    poptContext pc = poptGetContext("arpctl", argc, argv, table, 0);
    if (!pc)
        return NULL;
    poptSetOtherOptionHelp(pc, usage);
    int rc = poptGetNextOpt(pc);
    if (rc == -1)
        return pc;
    fprintf(stderr, "arpctl %s: %s: %s\n", argv[0], poptBadOption(pc, 0), poptStrerror(rc));
    poptFreeContext(pc);
    return NULL;
}

int command_trouble(const struct arp_err *err)
{
    fputs("arpctl: ", stderr);
    put_clean(err->msg, false, stderr); /* may quote a server */
    putc('\n', stderr);
    return EXIT_TROUBLE;
}

int command_api(struct api **ret, struct arp_err *err)
{
    const char *url = getenv("ARP_URL");
    return api_open(url && *url ? url : DEFAULT_URL, getenv("ARP_API_KEY"), ret, err);
}
