/*
 * Have files opened as root. The call never fails, it tells what it was.
 */
#include <sys/fsuid.h>

#include "tests/escape/attempt.h"

int main(void)
{
    setfsuid(0);
    int now = setfsuid((uid_t)-1);
    if (now == 0)
        escaped("opens files as root");
    contained("opens files as uid %d", now);
}
