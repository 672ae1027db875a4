/*
 * Execute a set-uid program of root. The image holds a copy of this program with that bit.
 */
#include <sys/stat.h>

#include "tests/escape/attempt.h"

int main(int argc, char **argv)
{
    static const char copy[] = "/escape/set_uid_copy";
    struct stat st;
    if (argc > 1 && geteuid() == 0)
        escaped("is root");
    if (argc > 1)
        contained("executed it as uid %u", (unsigned)geteuid());
    if (stat(copy, &st) < 0 || st.st_uid != 0 || !(st.st_mode & S_ISUID))
        untried("%s is no set-uid program", copy);
    execl(copy, argv[0], "child", (char *)NULL);
    denied(errno);
}
