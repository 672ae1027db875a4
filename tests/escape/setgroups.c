/*
 * Take root's group beside its own.
 */
#include <grp.h>

#include "tests/escape/attempt.h"

int main(void)
{
    gid_t root = 0;
    attempt_result(setgroups(1, &root), "is in root's group");
}
