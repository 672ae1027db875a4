/*
 * Put a link among the evidence, for the agent to write through.
 */
#include "tests/escape/attempt.h"

int main(void)
{
    attempt_result(symlink("/workspace/repo/forged", "/workspace/evidence/forged"), "made a link");
}
