/*
 * Unload a kernel module.
 */
#include <fcntl.h>
#include <sys/syscall.h>

#include "tests/escape/attempt.h"

int main(void)
{
    attempt_result(syscall(SYS_delete_module, "arp_escape", O_NONBLOCK), "unloaded a module");
}
