/*
 * Put a library beside the agent's own.
 */
#include <fcntl.h>

#include "tests/escape/attempt.h"

int main(void)
{
    attempt_result(open("/opt/arp/lib/libc.so.6", O_WRONLY | O_CLOEXEC), "may change it");
}
