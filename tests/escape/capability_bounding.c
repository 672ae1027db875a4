/*
 * Look for a capability that a set-uid program could still give it: the bounding set must be empty.
 */
#include <linux/capability.h>
#include <sys/prctl.h>

#include "tests/escape/attempt.h"

int main(void)
{
    for (int cap = 0; cap <= 63; cap++) {
        int there = prctl(PR_CAPBSET_READ, cap, 0, 0, 0);
        if (there > 0)
            escaped("capability %d is in the bounding set", cap);
        if (there < 0 && cap == 0)
            untried("PR_CAPBSET_READ: %s", strerrorname_np(errno));
    }
    contained("the bounding set is empty");
}
