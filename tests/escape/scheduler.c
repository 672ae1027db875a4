/*
 * Let the agent or the launcher run only when nobody else wants to.
 */
#include <sched.h>

#include "tests/escape/attempt.h"
#include "tests/escape/target.h"

int main(int argc, char **argv)
{
    struct sched_param param = {0};
    attempt_result(sched_setscheduler(target_of(argc, argv), SCHED_IDLE, &param), "changed its scheduler");
}
