/*
 * Speak to the hypervisor.
 */
#include <linux/vm_sockets.h>
#include <sys/socket.h>

#include "tests/escape/attempt.h"

int main(void)
{
    attempt_result(socket(AF_VSOCK, SOCK_STREAM, 0), "has a socket to the hypervisor");
}
