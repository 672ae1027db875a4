/*
 * Set the clock (to what it is) by the other call.
 */
#include <time.h>

#include "tests/escape/attempt.h"

int main(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    attempt_result(clock_settime(CLOCK_REALTIME, &now), "set the clock");
}
