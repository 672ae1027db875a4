/*
 * Pass a descriptor to who is behind its standard descriptors.
 */
#include <sys/socket.h>

#include "tests/escape/attempt.h"

int main(void)
{
    char byte = 'x';
    struct iovec part = {&byte, 1};
    union {
        struct cmsghdr head;
        char space[CMSG_SPACE(sizeof(int))];
    } control;
    memset(&control, 0, sizeof(control));
    control.head = (struct cmsghdr){
        .cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
    for (int fd = 0; fd <= 2; fd++) {
        if (sendmsg(fd, &message, MSG_NOSIGNAL) >= 0)
            escaped("passed one through %d", fd);
    }
    denied(errno);
}
