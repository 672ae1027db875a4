/*
 * Child processes of the tests: argv arrays, no shell; and their temporary directories.
 */
#ifndef ARP_TESTS_SUPPORT_PROCESS_H
#define ARP_TESTS_SUPPORT_PROCESS_H

#include <stddef.h>
#include <sys/types.h>

/* Run argv to its end in directory dir (NULL: here). Standard output and error are collected into *ret_out (NULL: thrown away; free()).
 * Returns the exit code, 128+signal, or -1. */
int process_run(const char *const *argv, const char *dir, char **ret_out);
#define RUN_ARGV(dir, out, ...) process_run((const char *const[]){__VA_ARGS__, NULL}, (dir), (out))

/* Where a program under test is: $ARP_BUILD/name (build/name). Static, until the next call. */
const char *program_path(const char *name);
/* The same for one that stands beside what is under test: a sanitized build may have none of its own, then it is the one in build/. */
const char *helper_path(const char *name);

/* A new directory under /tmp that is removed when the program exits. The string lives as long as the program. */
const char *temp_dir(void);

/* A new directory under /tmp that every uid may enter. Aborts on trouble of the machine. */
void temp_make(char ret[64]);
/* Remove a directory with all that is in it. Without a child process: whoever reaps all children would take its status away. 0 or -1. */
int temp_remove(const char *path);

#endif
