/*
 * Reach the session keyring.
 */
#include <linux/keyctl.h>
#include <sys/syscall.h>

#include "tests/escape/attempt.h"

int main(void)
{
    attempt_result(
        syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING, 1), "has the keyring");
}
