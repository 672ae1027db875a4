/*
 * Execute a program whose name is gone when somebody looks. That is allowed; the record must say so.
 */
#include <fcntl.h>
#include <sys/sendfile.h>
#include <sys/stat.h>

#include "tests/escape/attempt.h"

int main(int argc, char **argv)
{
    if (argc > 1)
        contained("executed without a name");
    struct stat st;
    int self = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    int out = open("deleted", O_CREAT | O_WRONLY | O_CLOEXEC, 0755);
    if (self < 0 || out < 0 || fstat(self, &st) < 0 ||
        sendfile(out, self, NULL, (size_t)st.st_size) != st.st_size)
        untried("copy: %s", strerrorname_np(errno));
    close(out);
    int fd = open("deleted", O_PATH | O_CLOEXEC);
    if (fd < 0 || unlink("deleted") < 0)
        untried("deleted: %s", strerrorname_np(errno));
    char *const args[] = {argv[0], (char *)"child", NULL};
    execveat(fd, "", args, environ, AT_EMPTY_PATH);
    denied(errno);
}
