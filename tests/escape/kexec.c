/*
 * Touch the kernel that a reboot would start (loading none takes a loaded one away).
 */
#include <sys/syscall.h>

#include "tests/escape/attempt.h"

int main(void)
{
    attempt_result(syscall(SYS_kexec_load, 0L, 0L, NULL, 0L), "changed the next kernel");
}
