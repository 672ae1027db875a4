/*
 * Switch address randomization off for everything it executes.
 */
#include <sys/personality.h>

#include "tests/escape/attempt.h"

int main(void)
{
    attempt_result(personality(ADDR_NO_RANDOMIZE), "switched randomization off");
}
