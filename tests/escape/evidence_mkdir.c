/*
 * Make a forged run among the evidence.
 */
#include <sys/stat.h>

#include "tests/escape/attempt.h"

int main(void)
{
    attempt_result(mkdir("/workspace/evidence/forged", 0755), "made a run");
}
