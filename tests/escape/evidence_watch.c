/*
 * Watch the evidence being written.
 */
#include <sys/inotify.h>

#include "tests/escape/attempt.h"

int main(void)
{
    attempt_result(inotify_add_watch(inotify_init1(0), "/workspace/evidence", IN_ALL_EVENTS), "watches");
}
