/*
 * Ask where the pages of the agent or the launcher lie.
 */
#include <sys/syscall.h>

#include "tests/escape/attempt.h"
#include "tests/escape/target.h"

int main(int argc, char **argv)
{
    void *page = (void *)0x400000;
    int status = 0;
    attempt_result(
        syscall(SYS_move_pages, target_of(argc, argv), 1L, &page, NULL, &status, 0), "knows its pages");
}
