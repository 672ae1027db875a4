/*
 * TCP as the attempts need it: connect with a bound on the time, and what the other side says first.
 */
#ifndef ARP_TESTS_ESCAPE_NETWORK_H
#define ARP_TESTS_ESCAPE_NETWORK_H

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdint.h>
#include <sys/socket.h>

#include "tests/escape/attempt.h"

#define AGENT_PORT 8811

/* Address and port from text; the family by its form. Returns the length. */
static inline socklen_t network_address(const char *text, uint16_t port, struct sockaddr_storage *ret)
{
    struct sockaddr_in *four = (void *)ret;
    struct sockaddr_in6 *six = (void *)ret;
    memset(ret, 0, sizeof(*ret));
    if (inet_pton(AF_INET, text, &four->sin_addr) == 1) {
        four->sin_family = AF_INET;
        four->sin_port = htons(port);
        return sizeof(*four);
    }
    if (inet_pton(AF_INET6, text, &six->sin6_addr) == 1) {
        six->sin6_family = AF_INET6;
        six->sin6_port = htons(port);
        return sizeof(*six);
    }
    untried("'%s' is no address", text);
}

/* 0, or -1 with errno (ETIMEDOUT after that time). The socket is nonblocking from then on. */
static inline int network_connect(int fd, const void *addr, socklen_t len, int timeout_ms)
{
    int flags = fcntl(fd, F_GETFL);
    int rc = fcntl(fd, F_SETFL, flags | O_NONBLOCK);
    if (rc == 0)
        rc = connect(fd, addr, len);
    if (rc == 0 || errno != EINPROGRESS)
        return rc;
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    int sys_errno = ETIMEDOUT;
    socklen_t size = sizeof(sys_errno);
    if (poll(&p, 1, timeout_ms) == 1)
        getsockopt(fd, SOL_SOCKET, SO_ERROR, &sys_errno, &size);
    errno = sys_errno;
    return sys_errno == 0 ? 0 : -1;
}

/* Ask for the agent's metadata; true when a single byte comes back. */
static inline int network_agent_answers(int fd)
{
    static const char request[] = "GET /metadata HTTP/1.1\r\nHost: agent\r\nConnection: close\r\n\r\n";
    char byte;
    struct pollfd p = {.fd = fd, .events = POLLIN};
    if (send(fd, request, sizeof(request) - 1, MSG_NOSIGNAL) < 0)
        return 0;
    return poll(&p, 1, 2000) == 1 && recv(fd, &byte, 1, 0) == 1;
}

#endif
