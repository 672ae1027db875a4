/*
 * Seize the agent or the launcher as a debugger, without stopping it.
 */
#include <sys/ptrace.h>

#include "tests/escape/attempt.h"
#include "tests/escape/target.h"

int main(int argc, char **argv)
{
    attempt_result(ptrace(PTRACE_SEIZE, target_of(argc, argv), NULL, NULL), "seized");
}
