/*
 * BagIt papers, README and replay plan: see bag.h.
 */
#include "orchestrator/bundle/bag.h"

#include <inttypes.h>
#include <string.h>

#include "shared/clock.h"
#include "shared/json.h"

/* One manifest line is at most 150 bytes; replay.json and README are a page. */
#define MANIFEST_MAX (150u * (BUNDLE_BLOBS_MAX + 1))
#define PAPER_MAX    (16u << 10)

static int add_buf(struct entries *e, const char *name, const struct buf *b, struct arp_err *err)
{
    int rc = buf_error(b, err);
    return rc ? rc : entries_add_bytes(e, name, b->data, b->len, err);
}

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

int bag_add_replay_plan(const struct bundle_input *in, struct entries *e, struct arp_err *err)
{
    cleanup_buf struct buf b;
    buf_init(&b, PAPER_MAX);
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
    json_obj_close(&j);
    buf_append_char(&b, '\n');
    return add_buf(e, "data/replay.json", &b, err);
}

int bag_add_readme(const struct bundle_input *in, struct entries *e, struct arp_err *err)
{
    cleanup_buf struct buf b;
    buf_init(&b, PAPER_MAX);
    buf_printf(&b,
        "Evidence of agent run %s\n\n"
        "The record of what was run: events.jsonl (everything, in order), command_log.jsonl (each command),\n"
        "processes.jsonl (each program that was executed), outputs.json (results), "
        "diff.patch (changes to the repository),\n"
        "env_snapshot.json and metadata.json (where and for whom), "
        "data/blobs (full output).\n\n"
        "Check it with stock tools, in this directory. The public key comes from the operator, never from "
        "this bundle.\n\n"
        "1. The files:      sha256sum --strict -c tagmanifest-sha256.txt && sha256sum --strict -c "
        "manifest-sha256.txt\n"
        "2. The signature:  ssh-keygen -Y verify -f allowed_signers -I " SIGNER_SSH_PRINCIPAL
        " -n " SIGNER_SSH_NAMESPACE " \\\n"
        "                     -s attestation/tagmanifest-sha256.txt.sig < tagmanifest-sha256.txt\n"
        "   allowed_signers is what the operator's server answers at /.well-known/arp-allowed-signers.\n"
        "3. The statement:  attestation/run.intoto.jsonl, a DSSE envelope with an in-toto/SLSA statement by "
        "the same key.\n"
        "4. The chains:     each line of events.jsonl, command_log.jsonl and processes.jsonl names the "
        "SHA-256 of the line before it as \"prev\".\n"
        "5. All of it:      arpctl verify --keyring keys.json <bundle>.zip\n"
        "   keys.json is what the operator's server answers at /.well-known/arp-keys.json.\n\n"
        "What this proves is that the record is as the recorder made it: unaltered, uncut, of this run. It "
        "does not prove that the\n"
        "operator of the recorder was honest, nor that something not recorded did not happen.\n",
        in->run_id);
    return add_buf(e, "README.txt", &b, err);
}

static bool is_payload(const struct entry *entry)
{
    return strncmp(entry->name, "data/", 5) == 0;
}

static int add_bag_info(const struct bundle_input *in, struct entries *e, struct arp_err *err)
{
    uint64_t bytes = 0, files = 0;
    for (size_t i = 0; i < e->count; i++) {
        if (!is_payload(&e->items[i]))
            continue;
        bytes += e->items[i].size;
        files++;
    }
    char day[CLOCK_ISO_LEN + 1];
    clock_iso(in->finished_us, day);
    cleanup_buf struct buf b;
    buf_init(&b, PAPER_MAX);
    buf_printf(&b,
        "Bag-Software-Agent: arp-orchestrator\n"
        "Bagging-Date: %.10s\n"
        "External-Identifier: urn:uuid:%s\n"
        "Payload-Oxum: %" PRIu64 ".%" PRIu64 "\n"
        "Arp-Salt: %s\n",
        day, in->run_id, bytes, files, in->salt);
    return add_buf(e, "bag-info.txt", &b, err);
}

static int add_manifest(struct entries *e, const char *name, bool payload, struct arp_err *err)
{
    cleanup_buf struct buf b;
    buf_init(&b, MANIFEST_MAX);
    entries_sort(e);
    for (size_t i = 0; i < e->count; i++)
        if (is_payload(&e->items[i]) == payload)
            buf_printf(&b, "%s  %s\n", e->items[i].sha256, e->items[i].name);
    return add_buf(e, name, &b, err);
}

int bag_seal_manifests(const struct bundle_input *in, struct entries *e, struct arp_err *err)
{
    static const char bagit[] = "BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n";
    int rc = entries_add_bytes(e, "bagit.txt", bagit, sizeof(bagit) - 1, err);
    if (!rc)
        rc = add_bag_info(in, e, err);
    if (!rc)
        rc = add_manifest(e, "manifest-sha256.txt", true, err);
    if (!rc)
        rc = add_manifest(e, "tagmanifest-sha256.txt", false, err);
    return rc;
}
