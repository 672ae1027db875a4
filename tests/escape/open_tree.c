/*
 * Clone the mount tree as a detached one.
 */
#include <fcntl.h>
#include <linux/mount.h>
#include <sys/syscall.h>

#include "tests/escape/attempt.h"

int main(void)
{
    attempt_result(syscall(SYS_open_tree, AT_FDCWD, "/", OPEN_TREE_CLONE), "has a mount tree of its own");
}
