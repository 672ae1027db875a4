/*
 * Have a name of the world looked up by the resolver inside: a way out that needs no route.
 */
#include "tests/escape/attempt.h"
#include "tests/escape/network.h"

int main(void)
{
    /* One question: example.com, type A. */
    static const unsigned char question[] = "\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00"
                                            "\x07"
                                            "example\x03"
                                            "com\x00\x00\x01\x00\x01";
    unsigned char reply[512];
    struct sockaddr_storage to;
    socklen_t len = network_address("127.0.0.11", 53, &to);
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (void *)&to, len) < 0 || send(fd, question, sizeof(question) - 1, 0) < 0)
        untried("resolver: %s", strerrorname_np(errno));
    struct pollfd p = {.fd = fd, .events = POLLIN};
    if (poll(&p, 1, 2000) != 1)
        contained("no answer");
    long n = recv(fd, reply, sizeof(reply), 0);
    if (n >= 12 && (reply[6] || reply[7]))
        escaped("the name has an address");
    contained("code %d, no address", n >= 12 ? reply[3] & 15 : -1);
}
