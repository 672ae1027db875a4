/*
 * Become another user: argv[1] says which.
 */
#include "tests/escape/attempt.h"

int main(int argc, char **argv)
{
    attempt_result(setuid((uid_t)(argc > 1 ? atoi(argv[1]) : 0)), "changed its user");
}
