/*
 * env.json: see envjson.h.
 */
#include "agent/envjson.h"

#include <stdio.h>
#include <string.h>

#include "agent/builtin.h"
#include "agent/sandbox.h"
#include "shared/clock.h"
#include "shared/json.h"

static void kstr_or_null(struct json *j, const char *key, const char *value)
{
    json_kstr(j, key, value[0] ? value : NULL);
}

static void kdirty(struct json *j, const char *key, const struct snapshot_state *s)
{
    if (s->has_dirty)
        json_kbool(j, key, s->dirty);
    else
        json_knull(j, key);
}

static void put_git(struct json *j, const struct snapshot_state *b, const struct snapshot_state *a)
{
    json_key(j, "git");
    json_obj_open(j);
    kstr_or_null(j, "commit", b->commit);
    kstr_or_null(j, "branch", b->branch);
    json_kbool(j, "detached", b->detached);
    json_kbool(j, "unborn", b->unborn);
    kdirty(j, "dirty", b);
    kstr_or_null(j, "treeBefore", b->tree);
    kstr_or_null(j, "treeAfter", a->tree);
    kstr_or_null(j, "commitAfter", a->commit);
    kstr_or_null(j, "branchAfter", a->branch);
    kdirty(j, "dirtyAfter", a);
    json_kuint(j, "files", a->files);
    json_kuint(j, "skippedBefore", b->skipped);
    json_kuint(j, "skippedAfter", a->skipped);
    if (b->error[0])
        json_kstr(j, "error", b->error);
    if (a->error[0])
        json_kstr(j, "errorAfter", a->error);
    if (b->tree_error[0] || a->tree_error[0])
        json_kstr(j, "treeError", b->tree_error[0] ? b->tree_error : a->tree_error);
    json_obj_close(j);
}

/* What the launcher's /proc/self/status said when all layers were on. */
static void put_readback(struct json *j, const struct sandbox_layers *l)
{
    char caps[20];
    json_key(j, "readback");
    json_obj_open(j);
    snprintf(caps, sizeof(caps), "%016llx", (unsigned long long)l->cap_effective);
    json_kstr(j, "capEff", caps);
    snprintf(caps, sizeof(caps), "%016llx", (unsigned long long)l->cap_bounding);
    json_kstr(j, "capBnd", caps);
    json_kint(j, "noNewPrivs", l->no_new_privs);
    json_kuint(j, "seccomp", l->seccomp_mode);
    json_kuint(j, "uid", l->launcher_uid);
    json_obj_close(j);
}

static void put_sandbox(struct json *j, const struct envjson_spec *s)
{
    static const struct sandbox_layers none = {0};
    const struct sandbox_layers *l = s->layers ? s->layers : &none;
    json_key(j, "sandbox");
    json_obj_open(j);
    json_kstr(j, "profile", s->req->profile_json ? "custom" : seccomp_profile_name(s->req->profile));
    json_kdigest(j, "profileSha256", s->req->profile_json ? s->req->profile_sha256 : NULL);
    json_kdigest(j, "seccompSha256", s->layers && s->seccomp ? s->seccomp->sha256 : NULL);
    json_key(j, "layers");
    sandbox_layers_put(j, s->layers);
    json_kint(j, "uid", SANDBOX_UID);
    json_kint(j, "gid", SANDBOX_GID);
    json_kbool(j, "uidSeparation", l->uid);
    json_kbool(j, "noNewPrivs", l->no_new_privs);
    json_kbool(j, "seccomp", l->seccomp);
    json_kbool(j, "landlock", l->landlock);
    json_kint(j, "landlockAbi", s->info->landlock_abi);
    if (s->layers)
        put_readback(j, l);
    else
        json_knull(j, "readback");
    sandbox_recorder_put(j, l);
    json_kstr(j, "agentCapEff", s->info->cap_eff);
    json_kint(j, "containerSeccompMode", s->info->container_seccomp);
    json_kbool(j, "containerNoNewPrivs", s->info->container_nnp);
    json_obj_close(j);
}

static void put_agent(struct json *j, const struct agent_info *info)
{
    json_key(j, "image");
    json_obj_open(j);
    kstr_or_null(j, "name", info->image_name);
    kstr_or_null(j, "digest", info->image_digest);
    json_obj_close(j);
    json_key(j, "agent");
    json_obj_open(j);
    json_kstr(j, "version", ARP_VERSION);
    json_kdigest(j, "sha256", info->sha256);
    json_obj_close(j);
}

/* Who worked: an engine without a program of its own is part of the agent. */
static void put_engine(struct json *j, const struct engine_info *e)
{
    json_key(j, "engine");
    if (!e) {
        json_null(j);
        return;
    }
    json_obj_open(j);
    engine_info_put(j, e);
    if (strcmp(e->name, "builtin") == 0) {
        char prompt[SHA256_HEX_LEN + 1], tools[SHA256_HEX_LEN + 1];
        builtin_digests(prompt, tools);
        json_kdigest(j, "promptSha256", prompt);
        json_kdigest(j, "toolsSha256", tools);
    }
    json_obj_close(j);
}

int envjson_write(const struct envjson_spec *s, struct buf *out, struct arp_err *err)
{
    char now[CLOCK_ISO_LEN + 1];
    struct json j;
    clock_iso_now(now);
    json_init(&j, out);
    json_obj_open(&j);
    json_kstr(&j, "runId", s->req->run_id);
    json_kstr(&j, "createdAt", now);
    put_git(&j, s->before, s->after);
    put_sandbox(&j, s);
    json_key(&j, "limits");
    json_obj_open(&j);
    json_kint(&j, "runTimeoutMs", s->req->timeout_ms);
    json_kint(&j, "coreBytes", 0);
    json_kuint(&j, "fileBytes", SANDBOX_FSIZE);
    json_kuint(&j, "openFiles", SANDBOX_NOFILE);
    json_obj_close(&j);
    json_key(&j, "environment");
    cmdenv_put(s->env, &j);
    put_agent(&j, s->info);
    put_engine(&j, s->engine);
    json_obj_close(&j);
    buf_append_char(out, '\n');
    return buf_error(out, err);
}
