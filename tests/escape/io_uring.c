/*
 * Set up an io_uring: its requests pass by every seccomp filter.
 */
#include <linux/io_uring.h>
#include <sys/syscall.h>

#include "tests/escape/attempt.h"

int main(void)
{
    struct io_uring_params params;
    memset(&params, 0, sizeof(params));
    attempt_result(syscall(SYS_io_uring_setup, 1, &params), "has an io_uring");
}
