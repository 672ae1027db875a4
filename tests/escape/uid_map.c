/*
 * Map uid 0 to itself.
 */
#include <fcntl.h>

#include "tests/escape/attempt.h"

int main(void)
{
    int fd = open("/proc/self/uid_map", O_WRONLY);
    if (fd < 0)
        denied(errno);
    attempt_result(write(fd, "0 1000 1", 8), "mapped itself to root");
}
