/*
 * Move the mount of the volume.
 */
#include <fcntl.h>
#include <sys/syscall.h>

#include "tests/escape/attempt.h"

int main(void)
{
    attempt_result(syscall(SYS_move_mount, AT_FDCWD, "/workspace", AT_FDCWD, "/tmp", 0), "moved the volume");
}
