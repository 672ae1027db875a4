/*
 * Let the agent or the launcher read and write only when nobody else wants to.
 */
#include <linux/ioprio.h>
#include <sys/syscall.h>

#include "tests/escape/attempt.h"
#include "tests/escape/target.h"

int main(int argc, char **argv)
{
    int idle = IOPRIO_CLASS_IDLE << IOPRIO_CLASS_SHIFT;
    attempt_result(
        syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, target_of(argc, argv), idle), "changed its priority");
}
