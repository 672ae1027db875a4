/*
 * Queue a signal with a forged origin for the agent or the launcher.
 */
#include <signal.h>
#include <sys/syscall.h>

#include "tests/escape/attempt.h"
#include "tests/escape/target.h"

int main(int argc, char **argv)
{
    pid_t pid = target_of(argc, argv);
    siginfo_t info = {.si_signo = SIGCHLD, .si_code = SI_QUEUE};
    info.si_pid = pid;
    attempt_result(syscall(SYS_rt_sigqueueinfo, pid, SIGCHLD, &info), "queued SIGCHLD");
}
