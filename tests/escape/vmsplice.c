/*
 * Give pages of one's own to a pipe.
 */
#include <fcntl.h>
#include <sys/uio.h>

#include "tests/escape/attempt.h"

int main(void)
{
    int ends[2];
    char text[] = "x";
    struct iovec part = {text, 1};
    if (pipe(ends) < 0)
        untried("pipe: %s", strerrorname_np(errno));
    attempt_result(vmsplice(ends[1], &part, 1, 0), "gave a page away");
}
