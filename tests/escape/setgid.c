/*
 * Become a member of root's group.
 */
#include "tests/escape/attempt.h"

int main(void)
{
    attempt_result(setgid(0), "changed its group");
}
