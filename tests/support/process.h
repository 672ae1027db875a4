/*
 * Child processes of the tests: argv arrays, no shell.
 */
#ifndef ARP_TESTS_SUPPORT_PROCESS_H
#define ARP_TESTS_SUPPORT_PROCESS_H

#include <stddef.h>
#include <sys/types.h>

/* Run argv to its end in directory dir (NULL: here). Standard output and error are collected into *ret_out (NULL: thrown away; free()).
 * Returns the exit code, 128+signal, or -1. */
int process_run(const char *const *argv, const char *dir, char **ret_out);
#define RUN_ARGV(dir, out, ...) process_run((const char *const[]){__VA_ARGS__, NULL}, (dir), (out))

/* A new directory under /tmp that is removed when the program exits. The string lives as long as the program. */
const char *temp_dir(void);

#endif
