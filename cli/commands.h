/*
 * The subcommands of arpctl. Each gets its own arguments (argv[0] is its name) and returns the exit code of the program:
 * 0 done, 1 the answer is "no" (run failed, bundle failed), 2 trouble or wrong usage, 3 trust not established (verify).
 */
#ifndef ARP_CLI_COMMANDS_H
#define ARP_CLI_COMMANDS_H

#include <popt.h>

#include "cli/api.h"

#define EXIT_NO      1
#define EXIT_TROUBLE 2

int command_verify(int argc, const char **argv);
int command_run(int argc, const char **argv);
int command_logs(int argc, const char **argv);
int command_evidence(int argc, const char **argv);
int command_custody(int argc, const char **argv);
int command_keys(int argc, const char **argv);

/* Parse all options of table; unknown ones are told on standard error. Returns the context with the remaining arguments, or NULL. */
poptContext command_options(int argc, const char **argv, const struct poptOption *table, const char *usage);
/* Say "arpctl: <message>" on standard error; returns EXIT_TROUBLE. */
int command_trouble(const struct arp_err *err);
/* The API named by ARP_URL and ARP_API_KEY. */
int command_api(struct api **ret, struct arp_err *err);

#endif
