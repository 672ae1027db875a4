/*
 * The end of making any bundle, of a run or of a workflow run: its statement is signed, the attestation added, the zip written and stored
 * durably (temp file, fsync, rename, fsync of the directory) as <out_dir>/<id>.zip, in place of an older file of that name.
 * Any thread; one call per id at a time. Formats: docs/formats/bundle.md sections 2 to 4, docs/formats/statement.md.
 */
#ifndef ARP_ORCHESTRATOR_BUNDLE_PACKAGE_H
#define ARP_ORCHESTRATOR_BUNDLE_PACKAGE_H

#include <limits.h>
#include <stdint.h>

#include "orchestrator/bundle/entries.h"
#include "orchestrator/seal/signer.h"
#include "shared/err.h"
#include "shared/hash.h"

/* All borrowed. */
struct package {
    const char *id;       /* UUID: names the file, the top folder and what the signer seals once */
    const char *envelope; /* file that the signed statement goes to, such as "attestation/run.intoto.jsonl" */
    const struct buf *statement; /* about the files in e */
};

struct bundle_result {
    char sha256[SHA256_HEX_LEN + 1];      /* of the zip file */
    char dsse_sha256[SHA256_HEX_LEN + 1]; /* of the DSSE line without LF */
    uint64_t size_bytes;
    char path[PATH_MAX];
};

/* e: all files but the attestation, tagmanifest-sha256.txt among them; gets the attestation and is sorted.
 * Errors: those of signer_seal (ARP_E_CONFLICT: sealed before with other content), ARP_E_TOO_LARGE, ARP_E_IO. */
int package_make(const struct package *p, struct entries *e, struct signer *signer, const char *out_dir,
    struct bundle_result *ret, struct arp_err *err);

/* Remove the directory <out_dir>/.build-<id> of a build that nobody is at, and the files in it. None there is no error.
 * Errors: ARP_E_IO, ARP_E_INVALID (path too long). */
int package_discard(const char *out_dir, const char *id, struct arp_err *err);

#endif
