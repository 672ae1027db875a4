/*
 * Execute a program that has no name in any folder. That is allowed; the record must say so.
 */
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>

#include "tests/escape/attempt.h"

int main(int argc, char **argv)
{
    if (argc > 1)
        contained("executed from memory");
    struct stat st;
    int self = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    int fd = memfd_create("nameless", MFD_CLOEXEC);
    if (self < 0 || fd < 0 || fstat(self, &st) < 0 ||
        sendfile(fd, self, NULL, (size_t)st.st_size) != st.st_size)
        untried("copy: %s", strerrorname_np(errno));
    char *const args[] = {argv[0], (char *)"child", NULL};
    execveat(fd, "", args, environ, AT_EMPTY_PATH);
    denied(errno);
}
