/*
 * Make a folder beside the evidence.
 */
#include <sys/stat.h>

#include "tests/escape/attempt.h"

int main(void)
{
    attempt_result(mkdir("/workspace/evidence2", 0755), "made a folder");
}
