/*
 * Send a signal to the first thread of the agent or the launcher.
 */
#include <signal.h>
#include <sys/syscall.h>

#include "tests/escape/attempt.h"
#include "tests/escape/target.h"

int main(int argc, char **argv)
{
    pid_t pid = target_of(argc, argv);
    attempt_result(syscall(SYS_tgkill, pid, pid, SIGTERM), "sent SIGTERM");
}
