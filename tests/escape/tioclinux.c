/*
 * Paste into a console.
 */
#include "tests/escape/terminal.h"

int main(void)
{
    char request = 3; /* TIOCL_PASTESEL */
    attempt_result(ioctl(terminal_open(), TIOCLINUX, &request), "pasted");
}
