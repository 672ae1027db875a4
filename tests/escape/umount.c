/*
 * Take /proc away from everybody in the container.
 */
#include <sys/mount.h>

#include "tests/escape/attempt.h"

int main(void)
{
    attempt_result(umount2("/proc", MNT_DETACH), "unmounted /proc");
}
