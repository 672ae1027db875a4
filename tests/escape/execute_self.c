/*
 * Execute itself by /proc/self, as runtimes do: to who records it that is another program, its own. Nothing about it may be
 * flagged.
 */
#include "tests/escape/attempt.h"

int main(int argc, char **argv)
{
    if (argc > 1)
        contained("executed itself");
    execl("/proc/self/exe", argv[0], "child", (char *)NULL);
    denied(errno);
}
