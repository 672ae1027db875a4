/*
 * Replay plan: see replay.h.
 */
#include "orchestrator/bundle/replay.h"

#include "shared/json.h"

#define PLAN_MAX (16u << 10)

static void image_members(struct json *j, const struct bundle_input *in)
{
    json_key(j, "image");
    json_obj_open(j);
    json_kstr(j, "name", in->image_name);
    json_kstr(j, "digest", in->image_digest);
    json_obj_close(j);
    json_key(j, "base");
    json_obj_open(j);
    json_kstr(j, "gitCommit", in->git_commit);
    json_kstr(j, "gitTree", in->tree_before);
    json_obj_close(j);
    json_kstr(j, "treeAfter", in->tree_after);
}

int replay_add(const struct bundle_input *in, struct entries *e, struct arp_err *err)
{
    cleanup_buf struct buf b;
    buf_init(&b, PLAN_MAX);
    struct json j;
    json_init(&j, &b);
    json_obj_open(&j);
    json_kint(&j, "v", 1);
    image_members(&j, in);
    json_kstr(&j, "engine", in->engine);
    json_kstr(&j, "network", "internal");
    json_key(&j, "limits");
    json_obj_open(&j);
    json_kint(&j, "nanoCpus", in->nano_cpus);
    json_kint(&j, "memoryBytes", in->memory_bytes);
    json_kint(&j, "pids", in->pids);
    json_obj_close(&j);
    json_kstr(&j, "commands", "command_log.jsonl");
    if (bundle_has_engine(in)) {
        json_kstr(&j, "engineVersion", in->program.version);
        json_kdigest(&j, "engineSha256", in->program.sha256);
        json_kstr(&j, "modelCalls", "model_log.jsonl");
    }
    json_obj_close(&j);
    buf_append_char(&b, '\n');
    return entries_add_buf(e, "data/replay.json", &b, err);
}
