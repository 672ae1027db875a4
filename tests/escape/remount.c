/*
 * Make the read-only root writable.
 */
#include <sys/mount.h>

#include "tests/escape/attempt.h"

int main(void)
{
    attempt_result(mount(NULL, "/", NULL, MS_REMOUNT | MS_BIND, NULL), "remounted the root read-write");
}
