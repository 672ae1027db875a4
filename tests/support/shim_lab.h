/*
 * A shim server with its socket and evidence in a temporary directory, the real arp-sh beside it, and commands that are started through it as a
 * CLI would: stdout and stderr in pipes of ours. As root the commands have a uid of their own, as in a workspace; else the test's.
 */
#ifndef ARP_TESTS_SUPPORT_SHIM_LAB_H
#define ARP_TESTS_SUPPORT_SHIM_LAB_H

#include <stdbool.h>
#include <sys/types.h>

#include "agent/evdir.h"
#include "agent/shim.h"

struct shim_lab {
    char root[64];
    char bash[96]; /* arp-sh under two names */
    char sh[96];
    char folder[96];
    uid_t uid;
    struct evdir dir;
    struct shim *shim;
    struct shim_event *first, **last; /* all events so far */
    size_t begun, ended;
    pid_t cli; /* a process of the same uid that lives as long */
};

/* A copy of arp-sh, which stands in the build folder, that every uid can read. Aborts when it can't. */
void shim_lab_copy(const char *to);
/* program: what is served; NULL for arp-sh. Aborts when it can't. */
void shim_lab_open(struct shim_lab *lab, const char *program, uint64_t max_lines);
void shim_lab_close(struct shim_lab *lab);
/* Take events until n commands have ended. False: not within 10 s. */
bool shim_lab_wait(struct shim_lab *lab, size_t n);
bool shim_lab_wait_begun(struct shim_lab *lab, size_t n);
/* The i-th event of that kind; NULL when there are not so many. */
const struct shim_event *shim_lab_event(const struct shim_lab *lab, bool finished, size_t i);

struct shim_job {
    pid_t pid;
    int in, out, err; /* our ends; -1 when closed */
    char *out_text, *err_text;
    size_t out_len, err_len;
    int status;
};
/* Start arp-sh; argv[0] as the CLI calls it. */
void shim_job_start(const struct shim_lab *lab, const char *const *argv, struct shim_job *ret);
/* Read both streams to their ends, then wait. */
void shim_job_end(struct shim_job *job);
void shim_job_done(struct shim_job *job);
/* Both, for `argv0 -c script`. */
void shim_job_run(const struct shim_lab *lab, const char *argv0, const char *script, struct shim_job *ret);

/* In a child: become the lab's uid. */
void shim_lab_drop(const struct shim_lab *lab);
/* Make uid's process do work and exit with its answer; the exit code. */
int shim_lab_as_peer(const struct shim_lab *lab, int (*work)(const struct shim_lab *lab));

#endif
