/*
 * File rights: see filerights.h.
 */
#include "agent/filerights.h"

#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

bool file_rights_take(uid_t uid, gid_t gid)
{
    syscall(SYS_setfsgid, gid);
    syscall(SYS_setfsuid, uid);
    return (uid_t)syscall(SYS_setfsuid, -1) == uid && (gid_t)syscall(SYS_setfsgid, -1) == gid;
}

void file_rights_restore(void)
{
    if (!file_rights_take(geteuid(), getegid()))
        abort();
}
