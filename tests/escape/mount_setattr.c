/*
 * Clear the read-only attribute of the root mount.
 */
#include <fcntl.h>
#include <linux/mount.h>
#include <sys/syscall.h>

#include "tests/escape/attempt.h"

int main(void)
{
    struct mount_attr attr = {.attr_clr = MOUNT_ATTR_RDONLY};
    attempt_result(
        syscall(SYS_mount_setattr, AT_FDCWD, "/", 0, &attr, sizeof(attr)), "made the root writable");
}
