/*
 * Execute a program that it may not read, which closes the process to who records. The record must say what it could not see.
 */
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/sendfile.h>
#include <sys/stat.h>

#include "tests/escape/attempt.h"

int main(int argc, char **argv)
{
    if (argc > 1)
        contained("executed, dumpable %d", prctl(PR_GET_DUMPABLE, 0, 0, 0, 0));
    struct stat st;
    int self = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    int out = open("unreadable", O_CREAT | O_WRONLY | O_CLOEXEC, 0111);
    if (self < 0 || out < 0 || fstat(self, &st) < 0 ||
        sendfile(out, self, NULL, (size_t)st.st_size) != st.st_size)
        untried("copy: %s", strerrorname_np(errno));
    close(out);
    execl("unreadable", argv[0], "child", (char *)NULL);
    denied(errno);
}
