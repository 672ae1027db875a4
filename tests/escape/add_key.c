/*
 * Put a key into a keyring of the kernel.
 */
#include <linux/keyctl.h>
#include <sys/syscall.h>

#include "tests/escape/attempt.h"

int main(void)
{
    attempt_result(syscall(SYS_add_key, "user", "escape", "x", 1L, KEY_SPEC_PROCESS_KEYRING), "added a key");
}
