/*
 * Make a child in a namespace of its own: argv[1] says of which kind.
 */
#include <signal.h>
#include <sys/syscall.h>

#include "tests/escape/namespaces.h"

int main(int argc, char **argv)
{
    int flag = namespace_flag(argc, argv);
    long pid = syscall(SYS_clone, flag | SIGCHLD, NULL, NULL, NULL, 0L);
    if (pid == 0)
        _exit(0);
    attempt_result(pid, "has a child in a namespace of its own");
}
