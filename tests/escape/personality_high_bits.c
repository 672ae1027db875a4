/*
 * The same under bits that the kernel does not look at, with the value that is allowed for gdb.
 */
#include <sys/personality.h>
#include <sys/syscall.h>

#include "tests/escape/attempt.h"

int main(void)
{
    long value = (1L << 32) | ADDR_NO_RANDOMIZE | MMAP_PAGE_ZERO;
    attempt_result(syscall(SYS_personality, value), "has page 0");
}
