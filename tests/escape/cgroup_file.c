/*
 * Open a file of any control group for writing: argv[1] says which.
 */
#include <fcntl.h>
#include <ftw.h>

#include "tests/escape/attempt.h"

static const char *wanted;
static int refused; /* errno of the last try */

static int try_file(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st;
    if (type != FTW_F || strcmp(path + at->base, wanted) != 0)
        return 0;
    if (open(path, O_WRONLY | O_CLOEXEC) >= 0)
        escaped("may write %s", path);
    refused = errno;
    return 0;
}

int main(int argc, char **argv)
{
    if (argc < 2)
        untried("which file?");
    wanted = argv[1];
    nftw("/sys/fs/cgroup", try_file, 16, FTW_PHYS);
    if (!refused)
        contained("there is no %s", wanted);
    denied(refused);
}
