/*
 * See everybody's packets.
 */
#include <arpa/inet.h>
#include <net/ethernet.h>
#include <sys/socket.h>

#include "tests/escape/attempt.h"

int main(void)
{
    attempt_result(socket(AF_PACKET, SOCK_RAW, htons(ETH_P_ALL)), "sees packets");
}
