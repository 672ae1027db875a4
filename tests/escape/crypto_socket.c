/*
 * Reach the kernel's crypto interface: much code, seldom used.
 */
#include <sys/socket.h>

#include "tests/escape/attempt.h"

int main(void)
{
    attempt_result(socket(AF_ALG, SOCK_SEQPACKET, 0), "has a crypto socket");
}
