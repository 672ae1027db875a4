/*
 * Mount a file system of its own over a folder of everybody.
 */
#include <sys/mount.h>

#include "tests/escape/attempt.h"

int main(void)
{
    attempt_result(mount("none", "/tmp", "tmpfs", 0, NULL), "mounted a tmpfs on /tmp");
}
