/*
 * The same by the newer call.
 */
#include <linux/sched.h>
#include <linux/sched/types.h>
#include <sys/syscall.h>

#include "tests/escape/attempt.h"
#include "tests/escape/target.h"

int main(int argc, char **argv)
{
    struct sched_attr attr = {.size = sizeof(attr), .sched_policy = SCHED_BATCH, .sched_nice = 19};
    attempt_result(syscall(SYS_sched_setattr, target_of(argc, argv), &attr, 0), "changed its scheduler");
}
