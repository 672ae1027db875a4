/*
 * Compare a descriptor with one of the agent or the launcher.
 */
#include <linux/kcmp.h>
#include <sys/syscall.h>

#include "tests/escape/attempt.h"
#include "tests/escape/target.h"

int main(int argc, char **argv)
{
    attempt_result(
        syscall(SYS_kcmp, getpid(), target_of(argc, argv), KCMP_FILE, 0L, 3L), "compared descriptors");
}
