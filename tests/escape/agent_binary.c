/*
 * Change the agent's program.
 */
#include <fcntl.h>

#include "tests/escape/attempt.h"

int main(void)
{
    attempt_result(open("/opt/arp/bin/arp-agent", O_WRONLY | O_CLOEXEC), "may change it");
}
