/*
 * RO-Crate metadata: see crate.h. Validator facts that shape it: times end in +00:00, actionStatus is a plain string, an author
 * is required.
 */
#include "orchestrator/bundle/crate.h"

#include <stdio.h>
#include <string.h>

#include "shared/clock.h"
#include "shared/json.h"

#define CRATE_MAX (64u << 10)
#define PROFILE   "https://w3id.org/ro/wfrun/process/0.5"

static const struct {
    const char *name, *title, *type;
} crate_files[] = {
    {"events.jsonl", "Event log", "application/jsonl"},
    {"command_log.jsonl", "Command log", "application/jsonl"},
    {"processes.jsonl", "Process log", "application/jsonl"},
    {"outputs.json", "Outputs manifest", "application/json"},
    {"diff.patch", "Git diff", "text/x-diff"},
    {"metadata.json", "Run metadata", "application/json"},
    {"env_snapshot.json", "Environment snapshot", "application/json"},
    {"data/replay.json", "Replay plan", "application/json"},
    /* of an engine's run */
    {"engine.jsonl", "Output of the engine's program", "application/jsonl"},
    {"model_log.jsonl", "Log of model calls", "application/jsonl"},
    {"reconciliation.json", "Reconciliation", "application/json"},
};
#define ENGINE_FILES 3

static size_t crate_file_count(const struct bundle_input *in)
{
    size_t all = sizeof(crate_files) / sizeof(crate_files[0]);
    return bundle_has_engine(in) ? all : all - ENGINE_FILES;
}

/* {"@id":id} as the value of key. */
static void ref(struct json *j, const char *key, const char *id)
{
    if (key)
        json_key(j, key);
    json_obj_open(j);
    json_kstr(j, "@id", id);
    json_obj_close(j);
}

static void thing_open(struct json *j, const char *id, const char *type)
{
    json_obj_open(j);
    json_kstr(j, "@id", id);
    json_kstr(j, "@type", type);
}

static void named_thing(struct json *j, const char *id, const char *type, const char *name)
{
    thing_open(j, id, type);
    json_kstr(j, "name", name);
    json_obj_close(j);
}

static void crate_time(struct json *j, const char *key, int64_t us)
{
    char iso[CLOCK_ISO_LEN + 1], text[CLOCK_ISO_LEN + 8];
    clock_iso(us, iso);
    snprintf(text, sizeof(text), "%.*s+00:00", CLOCK_ISO_LEN - 1, iso);
    json_kstr(j, key, text);
}

static void root_dataset(struct json *j, const struct bundle_input *in, const char *run_urn)
{
    char name[96], day[CLOCK_ISO_LEN + 1];
    snprintf(name, sizeof(name), "Evidence of agent run %s", in->run_id);
    clock_iso(in->finished_us, day);
    thing_open(j, "./", "Dataset");
    json_kstr(j, "name", name);
    json_kstr(j, "description",
        "Sealed record of one agent run: events, commands, processes, outputs, changes, environment");
    json_kstrn(j, "datePublished", day, 10);
    ref(j, "license", "#license");
    ref(j, "author", "#org");
    ref(j, "conformsTo", PROFILE);
    json_key(j, "hasPart");
    json_arr_open(j);
    for (size_t i = 0; i < crate_file_count(in); i++)
        ref(j, NULL, crate_files[i].name);
    json_arr_close(j);
    ref(j, "mentions", run_urn);
    json_obj_close(j);
}

static void run_action(
    struct json *j, const struct bundle_input *in, const char *run_urn, const char *user_id)
{
    thing_open(j, run_urn, "CreateAction");
    json_kstr(j, "name", "Agent run");
    crate_time(j, "startTime", in->started_us);
    crate_time(j, "endTime", in->finished_us);
    ref(j, "instrument", "#agent");
    ref(j, "agent", user_id);
    ref(j, "result", "diff.patch");
    if (in->image_name)
        ref(j, "containerImage", "#image");
    json_obj_close(j);
}

static void image_thing(struct json *j, const struct bundle_input *in)
{
    if (!in->image_name)
        return;
    thing_open(j, "#image", "ContainerImage");
    ref(j, "additionalType", "https://w3id.org/ro/terms/workflow-run#DockerImage");
    json_kstr(j, "name", in->image_name);
    if (in->image_digest && strncmp(in->image_digest, "sha256:", 7) == 0)
        json_kstr(j, "sha256", in->image_digest + 7);
    json_obj_close(j);
}

static void graph(struct json *j, const struct bundle_input *in)
{
    char run_urn[64], user_id[64];
    snprintf(run_urn, sizeof(run_urn), "urn:uuid:%s", in->run_id);
    snprintf(user_id, sizeof(user_id), "#user-%s", in->user_id);
    thing_open(j, "ro-crate-metadata.json", "CreativeWork");
    ref(j, "conformsTo", "https://w3id.org/ro/crate/1.1");
    ref(j, "about", "./");
    json_obj_close(j);
    root_dataset(j, in, run_urn);
    thing_open(j, PROFILE, "CreativeWork");
    json_kstr(j, "name", "Process Run Crate");
    json_kstr(j, "version", "0.5");
    json_obj_close(j);
    thing_open(j, "#license", "CreativeWork");
    json_kstr(j, "name", "Confidential");
    json_kstr(j, "description", "All rights reserved by the tenant");
    json_obj_close(j);
    named_thing(j, "#org", "Organization", "Operator of the agent run platform");
    thing_open(j, "#agent", "SoftwareApplication");
    json_kstr(j, "name", in->engine);
    if (in->agent_version)
        json_kstr(j, "softwareVersion", in->agent_version);
    json_obj_close(j);
    named_thing(j, user_id, "Person", in->user_id);
    image_thing(j, in);
    run_action(j, in, run_urn, user_id);
    for (size_t i = 0; i < crate_file_count(in); i++) {
        thing_open(j, crate_files[i].name, "File");
        json_kstr(j, "name", crate_files[i].title);
        json_kstr(j, "encodingFormat", crate_files[i].type);
        json_obj_close(j);
    }
}

int crate_add(const struct bundle_input *in, struct entries *e, struct arp_err *err)
{
    cleanup_buf struct buf b;
    buf_init(&b, CRATE_MAX);
    struct json j;
    json_init(&j, &b);
    json_obj_open(&j);
    json_key(&j, "@context");
    json_arr_open(&j);
    json_str(&j, "https://w3id.org/ro/crate/1.1/context");
    json_str(&j, "https://w3id.org/ro/terms/workflow-run/context");
    json_arr_close(&j);
    json_key(&j, "@graph");
    json_arr_open(&j);
    graph(&j, in);
    json_arr_close(&j);
    json_obj_close(&j);
    buf_append_char(&b, '\n');
    return entries_add_buf(e, "ro-crate-metadata.json", &b, err);
}
