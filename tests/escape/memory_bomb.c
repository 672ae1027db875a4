/*
 * Take all the memory there is in a child.
 */
#include <signal.h>
#include <sys/mman.h>

#include "tests/escape/attempt.h"

static void take_all(void)
{
    const size_t step = 16u << 20;
    for (size_t taken = 0; taken < 64ul << 30; taken += step) {
        if (mmap(NULL, step, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0) ==
            MAP_FAILED)
            _exit(ENOMEM);
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
