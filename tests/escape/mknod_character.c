/*
 * Make a node of the machine's memory.
 */
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "tests/escape/attempt.h"

int main(void)
{
    attempt_result(mknod("mem", S_IFCHR | 0600, makedev(1, 1)), "has the memory");
}
