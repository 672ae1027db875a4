/*
 * Lab: the agent's sandbox in a test program. Starts commands as a uid of its own through a real launcher and records them with a real recorder;
 * the programs that misbehave are compiled from tests/unit/agent/prey*.c when the suite starts (cc, without sanitizers).
 * Needs root. The launcher is this very program, so a suite's main is made by LAB_SUITE.
 */
#ifndef ARP_TESTS_SUPPORT_LAB_H
#define ARP_TESTS_SUPPORT_LAB_H

#include <unistd.h>

#include "agent/launcher.h"
#include "agent/launcher_proc.h"
#include "agent/recorder.h"
#include "shared/buf.h"
#include "tests/support/suite.h"

/* Made once per program by lab_set_up. */
struct lab {
    struct launcher_ids
        ids;       /* this process's own: two programs at a time must not kill each other's commands */
    char root[64]; /* 0755, root's */
    char work
        [96]; /* root/work, ids.uid's, the commands' working directory and the only place they may write to */
    char prey[128]; /* root/prey: dynamic */
    char prey_static[128];
    char bare[128]; /* static, without libc */
    char prey_sha256[SHA256_HEX_LEN + 1], prey_static_sha256[SHA256_HEX_LEN + 1],
        bare_sha256[SHA256_HEX_LEN + 1];
    int work_fd;
    struct reaper *reaper;
    struct exehash *cache;
};
extern struct lab lab;
int lab_set_up(void);
int lab_tear_down(void);

/* One sandbox: as agent/box.h, with our ids. */
struct lab_box {
    struct seccomp_prog *prog;
    struct launcher *launcher;
    struct recorder *recorder;
    struct sandbox_layers layers;
    uint64_t lines; /* records taken so far: the number of the next */
};
/* Fails the test when it can't. */
void lab_open(struct lab_box *b, enum seccomp_profile p);
void lab_close(struct lab_box *b);
/* What lab_open confines with. */
void lab_launcher_box(const struct seccomp_prog *prog, struct launcher_box *ret);

/* What became of one command. */
struct lab_run {
    struct exec_outcome outcome;
    int status;          /* of wait4; -1 when it did not end in time */
    struct buf out;      /* standard output and error together */
    uint64_t first_line; /* number of the first record */
    struct process_record *records;
    struct recorder_tally tally;
    bool all_ended; /* every recorded process's end was seen, without being forgotten */
};
/* Run it to its end, then up to linger_ms until no process of it is left by itself, then kill what is left. */
void lab_run(struct lab_box *b, const char *const *argv, int linger_ms, struct lab_run *ret);
/* lab_run of "sh -c script" with $PREY, $PREY_STATIC, $BARE in its environment. */
void lab_sh(struct lab_box *b, const char *script, int linger_ms, struct lab_run *ret);
void lab_run_done(struct lab_run *r);

/* Number of exec records whose executable is exe (NULL: any), and the first of them. */
unsigned lab_count(const struct lab_run *r, const char *exe);
const struct process_record *lab_find(const struct lab_run *r, const char *exe);
/* The last exec record of process pid with that executable (NULL: any). NULL when there is none; *ret_n: how many. */
const struct process_record *lab_find_pid(
    const struct lab_run *r, pid_t pid, const char *exe, unsigned *ret_n);
/* The exit record that belongs to exec record e, NULL when there is none. */
const struct process_record *lab_exit_of(const struct lab_run *r, const struct process_record *e);
/* Argument n of a record, NULL when there are fewer. */
const char *lab_arg(const struct process_record *r, unsigned n);
/* Digest of a file; "" when it can't be read. (The ones in struct lab come from sha256sum(1), not from our code.) */
void lab_sha256(const char *path, char ret_hex[SHA256_HEX_LEN + 1]);

#define LAB_SUITE(name, ...)                                                                                 \
    int main(int argc, char **argv)                                                                          \
    {                                                                                                        \
        static const struct suite_test tests[] = {__VA_ARGS__};                                              \
        if (launcher_is_me(argc, argv))                                                                      \
            _exit(launcher_proc_main()); /* no leak check: the kernel does not let it look at itself */      \
        return suite_main(                                                                                   \
            #name, tests, sizeof(tests) / sizeof(tests[0]), lab_set_up, lab_tear_down, argc, argv);          \
    }

#endif
