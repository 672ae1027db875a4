/*
 * Read a link of the agent or the launcher under /proc: argv[2] says which.
 */
#include <limits.h>

#include "tests/escape/attempt.h"
#include "tests/escape/target.h"

int main(int argc, char **argv)
{
    char path[64];
    char to[PATH_MAX];
    pid_t pid = target_of(argc, argv);
    if (argc < 3)
        untried("which link?");
    snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, argv[2]);
    attempt_result(readlink(path, to, sizeof(to)), "knows where it points");
}
