/*
 * Read the kernel's memory.
 */
#include <fcntl.h>

#include "tests/escape/attempt.h"

int main(void)
{
    attempt_result(open("/proc/kcore", O_RDONLY | O_CLOEXEC), "opened it");
}
