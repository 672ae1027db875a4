/*
 * List the evidence of runs.
 */
#include <fcntl.h>

#include "tests/escape/attempt.h"

int main(void)
{
    attempt_result(open("/workspace/evidence", O_RDONLY | O_DIRECTORY), "can list it");
}
