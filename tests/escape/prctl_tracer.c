/*
 * Let any process trace it, whatever the machine's rules say.
 */
#include <linux/prctl.h>
#include <sys/prctl.h>

#include "tests/escape/attempt.h"

int main(void)
{
    attempt_result(prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0), "may be traced by anyone");
}
