/*
 * Reach into the evidence from a descriptor of the folder itself, which anybody may have. That nothing of that name is there
 * would mean that the folder can be searched.
 */
#include <fcntl.h>

#include "tests/escape/attempt.h"

int main(void)
{
    long rc = openat(open("/workspace/evidence", O_PATH | O_DIRECTORY), "x/events.jsonl", O_RDONLY);
    if (rc < 0 && errno == ENOENT)
        escaped("the evidence folder can be searched");
    attempt_result(rc, "opened the events");
}
