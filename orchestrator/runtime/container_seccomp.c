/*
 * Container seccomp profile: see container_seccomp.h.
 */
#include "orchestrator/runtime/container_seccomp.h"

#include <errno.h>

#include "shared/json.h"
#include "shared/seccomp_names.h"

static void put_names(struct json *j, const char *const *names)
{
    for (; *names; names++)
        json_str(j, *names);
}

int container_seccomp_write(struct buf *out, struct arp_err *err)
{
    /* Engines before 23 overlook defaultErrnoRet and answer EPERM, at which a libc gives up instead of falling back: clone3 is the one
     * call where that matters to the agent; commands get ENOSYS from the agent's programs, which are asked first. */
    static const char *const fallback[] = {"clone3", NULL};
    static const char *const by_value[] = {"personality", NULL};
    struct json j;
    json_init(&j, out);
    json_obj_open(&j);
    json_kstr(&j, "defaultAction", "SCMP_ACT_ERRNO");
    json_kint(&j, "defaultErrnoRet", ENOSYS);
    json_kraw(&j, "architectures", "[\"" SECCOMP_NATIVE_ARCH "\"]");
    json_key(&j, "syscalls");
    json_arr_open(&j);
    json_obj_open(&j);
    json_key(&j, "names");
    json_arr_open(&j);
    put_names(&j, seccomp_names_allowed);
    put_names(&j, seccomp_names_lenient);
    put_names(&j, seccomp_names_denied);
    put_names(&j, by_value);
    json_arr_close(&j);
    json_kstr(&j, "action", "SCMP_ACT_ALLOW");
    json_obj_close(&j);
    json_obj_open(&j);
    json_key(&j, "names");
    json_arr_open(&j);
    put_names(&j, fallback);
    json_arr_close(&j);
    json_kstr(&j, "action", "SCMP_ACT_ERRNO");
    json_kint(&j, "errnoRet", ENOSYS);
    json_obj_close(&j);
    json_arr_close(&j);
    json_obj_close(&j);
    return buf_error(out, err);
}
