/*
 * Let the repository's configuration be root's secret: who reads it and tells what is wrong there tells the secret.
 */
#include "tests/escape/attempt.h"

int main(void)
{
    unlink(".git/config");
    if (symlink("/escape-secret", ".git/config") < 0)
        untried(".git/config: %s", strerrorname_np(errno));
    contained("made a link");
}
