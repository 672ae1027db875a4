/*
 * Take all the memory there is in a child.
 */
#include <signal.h>

#include "tests/escape/attempt.h"

static void take_all(void)
{
    const size_t step = 16u << 20;
    for (size_t taken = 0; taken < 64ul << 30; taken += step) {
        char *p = malloc(step);
        if (!p)
            _exit(ENOMEM);
        memset(p, 1, step);
    }
}

int main(void)
{
    int status = attempt_in_child(take_all);
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
        contained("ended by the kernel");
    if (WEXITSTATUS(status) == ENOMEM)
        denied(ENOMEM);
    escaped("took 64 GiB");
}
