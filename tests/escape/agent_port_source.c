/*
 * Ask the agent from an address that is not the container's own, as if the orchestrator did.
 */
#include "tests/escape/attempt.h"
#include "tests/escape/network.h"

int main(void)
{
    int on = 1;
    struct sockaddr_storage from, to;
    socklen_t len = network_address("192.0.2.1", 0, &from);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || setsockopt(fd, IPPROTO_IP, IP_FREEBIND, &on, sizeof(on)) < 0)
        untried("socket: %s", strerrorname_np(errno));
    if (bind(fd, (void *)&from, len) < 0)
        denied(errno);
    len = network_address("127.0.0.1", AGENT_PORT, &to);
    if (network_connect(fd, &to, len, 1000) < 0)
        denied(errno);
    if (network_agent_answers(fd))
        escaped("the agent answers");
    contained("connected and got no answer");
}
