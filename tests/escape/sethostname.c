/*
 * Rename the machine.
 */
#include "tests/escape/attempt.h"

int main(void)
{
    attempt_result(sethostname("escape", 6), "renamed the machine");
}
