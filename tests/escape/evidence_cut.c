/*
 * Cut the evidence short. That nothing of that name is there would mean that the folder can be searched.
 */
#include "tests/escape/attempt.h"

int main(void)
{
    long rc = truncate("/workspace/evidence/x/events.jsonl", 0);
    if (rc < 0 && errno == ENOENT)
        escaped("the evidence folder can be searched");
    attempt_result(rc, "cut the events");
}
