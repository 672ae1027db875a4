/*
 * Read the machine's memory.
 */
#include <fcntl.h>

#include "tests/escape/attempt.h"

int main(void)
{
    attempt_result(open("/dev/mem", O_RDONLY | O_CLOEXEC), "opened it");
}
