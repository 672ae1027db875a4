/*
 * Execute a program of 4 GiB, nearly all of it a hole: who hashes it must not keep everybody waiting.
 */
#include <fcntl.h>
#include <sys/sendfile.h>
#include <sys/stat.h>

#include "tests/escape/attempt.h"

int main(int argc, char **argv)
{
    if (argc > 1)
        contained("executed 4 GiB");
    struct stat st;
    int self = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    int out = open("large-program", O_CREAT | O_WRONLY | O_CLOEXEC, 0755);
    if (self < 0 || out < 0 || fstat(self, &st) < 0 ||
        sendfile(out, self, NULL, (size_t)st.st_size) != st.st_size || ftruncate(out, 4L << 30) < 0)
        untried("copy: %s", strerrorname_np(errno));
    close(out);
    execl("large-program", argv[0], "child", (char *)NULL);
    denied(errno);
}
