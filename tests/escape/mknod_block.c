/*
 * Make a node of the host's first disk.
 */
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "tests/escape/attempt.h"

int main(void)
{
    attempt_result(mknod("disk", S_IFBLK | 0600, makedev(8, 0)), "has the disk");
}
