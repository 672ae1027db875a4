/*
 * The same with flags in the type, which a careless filter compares as a whole.
 */
#include <netinet/in.h>
#include <sys/socket.h>

#include "tests/escape/attempt.h"

int main(void)
{
    attempt_result(
        socket(AF_INET6, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_ICMPV6), "makes packets");
}
