/*
 * Have the kernel swap to a file of its own making.
 */
#include <sys/swap.h>

#include "tests/escape/attempt.h"

int main(void)
{
    attempt_result(swapon("/workspace/repo", 0), "swaps to it");
}
