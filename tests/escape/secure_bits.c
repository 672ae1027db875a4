/*
 * Have uid changes keep capabilities.
 */
#include <linux/securebits.h>
#include <sys/prctl.h>

#include "tests/escape/attempt.h"

int main(void)
{
    attempt_result(prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP, 0, 0, 0), "changed the secure bits");
}
