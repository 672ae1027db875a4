/*
 * Ask for the robust futex list of the agent or the launcher: an address in its memory.
 */
#include <linux/futex.h>
#include <sys/syscall.h>

#include "tests/escape/attempt.h"
#include "tests/escape/target.h"

int main(int argc, char **argv)
{
    struct robust_list_head *head = NULL;
    size_t size = 0;
    attempt_result(syscall(SYS_get_robust_list, target_of(argc, argv), &head, &size), "knows an address");
}
