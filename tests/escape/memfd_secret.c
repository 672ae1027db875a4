/*
 * Make memory that nobody else can read, not even who records what is executed.
 */
#include <sys/syscall.h>

#include "tests/escape/attempt.h"

int main(void)
{
    attempt_result(syscall(SYS_memfd_secret, 0), "has secret memory");
}
