/*
 * Have the memory of the agent or the launcher swapped out.
 */
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "tests/escape/attempt.h"
#include "tests/escape/target.h"

int main(int argc, char **argv)
{
    int fd = (int)syscall(SYS_pidfd_open, target_of(argc, argv), 0);
    if (fd < 0)
        untried("pidfd_open: %s", strerrorname_np(errno));
    struct iovec there = {(void *)0x400000, 4096};
    attempt_result(syscall(SYS_process_madvise, fd, &there, 1, MADV_PAGEOUT, 0), "advised its memory");
}
