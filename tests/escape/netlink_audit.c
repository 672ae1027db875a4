/*
 * Speak to the kernel's audit system.
 */
#include <linux/netlink.h>
#include <sys/socket.h>

#include "tests/escape/attempt.h"

int main(void)
{
    attempt_result(socket(AF_NETLINK, SOCK_RAW, NETLINK_AUDIT), "speaks to audit");
}
