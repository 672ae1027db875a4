/*
 * Load a kernel module from memory.
 */
#include <sys/syscall.h>

#include "tests/escape/attempt.h"

int main(void)
{
    attempt_result(syscall(SYS_init_module, "", 0L, ""), "loaded a module");
}
