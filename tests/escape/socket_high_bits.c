/*
 * Hide the family of a socket in a 64-bit number: the kernel looks at the low half only, a careless filter at all of it.
 */
#include <arpa/inet.h>
#include <net/ethernet.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "tests/escape/attempt.h"

int main(void)
{
    long family = (1L << 32) | AF_PACKET;
    attempt_result(syscall(SYS_socket, family, (long)SOCK_RAW, (long)htons(ETH_P_ALL)), "sees packets");
}
