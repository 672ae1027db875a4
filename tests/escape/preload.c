/*
 * Have the next program that starts, the launcher for one, load a library first.
 */
#include <fcntl.h>

#include "tests/escape/attempt.h"

int main(void)
{
    attempt_result(open("/etc/ld.so.preload", O_CREAT | O_WRONLY | O_CLOEXEC, 0644), "may name a library");
}
