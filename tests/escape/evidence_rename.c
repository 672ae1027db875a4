/*
 * Move the evidence away: its own mode does not forbid that, the folder above does.
 */
#include <stdio.h>

#include "tests/escape/attempt.h"

int main(void)
{
    attempt_result(rename("/workspace/evidence", "/workspace/gone"), "moved the evidence");
}
