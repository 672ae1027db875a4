/*
 * Take no_new_privs back.
 */
#include <sys/prctl.h>

#include "tests/escape/attempt.h"

int main(void)
{
    if (prctl(PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0) == 0 || prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1)
        escaped("set-uid programs work again");
    contained("no_new_privs stays");
}
