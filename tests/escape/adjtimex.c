/*
 * Change the speed of the clock (to what it is).
 */
#include <sys/syscall.h>
#include <sys/timex.h>

#include "tests/escape/attempt.h"

int main(void)
{
    struct timex t = {.modes = ADJ_TICK, .tick = 1000000 / sysconf(_SC_CLK_TCK)};
    attempt_result(syscall(SYS_adjtimex, &t), "set the clock's speed");
}
