/*
 * Change the parameters of the agent's or the launcher's scheduler (to what they are).
 */
#include <sched.h>

#include "tests/escape/attempt.h"
#include "tests/escape/target.h"

int main(int argc, char **argv)
{
    struct sched_param param = {0};
    attempt_result(sched_setparam(target_of(argc, argv), &param), "changed its scheduler's parameters");
}
