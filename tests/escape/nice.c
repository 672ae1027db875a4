/*
 * Slow the agent or the launcher down by its nice value.
 */
#include <sys/resource.h>

#include "tests/escape/attempt.h"
#include "tests/escape/target.h"

int main(int argc, char **argv)
{
    attempt_result(setpriority(PRIO_PROCESS, (id_t)target_of(argc, argv), 19), "changed its nice value");
}
