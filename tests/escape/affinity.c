/*
 * Bind the agent or the launcher to one processor.
 */
#include <sched.h>

#include "tests/escape/attempt.h"
#include "tests/escape/target.h"

int main(int argc, char **argv)
{
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(0, &one);
    attempt_result(sched_setaffinity(target_of(argc, argv), sizeof(one), &one), "bound it to a processor");
}
