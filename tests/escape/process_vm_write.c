/*
 * Write the memory of the agent or the launcher without attaching. The address need not be right: the right to it is asked
 * first.
 */
#include <sys/uio.h>

#include "tests/escape/attempt.h"
#include "tests/escape/target.h"

int main(int argc, char **argv)
{
    char byte = 0;
    struct iovec here = {&byte, 1};
    struct iovec there = {(void *)0x400000, 1};
    attempt_result(process_vm_writev(target_of(argc, argv), &here, 1, &there, 1, 0), "wrote its memory");
}
