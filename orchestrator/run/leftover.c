/*
 * Things in the evidence store that carry an id: see leftover.h.
 */
#include "orchestrator/run/leftover.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "orchestrator/bundle/package.h"
#include "orchestrator/evidence/model_files.h"
#include "orchestrator/evidence/staging.h"

/* True when name is before + a UUID + after; the UUID goes to ret. */
static bool name_is(const char *name, const char *before, const char *after, char ret[UUID_LEN + 1])
{
    size_t b = strlen(before);
    if (strncmp(name, before, b) != 0 || strlen(name) != b + UUID_LEN + strlen(after) ||
        strcmp(name + b + UUID_LEN, after) != 0)
        return false;
    memcpy(ret, name + b, UUID_LEN);
    ret[UUID_LEN] = '\0';
    return uuid_ok(ret);
}

bool leftover_of(enum leftover_place place, int dir_fd, const char *name, int64_t now_us,
    struct retention_name *ret_id, struct leftover *ret)
{
    static const struct {
        enum leftover_place place;
        const char *before, *after;
        enum leftover_kind kind;
    } names[] = {{LEFTOVER_IN_ROOT, "", ".zip", LEFTOVER_ZIP},
        {LEFTOVER_IN_ROOT, ".build-", "", LEFTOVER_BUILD}, {LEFTOVER_IN_STAGING, "", "", LEFTOVER_STAGED},
        {LEFTOVER_IN_STAGING, ".tmp-", "", LEFTOVER_HALF}, {LEFTOVER_IN_MODEL, "", "", LEFTOVER_LEDGER}};
    struct retention_name id;
    struct stat st;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (names[i].place != place || !name_is(name, names[i].before, names[i].after, id.id))
            continue;
        if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
            return false; /* gone meanwhile */
        int64_t made_us = (int64_t)st.st_mtim.tv_sec * 1000000 + st.st_mtim.tv_nsec / 1000;
        *ret_id = id;
        *ret = (struct leftover){names[i].kind, now_us - made_us};
        return true;
    }
    return false;
}

bool leftover_must_go(const struct leftover *l, const struct retention_owner *o, int64_t orphan_age_us)
{
    bool young = l->age_us < LEFTOVER_YOUNG_US;
    bool orphan = !o->known && l->age_us > orphan_age_us;
    switch (l->kind) {
    case LEFTOVER_ZIP:
        return o->deleted || orphan;
    case LEFTOVER_BUILD:
        return !young && !o->claimed;
    case LEFTOVER_STAGED:
        return orphan || (!young && (o->ready || o->deleted));
    case LEFTOVER_HALF:
        return !young && !o->live;
    case LEFTOVER_LEDGER:
        return orphan || (!young && o->known && !o->live);
    }
    return false;
}

int leftover_remove(
    const struct leftover *l, const struct run_env *env, int dir_fd, const char *id, struct arp_err *err)
{
    char name[UUID_LEN + 8];
    switch (l->kind) {
    case LEFTOVER_ZIP:
        snprintf(name, sizeof(name), "%s.zip", id);
        return unlinkat(dir_fd, name, 0) == 0 || errno == ENOENT
                   ? 0
                   : arp_fail(err, ARP_E_IO, errno, "remove '%s'", name);
    case LEFTOVER_BUILD:
        return package_discard(env->cfg->evidence_root, id, err);
    case LEFTOVER_STAGED:
        return staging_discard(env->staging_root, id, err);
    case LEFTOVER_HALF:
        return staging_discard_half(env->staging_root, id, err);
    case LEFTOVER_LEDGER:
        return model_files_discard(env->model_root, id, err);
    }
    return 0;
}
