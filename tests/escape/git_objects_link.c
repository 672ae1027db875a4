/*
 * Let the repository's alternates be those of the evidence.
 */
#include "tests/escape/attempt.h"

int main(void)
{
    unlink(".git/objects/info/alternates");
    if (symlink("/workspace/evidence", ".git/objects/info/alternates") < 0)
        untried(".git/objects/info/alternates: %s", strerrorname_np(errno));
    contained("made a link");
}
