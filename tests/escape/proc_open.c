/*
 * Open a file of the agent or the launcher under /proc: argv[2] says which. Links are followed.
 */
#include <dirent.h>
#include <fcntl.h>
#include <sys/syscall.h>

#include "tests/escape/attempt.h"
#include "tests/escape/target.h"

int main(int argc, char **argv)
{
    char path[64];
    char byte[512];
    pid_t pid = target_of(argc, argv);
    if (argc < 3)
        untried("which file?");
    snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, argv[2]);
    int fd = open(path, O_RDONLY | O_NONBLOCK);
    if (fd < 0 && errno == ENOENT)
        untried("no %s", path);
    if (fd < 0)
        denied(errno);
    /* Some open for everybody and say nothing to who has no right. */
    long n = read(fd, byte, sizeof(byte));
    if (n < 0 && errno == EISDIR)
        n = syscall(SYS_getdents64, fd, byte, sizeof(byte));
    if (n < 0 && errno == EIO)
        escaped("memory opens"); /* it is only that nothing lies at 0 */
    if (n == 0)
        contained("%s opens and is empty", argv[2]);
    attempt_result(n, "read it");
}
