/*
 * Open connections to the agent until something gives way, and keep them: the run must end all the same.
 */
#include "tests/escape/attempt.h"
#include "tests/escape/network.h"

int main(void)
{
    struct sockaddr_storage to;
    socklen_t len = network_address("127.0.0.1", AGENT_PORT, &to);
    int made = 0;
    for (int i = 0; i < 3000; i++) {
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0 || network_connect(fd, &to, len, 1000) < 0)
            break;
        made++;
    }
    if (made == 0)
        denied(errno);
    contained("%d connections", made);
}
