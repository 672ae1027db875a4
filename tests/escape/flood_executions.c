/*
 * Execute programs that are killed at any moment of it: what the agent looks at is gone while it looks.
 */
#include <fcntl.h>
#include <signal.h>

#include "tests/escape/attempt.h"

int main(void)
{
    for (int i = 0; i < 300; i++) {
        pid_t pid = fork();
        if (pid == 0) {
            execl("/bin/true", "true", (char *)NULL);
            _exit(127);
        }
        if (pid < 0)
            untried("fork: %s", strerrorname_np(errno));
        usleep((useconds_t)(i % 50) * 20);
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
    }
    contained("300 executions");
}
