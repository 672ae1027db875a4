/*
 * Switch disk quotas on.
 */
#include <sys/quota.h>

#include "tests/escape/attempt.h"

int main(void)
{
    attempt_result(quotactl(QCMD(Q_QUOTAON, USRQUOTA), "/dev/vda", QFMT_VFS_V1, NULL), "changed quotas");
}
