/*
 * Type into a terminal, as if the one who sits there did.
 */
#include "tests/escape/terminal.h"

int main(void)
{
    attempt_result(ioctl(terminal_open(), TIOCSTI, "x"), "typed a character");
}
