/*
 * Have the kernel end the agent when memory is out: many processes, each smaller than it, with as low a score as they can get.
 */
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>

#include "tests/escape/attempt.h"

#define SIZE (2u << 20) /* below what the agent takes */

static _Noreturn void hold(void)
{
    int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (fd >= 0 && write(fd, "0", 1) < 0)
        close(fd);
    mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    for (;;)
        pause();
}

int main(void)
{
    int status = 0;
    for (int i = 0; i < 100000; i++) {
        pid_t pid = fork();
        if (pid == 0)
            hold();
        if (pid < 0)
            untried("fork: %s after %d: too few processes for this memory", strerrorname_np(errno), i);
        usleep(1000);
        if (waitpid(-1, &status, WNOHANG) > 0 && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
            contained("the kernel ended one of %d", i + 1);
    }
    escaped("nothing ends it");
}
