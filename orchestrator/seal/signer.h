/*
 * The sealing key's only user: a small process that holds the Ed25519 key (<state_dir>/keys/seal.pem, mode 0600, made at first
 * start) and answers three typed, bounded requests over a socketpair: the public key, "seal this run", and "sign this day of custody".
 * It builds what it signs itself (DSSE PAE, SSHSIG), signs only a statement whose subject is the given tagmanifest and whose invocation
 * is the given run, and remembers each run it sealed in <state_dir>/keys/sealed.log, so that a run is never sealed twice differently;
 * days of custody it signs once, in order, when they are over by its own clock, and remembers them in <state_dir>/keys/custody.log.
 * The calling process never reads the key. Thread-safe after signer_start(); one request is served at a time (about 0.2 ms plus
 * one fdatasync). Formats: docs/formats/statement.md, docs/formats/custody.md.
 */
#ifndef ARP_ORCHESTRATOR_SEAL_SIGNER_H
#define ARP_ORCHESTRATOR_SEAL_SIGNER_H

#include <stddef.h>

#include "shared/buf.h"
#include "shared/err.h"
#include "shared/sign.h"

/* A statement is a few KiB; a tagmanifest has one line per tag file. */
#define SIGNER_STATEMENT_MAX   (64u << 10)
#define SIGNER_TAGMANIFEST_MAX (8u << 10)
/* Armoured SSHSIG of an Ed25519 key: about 310 bytes. */
#define SIGNER_SSHSIG_MAX 1024
/* A head of a day is about 230 bytes. */
#define SIGNER_HEAD_MAX 1024
/* The identity that allowed_signers names and `ssh-keygen -Y verify -I` asks for, and the namespace of the signature. */
#define SIGNER_SSH_PRINCIPAL "arp-seal"
#define SIGNER_SSH_NAMESPACE "arp-evidence"

struct signer;

/* What sealing one run gives. */
struct seal {
    char key_id[SIGN_KEY_ID_LEN + 1];     /* of the key that signed */
    unsigned char dsse_sig[SIGN_SIG_LEN]; /* over PAE("application/vnd.in-toto+json", statement) */
    char sshsig[SIGNER_SSHSIG_MAX];       /* armoured text with final LF, over the tagmanifest */
};

/* Start the signer. Call it once, before the process has a second thread (it forks); state_dir must exist, keys/ is made (0700).
 * Waits until the key is loaded. Errors: ARP_E_IO, ARP_E_CORRUPT (key or log unusable). Free with signer_stop(). */
int signer_start(const char *state_dir, struct signer **ret, struct arp_err *err);

/* Key id of the running key; valid as long as s. */
const char *signer_key_id(const struct signer *s);
/* The public key as SPKI PEM, appended to out. */
int signer_public_pem(const struct signer *s, struct buf *out, struct arp_err *err);
/* The body of /.well-known/arp-keys.json (docs/formats/statement.md, section 5), appended to out. */
int signer_public_keys_json(const struct signer *s, struct buf *out, struct arp_err *err);
/* The body of /.well-known/arp-allowed-signers: ssh-keygen(1) ALLOWED SIGNERS, appended to out. */
int signer_allowed_signers(const struct signer *s, struct buf *out, struct arp_err *err);

/* Seal run_id: statement[0..statement_len) is the in-toto statement, tagmanifest[0..tagmanifest_len) the file it speaks of.
 * The same statement again gives the same signatures. Errors: ARP_E_CONFLICT (the run was sealed with another statement),
 * ARP_E_INVALID (the statement does not speak of that tagmanifest and run), ARP_E_TOO_LARGE, ARP_E_IO (signer gone). */
int signer_seal(struct signer *s, const char *run_id, const void *statement, size_t statement_len,
    const void *tagmanifest, size_t tagmanifest_len, struct seal *ret, struct arp_err *err);

/* The signature of a day of custody. */
struct head_signature {
    char key_id[SIGN_KEY_ID_LEN + 1];
    unsigned char sig[SIGN_SIG_LEN]; /* over PAE(CUSTODY_HEAD_TYPE, head) */
};
/* Sign head[0..len) (custody_head.h). The same head again gives the same signature. Errors: ARP_E_CONFLICT (the day was signed with another
 * head, or a later day was), ARP_E_INVALID (not a head, or its day is not over), ARP_E_TOO_LARGE, ARP_E_IO (signer gone). */
int signer_sign_head(
    struct signer *s, const void *head, size_t len, struct head_signature *ret, struct arp_err *err);

/* End the process and wait for it. Accepts NULL. */
void signer_stop(struct signer *s);

#endif
