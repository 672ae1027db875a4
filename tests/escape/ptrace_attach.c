/*
 * Attach to the agent or the launcher as a debugger.
 */
#include <sys/ptrace.h>

#include "tests/escape/attempt.h"
#include "tests/escape/target.h"

int main(int argc, char **argv)
{
    attempt_result(ptrace(PTRACE_ATTACH, target_of(argc, argv), NULL, NULL), "attached");
}
