/*
 * Show other arguments than it was given in /proc/self/cmdline.
 */
#include <linux/prctl.h>
#include <sys/prctl.h>

#include "tests/escape/attempt.h"

int main(int argc, char **argv)
{
    if (argc < 1)
        untried("no arguments");
    attempt_result(prctl(PR_SET_MM, PR_SET_MM_ARG_START, argv[0] + 1, 0, 0), "shows other arguments");
}
