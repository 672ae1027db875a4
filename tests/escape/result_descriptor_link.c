/*
 * Make a result of what is behind a descriptor of the agent, by a link through /proc.
 */
#include "tests/escape/attempt.h"

int main(void)
{
    if (symlink("/proc/1/root/escape-secret", "results/agent-root") < 0)
        untried("results/agent-root: %s", strerrorname_np(errno));
    contained("made a link");
}
