/*
 * Name the agent or the launcher as the owner of a socket and have the kernel send it SIGTERM when bytes arrive. The kernel
 * tells nobody whether it did: the target must be alive afterwards.
 */
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>

#include "tests/escape/attempt.h"
#include "tests/escape/target.h"

int main(int argc, char **argv)
{
    int pair[2];
    pid_t pid = target_of(argc, argv);
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0)
        untried("socketpair: %s", strerrorname_np(errno));
    if (fcntl(pair[0], F_SETOWN, pid) < 0 || fcntl(pair[0], F_SETSIG, SIGTERM) < 0)
        denied(errno);
    if (fcntl(pair[0], F_SETFL, O_ASYNC | O_NONBLOCK) < 0 || write(pair[1], "x", 1) != 1)
        untried("%s", strerrorname_np(errno));
    usleep(100000);
    if (kill(pid, 0) < 0 && errno == ESRCH)
        escaped("it is gone");
    contained("it is there");
}
