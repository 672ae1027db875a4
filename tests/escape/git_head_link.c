/*
 * The same with HEAD.
 */
#include "tests/escape/attempt.h"

int main(void)
{
    unlink(".git/HEAD");
    if (symlink("/escape-secret", ".git/HEAD") < 0)
        untried(".git/HEAD: %s", strerrorname_np(errno));
    contained("made a link");
}
