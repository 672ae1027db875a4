/*
 * Make processes that make processes, and end before they do.
 */
#include "tests/escape/attempt.h"

static _Noreturn void multiply(void)
{
    for (;;)
        fork();
}

int main(void)
{
    for (int i = 0; i < 100000; i++) {
        pid_t pid = fork();
        if (pid == 0)
            multiply();
        if (pid < 0)
            contained("fork: %s after %d", strerrorname_np(errno), i);
    }
    escaped("nothing ends it");
}
