/*
 * Send a signal to the agent or the launcher: argv[2] says which.
 */
#include <signal.h>

#include "tests/escape/attempt.h"
#include "tests/escape/target.h"

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        int signal;
    } all[] = {{"KILL", SIGKILL}, {"STOP", SIGSTOP}, {"TERM", SIGTERM}, {"INT", SIGINT}, {"CHLD", SIGCHLD},
        {"SEGV", SIGSEGV}};
    pid_t pid = target_of(argc, argv);
    for (size_t i = 0; argc > 2 && i < sizeof(all) / sizeof(all[0]); i++) {
        if (strcmp(argv[2], all[i].name) == 0)
            attempt_result(kill(pid, all[i].signal), "sent the signal");
    }
    untried("which signal?");
}
