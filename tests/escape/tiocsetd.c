/*
 * Load a line discipline, and with it a kernel module, by its number.
 */
#include "tests/escape/terminal.h"

int main(void)
{
    int discipline = 21; /* N_GSM0710 */
    attempt_result(ioctl(terminal_open(), TIOCSETD, &discipline), "has another line discipline");
}
