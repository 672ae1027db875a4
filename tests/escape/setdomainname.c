/*
 * Rename the domain.
 */
#include "tests/escape/attempt.h"

int main(void)
{
    attempt_result(setdomainname("escape", 6), "renamed the domain");
}
