/*
 * Make packets of its own.
 */
#include <netinet/in.h>
#include <sys/socket.h>

#include "tests/escape/attempt.h"

int main(void)
{
    attempt_result(socket(AF_INET, SOCK_RAW, IPPROTO_ICMP), "makes packets");
}
