/*
 * Build the sealed evidence bundle of one run: staging directory -> <out_dir>/<runId>.zip, which is a BagIt 1.0 bag, an RO-Crate
 * and carries a DSSE/in-toto statement and an SSH signature. Same input, same bytes: nothing of the clock, the machine or the
 * order of a directory gets in. Any thread; one call per run at a time; memory stays flat whatever the blobs weigh.
 * Formats: docs/formats/bundle.md, docs/formats/statement.md. Checked by: cli/verify.h (shares no code with this).
 */
#ifndef ARP_ORCHESTRATOR_BUNDLE_BUNDLE_H
#define ARP_ORCHESTRATOR_BUNDLE_BUNDLE_H

#include <stdbool.h>
#include <stdint.h>

#include "orchestrator/bundle/intoto.h"
#include "orchestrator/bundle/package.h"
#include "orchestrator/seal/signer.h"
#include "shared/err.h"
#include "shared/model.h"

/* A zip without zip64 records names at most 65535 entries and 4 GiB; evidence limits stay far below (shared/limits.h). */
#define BUNDLE_BLOBS_MAX 60000
#define BUNDLE_SIZE_MAX  4000000000ull

/* What an engine is made of, as the agent found it. Digests: 64 hex digits. Each NULL when there is none, or it is not known. */
struct bundle_program {
    const char *version;
    const char *sha256;        /* of the CLI's program */
    const char *prompt_sha256; /* of the built-in loop's prompt */
    const char *tools_sha256;  /* of its tools' schemas */
};

/* Everything the bundle says, all borrowed. It must come from the run's stored record, never from "now", so that a bundle
 * built again after a crash or an upgrade has the same bytes (the signer refuses a second different seal). Text fields may be
 * NULL where the comment says so. */
struct bundle_input {
    const char *run_id; /* UUID; names the file and the top folder */
    const char *user_id;
    const char *project_id;
    const char *workspace_id;
    const char *staging_dir; /* <EVIDENCE_ROOT>/staging/<runId>: the files of bundle_has_engine and blobs/ */
    const char *prompt;      /* NULL: none; only its digest enters the statement */
    const char *engine;      /* "shell", or that of a coding agent: the bundle then has three files more */
    struct bundle_program program; /* of that engine; all NULL with "shell" and when it is not known */
    const char *agent_key;         /* the agent of the run; NULL: unknown */
    const char
        *container_context;   /* JSON text, as ToolContext tells it; NULL: the run never had a container */
    const char *image_name;   /* NULL: unknown */
    const char *image_digest; /* "sha256:<hex>"; NULL: unknown */
    const char *git_commit;   /* hex; NULL: no or broken repository */
    const char *tree_before;  /* hex git tree id; NULL: unknown */
    const char *tree_after;   /* the same */
    const char *
        salt; /* 64 hex digits, secret and fixed per run: HMAC-SHA256(installation secret, "arp-salt-v1\n" runId) */
    const char *orchestrator_version; /* of the process that ran the run */
    const char *agent_version;        /* NULL: unknown */
    int64_t started_us;
    int64_t finished_us;
    int64_t nano_cpus; /* limits of the container; 0: unknown */
    int64_t memory_bytes;
    int64_t pids;
    bool closed;                     /* the agent itself ended the chain with RunCompleted */
    bool complete;                   /* all evidence of the run was collected */
    bool volume_match;               /* the volume's copy equals what was streamed */
    bool uid_separation;             /* commands ran as another uid than the recorder */
    struct bundle_chain events;      /* must agree with the staged events.jsonl */
    struct bundle_chain command_log; /* must agree with the staged command_log.jsonl */
    struct bundle_chain processes;   /* must agree with the staged processes.jsonl */
    struct bundle_chain model_log;   /* of an engine's run: must agree with the staged model_log.jsonl */
};

/* Is it an engine's run, with engine.jsonl, model_log.jsonl and reconciliation.json? */
static inline bool bundle_has_engine(const struct bundle_input *in)
{
    return model_called_by(in->engine);
}

/* Build, seal and store durably (temp file, fsync, rename, fsync of the directory); replaces an older file of that name.
 * Errors: ARP_E_INVALID (bad ids in the input), ARP_E_EVIDENCE (staging holds other names, lacks a file, a blob's content is not
 * its name, or a chain is not what the input says), ARP_E_CONFLICT (sealed before with other content), ARP_E_TOO_LARGE, ARP_E_IO. */
int bundle_build(const struct bundle_input *in, struct signer *signer, const char *out_dir,
    struct bundle_result *ret, struct arp_err *err);

#endif
