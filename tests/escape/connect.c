/*
 * Connect to argv[1], port argv[2]: addresses that must be out of reach.
 */
#include "tests/escape/attempt.h"
#include "tests/escape/network.h"

int main(int argc, char **argv)
{
    struct sockaddr_storage to;
    if (argc < 3)
        untried("where to?");
    socklen_t len = network_address(argv[1], (uint16_t)atoi(argv[2]), &to);
    int fd = socket(to.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    attempt_result(network_connect(fd, &to, len, 1000), "connected");
}
