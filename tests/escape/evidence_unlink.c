/*
 * Delete a file of the evidence. That nothing of that name is there would mean that the folder can be searched.
 */
#include "tests/escape/attempt.h"

int main(void)
{
    long rc = unlink("/workspace/evidence/x/events.jsonl");
    if (rc < 0 && errno == ENOENT)
        escaped("the evidence folder can be searched");
    attempt_result(rc, "deleted the events");
}
