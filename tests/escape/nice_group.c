/*
 * Slow the launcher down by the nice value of its process group.
 */
#include <sys/resource.h>

#include "tests/escape/attempt.h"
#include "tests/escape/target.h"

int main(void)
{
    pid_t group = getpgid(launcher_find());
    if (group < 0)
        untried("getpgid: %s", strerrorname_np(errno));
    attempt_result(setpriority(PRIO_PGRP, (id_t)group, 19), "changed a nice value");
}
