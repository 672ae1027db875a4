/*
 * Kill every process it may signal. The agent and the launcher must still be there for the next command.
 */
#include <signal.h>

#include "tests/escape/attempt.h"

int main(void)
{
    if (kill(-1, SIGKILL) < 0 && errno != ESRCH)
        denied(errno);
    contained("SIGKILL to all, and this process is here to say so");
}
