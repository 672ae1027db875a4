/*
 * Take every capability.
 */
#include <linux/capability.h>
#include <sys/syscall.h>

#include "tests/escape/attempt.h"

int main(void)
{
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct all[2] = {{~0u, ~0u, ~0u}, {0x1ff, 0x1ff, 0x1ff}};
    attempt_result(syscall(SYS_capset, &head, all), "has every capability");
}
