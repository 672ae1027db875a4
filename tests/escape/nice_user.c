/*
 * Slow the launcher down by the nice value of its user.
 */
#include <sys/resource.h>

#include "tests/escape/attempt.h"
#include "tests/escape/target.h"

int main(void)
{
    attempt_result(setpriority(PRIO_USER, LAUNCHER_UID, 19), "changed a nice value");
}
