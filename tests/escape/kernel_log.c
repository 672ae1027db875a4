/*
 * Read the kernel's log.
 */
#include <sys/klog.h>

#include "tests/escape/attempt.h"

int main(void)
{
    char text[256];
    attempt_result(klogctl(3, text, sizeof(text)), "read the kernel's log");
}
