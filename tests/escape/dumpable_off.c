/*
 * Close itself to who records what is executed. The call must only seem to work: ssh-agent and gpg insist on it.
 */
#include <sys/prctl.h>

#include "tests/escape/attempt.h"

int main(void)
{
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
        denied(errno);
    if (prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) != 1)
        escaped("is not dumpable");
    contained("is dumpable as before");
}
