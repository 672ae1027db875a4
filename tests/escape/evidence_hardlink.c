/*
 * Get a second name for a file of the evidence, in a folder of its own. That nothing of that name is there would mean that the
 * folder can be searched.
 */
#include "tests/escape/attempt.h"

int main(void)
{
    long rc = link("/workspace/evidence/x/events.jsonl", "/workspace/repo/results/linked");
    if (rc < 0 && errno == ENOENT)
        escaped("the evidence folder can be searched");
    attempt_result(rc, "has a second name");
}
