/*
 * Read the local descriptor table; who may read it may write it.
 */
#include <sys/syscall.h>

#include "tests/escape/attempt.h"

int main(void)
{
    char table[64];
    attempt_result(syscall(SYS_modify_ldt, 0, table, sizeof(table)), "reached the descriptor table");
}
