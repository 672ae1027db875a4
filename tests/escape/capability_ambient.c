/*
 * Keep a capability over the next exec.
 */
#include <linux/capability.h>
#include <sys/prctl.h>

#include "tests/escape/attempt.h"

int main(void)
{
    attempt_result(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_SETUID, 0, 0), "keeps a capability");
}
