/*
 * Show another program than is executed in /proc/self/exe.
 */
#include <fcntl.h>
#include <linux/prctl.h>
#include <sys/prctl.h>

#include "tests/escape/attempt.h"

int main(void)
{
    int fd = open("/bin/true", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        untried("/bin/true: %s", strerrorname_np(errno));
    attempt_result(prctl(PR_SET_MM, PR_SET_MM_EXE_FILE, fd, 0, 0), "shows another program");
}
