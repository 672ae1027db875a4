/*
 * Have the kernel write accounting records into a file.
 */
#include "tests/escape/attempt.h"

int main(void)
{
    attempt_result(acct("/workspace/repo/escape"), "gets accounting records");
}
