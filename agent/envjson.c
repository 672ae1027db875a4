/*
 * env.json: see envjson.h.
 */
#include "agent/envjson.h"

#include <stdio.h>

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

static void put_sandbox(struct json *j, const struct envjson_spec *s)
{
    char digest[SHA256_HEX_LEN + 8];
    bool applied = s->seccomp != NULL;
    snprintf(digest, sizeof(digest), "sha256:%s", applied ? s->seccomp->sha256 : "");
    json_key(j, "sandbox");
    json_obj_open(j);
    json_kstr(j, "profile", seccomp_profile_name(s->req->profile));
    json_kbool(j, "uidSeparation", true);
    json_kint(j, "uid", SANDBOX_UID);
    json_kint(j, "gid", SANDBOX_GID);
    json_kbool(j, "noNewPrivs", true);
    json_kbool(j, "seccomp", applied);
    json_kstr(j, "seccompSha256", applied ? digest : NULL);
    json_kbool(j, "landlock", false);
    json_kint(j, "landlockAbi", s->info->landlock_abi);
    json_kstr(j, "agentCapEff", s->info->cap_eff);
    json_kint(j, "containerSeccompMode", s->info->container_seccomp);
    json_kbool(j, "containerNoNewPrivs", s->info->container_nnp);
    json_obj_close(j);
}

static void put_agent(struct json *j, const struct agent_info *info)
{
    char digest[SHA256_HEX_LEN + 8];
    snprintf(digest, sizeof(digest), "sha256:%s", info->sha256);
    json_key(j, "image");
    json_obj_open(j);
    kstr_or_null(j, "name", info->image_name);
    kstr_or_null(j, "digest", info->image_digest);
    json_obj_close(j);
    json_key(j, "agent");
    json_obj_open(j);
    json_kstr(j, "version", ARP_VERSION);
    json_kstr(j, "sha256", info->sha256[0] ? digest : NULL);
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
    json_obj_close(&j);
    buf_append_char(out, '\n');
    return buf_error(out, err);
}
