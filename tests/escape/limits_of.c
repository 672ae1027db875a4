/*
 * Take the agent or the launcher its open files: a resource limit from outside.
 */
#include <sys/resource.h>

#include "tests/escape/attempt.h"
#include "tests/escape/target.h"

int main(int argc, char **argv)
{
    struct rlimit none = {3, 3};
    attempt_result(prlimit(target_of(argc, argv), RLIMIT_NOFILE, &none, NULL), "changed its limits");
}
