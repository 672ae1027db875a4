/*
 * Change the root of a process: the first step of the oldest way out of a container.
 */
#include "tests/escape/attempt.h"

int main(void)
{
    attempt_result(chroot("/tmp"), "changed its root");
}
