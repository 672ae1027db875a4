/*
 * Write its own memory through /proc, past every protection of a page.
 */
#include <fcntl.h>

#include "tests/escape/attempt.h"

int main(void)
{
    attempt_result(open("/proc/self/mem", O_WRONLY | O_CLOEXEC), "may write read-only pages");
}
