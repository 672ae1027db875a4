/*
 * Load a kernel module from a file.
 */
#include <fcntl.h>
#include <sys/syscall.h>

#include "tests/escape/attempt.h"

int main(void)
{
    attempt_result(syscall(SYS_finit_module, open("/proc/self/exe", O_RDONLY), "", 0), "loaded a module");
}
