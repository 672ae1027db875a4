/*
 * Reboot: what Ctrl-Alt-Del does is the harmless one of its requests.
 */
#include <sys/reboot.h>

#include "tests/escape/attempt.h"

int main(void)
{
    attempt_result(reboot(RB_DISABLE_CAD), "spoke to the machine's switch");
}
