/*
 * A process under seccomp programs with a listener, supervised by the test: what agent and launcher do, in small. The listener answers
 * as seccomp_judge says and counts. One test at a time.
 */
#ifndef ARP_TESTS_LISTENER_H
#define ARP_TESTS_LISTENER_H

#include <stdbool.h>

#include "agent/seccomp.h"

#define LISTENER_CALLS 512

struct listener_result {
    int status;                       /* of waitpid */
    unsigned seen[5];                 /* by enum seccomp_verdict */
    unsigned refused[LISTENER_CALLS]; /* by call number */
};

/* What runs in the child, under the programs; its value becomes the exit status. */
typedef int (*listener_body)(void *arg);

/* Run body under prog in a child. gone: the listener is closed before body starts. Returns 0, or the errno of loading the programs. */
int listener_run(
    const struct seccomp_prog *prog, listener_body body, void *arg, bool gone, struct listener_result *ret);

#endif
