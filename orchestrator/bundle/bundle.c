/*
 * Building a bundle, step by step: see bundle.h.
 */
#include "orchestrator/bundle/bundle.h"

#include <stdio.h>
#include <string.h>

#include "orchestrator/bundle/bag.h"
#include "orchestrator/bundle/crate.h"
#include "orchestrator/bundle/entries.h"
#include "orchestrator/bundle/replay.h"
#include "orchestrator/bundle/staged.h"
#include "orchestrator/bundle/statement.h"
#include "shared/uuid.h"

#define ENVELOPE "attestation/run.intoto.jsonl"

static bool hex_ok(const char *s)
{
    size_t n = s ? strlen(s) : 0;
    return !s || ((n == 40 || n == 64) && strspn(s, "0123456789abcdef") == n);
}

static bool image_digest_ok(const char *s)
{
    return !s || (strncmp(s, "sha256:", 7) == 0 && sha256_hex_ok(s + 7));
}

static int input_check(const struct bundle_input *in, struct arp_err *err)
{
    if (!uuid_ok(in->run_id) || !uuid_ok(in->user_id) || !uuid_ok(in->project_id) ||
        !uuid_ok(in->workspace_id))
        return arp_fail(err, ARP_E_INVALID, 0, "bundle input: an id is not a UUID");
    if (!sha256_hex_ok(in->salt) || !sha256_hex_ok(in->events.head) || !sha256_hex_ok(in->command_log.head) ||
        !sha256_hex_ok(in->processes.head))
        return arp_fail(err, ARP_E_INVALID, 0, "bundle input: salt or chain head is not 64 hex digits");
    if (!hex_ok(in->git_commit) || !hex_ok(in->tree_before) || !hex_ok(in->tree_after) ||
        !image_digest_ok(in->image_digest))
        return arp_fail(err, ARP_E_INVALID, 0, "bundle input: commit, tree or image digest is malformed");
    if (!in->engine || !in->orchestrator_version)
        return arp_fail(err, ARP_E_INVALID, 0, "bundle input: engine or version is missing");
    const struct bundle_program *p = &in->program;
    if ((p->sha256 && !sha256_hex_ok(p->sha256)) || (p->prompt_sha256 && !sha256_hex_ok(p->prompt_sha256)) ||
        (p->tools_sha256 && !sha256_hex_ok(p->tools_sha256)))
        return arp_fail(err, ARP_E_INVALID, 0, "bundle input: a digest of the engine is malformed");
    if (bundle_has_engine(in) && !sha256_hex_ok(in->model_log.head))
        return arp_fail(err, ARP_E_INVALID, 0, "bundle input: chain head is not 64 hex digits");
    return 0;
}

static int chain_check(
    const struct bundle_input *in, const char *file, const struct bundle_chain *want, struct arp_err *err)
{
    struct bundle_chain got;
    int rc = staged_chain_end(in->staging_dir, in->run_id, file, &got, err);
    if (rc)
        return rc;
    if (got.lines != want->lines || strcmp(got.head, want->head) != 0)
        return arp_fail(err, ARP_E_EVIDENCE, 0, "%s ends at line %llu %s, the run's record says %llu %s",
            file, (unsigned long long)got.lines, got.head, (unsigned long long)want->lines, want->head);
    return 0;
}

static int add_readme(const struct bundle_input *in, struct entries *e, struct arp_err *err)
{
    static const char engine_files[] =
        "engine.jsonl (what the coding agent's program printed), model_log.jsonl (each call of a model),\n"
        "reconciliation.json (what the model asked for, was told, and what really ran),\n";
    char about[900];
    snprintf(about, sizeof(about),
        "Evidence of agent run %s\n\n"
        "The record of what was run: events.jsonl (everything, in order), command_log.jsonl (each command),\n"
        "processes.jsonl (each program that was executed), outputs.json (results), "
        "diff.patch (changes to the repository),\n%s"
        "env_snapshot.json and metadata.json (where and for whom), "
        "data/blobs (full output).\n\n",
        in->run_id, bundle_has_engine(in) ? engine_files : "");
    const struct bag_readme readme = {.about = about,
        .envelope = ENVELOPE,
        .chains = bundle_has_engine(in)
                      ? "each line of events.jsonl, command_log.jsonl, processes.jsonl and "
                        "model_log.jsonl names the SHA-256 of the line before it as \"prev\"."
                      : "each line of events.jsonl, command_log.jsonl and processes.jsonl "
                        "names the SHA-256 of the line before it as \"prev\".",
        .verify = "arpctl verify --keyring keys.json <bundle>.zip"};
    return bag_add_readme(&readme, e, err);
}

/* All files but the attestation. */
static int collect(const struct bundle_input *in, struct entries *e, struct arp_err *err)
{
    int rc = chain_check(in, "events.jsonl", &in->events, err);
    if (!rc)
        rc = chain_check(in, "command_log.jsonl", &in->command_log, err);
    if (!rc)
        rc = chain_check(in, "processes.jsonl", &in->processes, err);
    if (!rc && bundle_has_engine(in))
        rc = chain_check(in, "model_log.jsonl", &in->model_log, err);
    if (!rc)
        rc = staged_read(in->staging_dir, bundle_has_engine(in), e, err);
    if (!rc && entries_total_size(e) > BUNDLE_SIZE_MAX)
        rc = arp_fail(err, ARP_E_TOO_LARGE, 0, "the evidence is over %llu bytes", BUNDLE_SIZE_MAX);
    if (!rc)
        rc = replay_add(in, e, err);
    if (!rc)
        rc = add_readme(in, e, err);
    if (!rc)
        rc = crate_add(in, e, err);
    const struct bag bag = {.id = in->run_id, .ended_us = in->finished_us, .salt = in->salt};
    return rc ? rc : bag_seal_manifests(&bag, e, err);
}

int bundle_build(const struct bundle_input *in, struct signer *signer, const char *out_dir,
    struct bundle_result *ret, struct arp_err *err)
{
    cleanup_entries struct entries entries = {0};
    cleanup_buf struct buf statement;
    buf_init(&statement, SIGNER_STATEMENT_MAX);
    const struct package p = {.id = in->run_id, .envelope = ENVELOPE, .statement = &statement};
    int rc = input_check(in, err);
    if (!rc)
        rc = collect(in, &entries, err);
    if (!rc)
        rc = statement_write(in, &entries, &statement, err);
    if (!rc)
        rc = package_make(&p, &entries, signer, out_dir, ret, err);
    if (rc)
        arp_wrap(err, "bundle of run %s", in->run_id);
    return rc;
}
