/*
 * Reconfigure the file system that is mounted at the root.
 */
#include <fcntl.h>
#include <sys/syscall.h>

#include "tests/escape/attempt.h"

int main(void)
{
    attempt_result(syscall(SYS_fspick, AT_FDCWD, "/", 0), "may reconfigure the root");
}
