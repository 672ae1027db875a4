/*
 * List the store of repository snapshots, which is neither root's nor its own.
 */
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "tests/escape/attempt.h"

int main(void)
{
    DIR *d = opendir("/workspace");
    struct stat st;
    for (struct dirent *e; d && (e = readdir(d));) {
        if (fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_uid != 0 &&
            st.st_uid != getuid())
            attempt_result(openat(dirfd(d), e->d_name, O_RDONLY | O_DIRECTORY), "can list the store");
    }
    untried("no folder of a third user in /workspace");
}
