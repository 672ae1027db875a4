/*
 * The same with the list of ignored files.
 */
#include "tests/escape/attempt.h"

int main(void)
{
    unlink(".gitignore");
    if (symlink("/escape-secret", ".gitignore") < 0)
        untried(".gitignore: %s", strerrorname_np(errno));
    contained("made a link");
}
