/*
 * In-toto statement and DSSE envelope: see statement.h.
 */
#include "orchestrator/bundle/statement.h"

#include <stdio.h>
#include <string.h>

#include "shared/clock.h"
#include "shared/json.h"

static void digest(struct json *j, const char *algorithm, const char *hex)
{
    json_key(j, "digest");
    json_obj_open(j);
    json_kstr(j, algorithm, hex);
    json_obj_close(j);
}

/* {"name":<top>/<file>,"digest":{"sha256":…}} */
static void subject(struct json *j, const struct bundle_input *in, const struct entries *e, const char *file)
{
    char name[160];
    snprintf(name, sizeof(name), "%s/%s", in->run_id, file);
    json_obj_open(j);
    json_kstr(j, "name", name);
    digest(j, "sha256", entries_find(e, file)->sha256);
    json_obj_close(j);
}

static void subjects(struct json *j, const struct bundle_input *in, const struct entries *e)
{
    json_key(j, "subject");
    json_arr_open(j);
    subject(j, in, e, "tagmanifest-sha256.txt");
    subject(j, in, e, "diff.patch");
    if (in->tree_after) {
        json_obj_open(j);
        json_kstr(j, "name", "workspace-tree");
        digest(j, "gitTree", in->tree_after);
        json_obj_close(j);
    }
    json_arr_close(j);
}

static void parameters(struct json *j, const struct bundle_input *in)
{
    json_key(j, "externalParameters");
    json_obj_open(j);
    json_kstr(j, "projectId", in->project_id);
    json_kstr(j, "engine", in->engine);
    json_kstr(j, "agent", in->agent_key);
    json_key(j, "prompt");
    if (in->prompt) {
        char hex[SHA256_HEX_LEN + 1];
        sha256_hex_of(in->prompt, strlen(in->prompt), hex);
        json_obj_open(j);
        digest(j, "sha256", hex);
        json_obj_close(j);
    } else {
        json_null(j);
    }
    json_obj_close(j);
    json_key(j, "internalParameters");
    json_obj_open(j);
    json_kstr(j, "userId", in->user_id);
    json_kstr(j, "workspaceId", in->workspace_id);
    json_kraw(j, "container_context", in->container_context);
    json_key(j, "limits");
    json_obj_open(j);
    json_kint(j, "nanoCpus", in->nano_cpus);
    json_kint(j, "memoryBytes", in->memory_bytes);
    json_kint(j, "pids", in->pids);
    json_obj_close(j);
    json_obj_close(j);
}

static void dependencies(struct json *j, const struct bundle_input *in)
{
    json_key(j, "resolvedDependencies");
    json_arr_open(j);
    if (in->image_name && in->image_digest && strncmp(in->image_digest, "sha256:", 7) == 0) {
        char uri[512];
        snprintf(uri, sizeof(uri), "docker://%.480s", in->image_name);
        json_obj_open(j);
        json_kstr(j, "uri", uri);
        digest(j, "sha256", in->image_digest + 7);
        json_obj_close(j);
    }
    if (in->git_commit) {
        json_obj_open(j);
        json_kstr(j, "uri", "git+file:///workspace/repo");
        json_key(j, "digest");
        json_obj_open(j);
        json_kstr(j, "gitCommit", in->git_commit);
        if (in->tree_before)
            json_kstr(j, "gitTree", in->tree_before);
        json_obj_close(j);
        json_obj_close(j);
    }
    json_arr_close(j);
}

static void byproduct(
    struct json *j, const struct entries *e, const char *name, const struct bundle_chain *chain)
{
    json_obj_open(j);
    json_kstr(j, "name", name);
    digest(j, "sha256", entries_find(e, name)->sha256);
    if (chain) {
        json_key(j, "annotations");
        json_obj_open(j);
        json_kuint(j, "arp_lines", chain->lines);
        json_kstr(j, "arp_head", chain->head);
        json_obj_close(j);
    }
    json_obj_close(j);
}

static void run_metadata(struct json *j, const struct bundle_input *in)
{
    char started[CLOCK_ISO_LEN + 1], finished[CLOCK_ISO_LEN + 1];
    clock_iso(in->started_us, started);
    clock_iso(in->finished_us, finished);
    json_key(j, "metadata");
    json_obj_open(j);
    json_kstr(j, "invocationId", in->run_id);
    json_kstr(j, "startedOn", started);
    json_kstr(j, "finishedOn", finished);
    json_key(j, "arp_evidence");
    json_obj_open(j);
    json_kbool(j, "closed", in->closed);
    json_kbool(j, "complete", in->complete);
    json_kbool(j, "volumeMatch", in->volume_match);
    json_kbool(j, "uidSeparation", in->uid_separation);
    json_obj_close(j);
    json_obj_close(j);
}

static void run_details(struct json *j, const struct bundle_input *in, const struct entries *e)
{
    json_key(j, "runDetails");
    json_obj_open(j);
    json_key(j, "builder");
    json_obj_open(j);
    /* SLSA: another set of security properties is another builder. */
    json_kstr(j, "id",
        in->uid_separation ? "urn:arp:orchestrator:docker-seccomp-uidsep:v1"
                           : "urn:arp:orchestrator:docker-seccomp:v1");
    json_key(j, "version");
    json_obj_open(j);
    json_kstr(j, "arp-orchestrator", in->orchestrator_version);
    if (in->agent_version)
        json_kstr(j, "arp-agent", in->agent_version);
    json_obj_close(j);
    json_obj_close(j);
    run_metadata(j, in);
    json_key(j, "byproducts");
    json_arr_open(j);
    byproduct(j, e, "events.jsonl", &in->events);
    byproduct(j, e, "command_log.jsonl", &in->command_log);
    byproduct(j, e, "processes.jsonl", &in->processes);
    byproduct(j, e, "outputs.json", NULL);
    byproduct(j, e, "env_snapshot.json", NULL);
    byproduct(j, e, "metadata.json", NULL);
    json_arr_close(j);
    json_obj_close(j);
}

int statement_write(
    const struct bundle_input *in, const struct entries *e, struct buf *out, struct arp_err *err)
{
    struct json j;
    json_init(&j, out);
    json_obj_open(&j);
    json_kstr(&j, "_type", "https://in-toto.io/Statement/v1");
    subjects(&j, in, e);
    json_kstr(&j, "predicateType", "https://slsa.dev/provenance/v1");
    json_key(&j, "predicate");
    json_obj_open(&j);
    json_key(&j, "buildDefinition");
    json_obj_open(&j);
    json_kstr(&j, "buildType", "urn:arp:agent-run:v1");
    parameters(&j, in);
    dependencies(&j, in);
    json_obj_close(&j);
    run_details(&j, in, e);
    json_obj_close(&j);
    json_obj_close(&j);
    return buf_error(out, err);
}

int statement_envelope(
    const struct buf *statement, const struct seal *seal, struct buf *out, struct arp_err *err)
{
    cleanup_buf struct buf payload, sig;
    buf_init(&payload, 2 * SIGNER_STATEMENT_MAX);
    buf_init(&sig, 128);
    if (base64_encode(statement->data, statement->len, &payload) ||
        base64_encode(seal->dsse_sig, SIGN_SIG_LEN, &sig))
        return arp_fail(err, ARP_E_NOMEM, 0, "encode the envelope");
    struct json j;
    json_init(&j, out);
    json_obj_open(&j);
    json_kstr(&j, "payloadType", "application/vnd.in-toto+json");
    json_kstr(&j, "payload", buf_str(&payload));
    json_key(&j, "signatures");
    json_arr_open(&j);
    json_obj_open(&j);
    json_kstr(&j, "keyid", seal->key_id);
    json_kstr(&j, "sig", buf_str(&sig));
    json_obj_close(&j);
    json_arr_close(&j);
    json_obj_close(&j);
    return buf_error(out, err);
}
