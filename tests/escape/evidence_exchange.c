/*
 * Exchange the evidence with a folder of its own.
 */
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "tests/escape/attempt.h"

int main(void)
{
    mkdir("/workspace/repo/forged", 0755);
    long rc = renameat2(AT_FDCWD, "/workspace/repo/forged", AT_FDCWD, "/workspace/evidence", RENAME_EXCHANGE);
    int sys_errno = errno;
    rmdir("/workspace/repo/forged");
    errno = sys_errno;
    attempt_result(rc, "exchanged them");
}
