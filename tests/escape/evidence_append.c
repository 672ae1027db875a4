/*
 * Append a forged line to the evidence. That nothing of that name is there would mean that the folder can be searched.
 */
#include <fcntl.h>

#include "tests/escape/attempt.h"

int main(void)
{
    long rc = open("/workspace/evidence/x/command_log.jsonl", O_WRONLY | O_APPEND);
    if (rc < 0 && errno == ENOENT)
        escaped("the evidence folder can be searched");
    attempt_result(rc, "opened the log");
}
