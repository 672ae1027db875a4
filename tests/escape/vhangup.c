/*
 * Hang up the terminal of everybody in the session.
 */
#include "tests/escape/attempt.h"

int main(void)
{
    attempt_result(vhangup(), "hung up");
}
