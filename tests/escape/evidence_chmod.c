/*
 * Open the evidence for everybody.
 */
#include <sys/stat.h>

#include "tests/escape/attempt.h"

int main(void)
{
    attempt_result(chmod("/workspace/evidence", 0777), "changed its mode");
}
