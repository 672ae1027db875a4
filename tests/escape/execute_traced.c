/*
 * Trace a child of its own, and change its arguments after the kernel has executed it and before its first instruction. The
 * record must say that it was traced.
 */
#include <elf.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/user.h>

#include "tests/escape/attempt.h"

/* Overwrite the first argument: below the stack pointer of a new program lie argc and the pointers of argv. */
static void forge(pid_t pid)
{
    struct user_regs_struct regs;
    struct iovec io = {&regs, sizeof(regs)};
    union {
        char text[sizeof(long)];
        long word;
    } forged = {.text = "forged"};
    if (ptrace(PTRACE_GETREGSET, pid, NT_PRSTATUS, &io) < 0)
        untried("registers: %s", strerrorname_np(errno));
#ifdef __x86_64__
    unsigned long stack = regs.rsp;
#else
    unsigned long stack = regs.sp;
#endif
    long at = ptrace(PTRACE_PEEKDATA, pid, stack + 2 * sizeof(long), NULL);
    if (ptrace(PTRACE_POKEDATA, pid, at, forged.word) < 0)
        untried("arguments: %s", strerrorname_np(errno));
}

int main(int argc, char **argv)
{
    int status;
    if (argc > 1)
        contained("executed with the argument %s", argv[1]);
    pid_t pid = fork();
    if (pid < 0)
        untried("fork: %s", strerrorname_np(errno));
    if (pid == 0) {
        ptrace(PTRACE_TRACEME, 0, NULL, NULL);
        execl("/proc/self/exe", argv[0], "honest", (char *)NULL);
        _exit(127);
    }
    if (waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status))
        untried("no stop at the exec");
    forge(pid);
    ptrace(PTRACE_DETACH, pid, NULL, NULL);
    if (waitpid(pid, &status, 0) != pid || status != 0)
        untried("the child did not end well");
    _exit(0); /* the child has said how it went */
}
