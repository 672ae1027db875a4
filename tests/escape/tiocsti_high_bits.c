/*
 * The same with bits above the request's 32, which the kernel does not look at and a careless filter compares.
 */
#include <sys/syscall.h>

#include "tests/escape/terminal.h"

int main(void)
{
    attempt_result(syscall(SYS_ioctl, terminal_open(), (1L << 32) | TIOCSTI, "x"), "typed a character");
}
