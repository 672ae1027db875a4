/*
 * Make a result of root's secret by a link. Making it is nobody's business, its bytes must be in no bundle.
 */
#include "tests/escape/attempt.h"

int main(void)
{
    if (symlink("/escape-secret", "results/secret") < 0)
        untried("results/secret: %s", strerrorname_np(errno));
    contained("made a link");
}
