/*
 * Box: see box.h.
 */
#include "agent/box.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

struct box {
    struct reaper *reaper;
    struct launcher *launcher;
    struct recorder *recorder;
    uid_t uid;
    struct sandbox_layers layers;
};

static int open_all(struct box *b, const struct box_spec *s, struct arp_err *err)
{
    char repo[1100];
    int listener = -1;
    snprintf(repo, sizeof(repo), "%s/repo", s->workspace);
    const char *writable[] = {repo, "/tmp", "/var/tmp", "/dev", s->env->home, s->home, NULL};
    struct launcher_box box = {.seccomp = s->seccomp,
        .vars = s->vars ? s->vars : s->env->vars,
        .writable = writable,
        .search_path = s->env->path,
        .connect_port = s->connect_port};
    if (s->connect_port && !s->seccomp->streams_only)
        return arp_fail(err, ARP_E_UNSUPPORTED, 0, "sandbox: the seccomp program lets datagrams through");
    int rc = launcher_confine(b->launcher, &box, &b->layers, &listener, err);
    if (rc)
        return rc;
    struct recorder_spec spec = {.reaper = s->reaper,
        .launcher = b->launcher,
        .cache = s->cache,
        .listener = listener,
        .profile = s->seccomp->profile,
        .uid = s->ids->uid,
        .gid = s->ids->gid};
    return recorder_start(&spec, &b->recorder, err);
}

int box_open(const struct box_spec *spec, struct box **ret, struct arp_err *err)
{
    struct box *b = calloc(1, sizeof(*b));
    if (!b) {
        launcher_stop(spec->launcher);
        return arp_fail(err, ARP_E_NOMEM, 0, "box");
    }
    b->reaper = spec->reaper;
    b->launcher = spec->launcher;
    b->uid = spec->ids->uid;
    int rc = open_all(b, spec, err);
    if (rc) {
        box_close(b);
        return rc;
    }
    *ret = b;
    return 0;
}

void box_close(struct box *b)
{
    if (!b)
        return;
    launcher_stop(b->launcher);
    recorder_stop(b->recorder);
    free(b);
}

const struct sandbox_layers *box_layers(const struct box *b)
{
    return &b->layers;
}

uid_t box_uid(const struct box *b)
{
    return b->uid;
}

struct recorder *box_recorder(const struct box *b)
{
    return b->recorder;
}

int box_spawn(struct box *b, uint64_t command_id, const struct launch *launch, struct child *child,
    struct exec_outcome *ret, struct arp_err *err)
{
    int rc = reaper_prepare(child, err);
    if (rc)
        return rc;
    recorder_begin(b->recorder, command_id, launch, child);
    rc = launcher_spawn(b->launcher, launch, ret, err);
    /* A launcher that is gone may have left a process that is about to ask for its exec. */
    recorder_disown(b->recorder);
    /* Killed between the launcher's fork and its first exec: there is nobody whose end could be waited for. */
    if (rc == 0 && ret->stage == EXEC_STARTED && child->pid == 0)
        *ret = (struct exec_outcome){.stage = EXEC_SETUP, .sys_errno = ECHILD, .step = "start a process"};
    if (rc || ret->stage != EXEC_STARTED)
        reaper_forget(b->reaper, child);
    return rc;
}
