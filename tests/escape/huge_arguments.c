/*
 * Execute a program with more arguments than anybody wants to record.
 */
#include "tests/escape/attempt.h"

int main(int argc, char **argv)
{
    enum { COUNT = 60000 };
    static char word[] = "fifteen letters";
    static char *args[COUNT + 2];
    if (argc > 1)
        contained("executed with %d arguments", argc);
    args[0] = argv[0];
    for (int i = 1; i <= COUNT; i++)
        args[i] = word;
    execv("/proc/self/exe", args);
    denied(errno);
}
