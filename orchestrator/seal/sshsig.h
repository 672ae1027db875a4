/*
 * OpenSSH signatures (PROTOCOL.sshsig of OpenSSH 8.0 and later): the bytes to sign and the armoured file, for an Ed25519 key and
 * SHA-256 message digests. Pure functions.
 */
#ifndef ARP_ORCHESTRATOR_SEAL_SSHSIG_H
#define ARP_ORCHESTRATOR_SEAL_SSHSIG_H

#include "shared/buf.h"
#include "shared/err.h"
#include "shared/sign.h"

/* Append the blob that an SSHSIG signs: magic, namespace, reserved, digest name, digest of message. */
int sshsig_signed_data(
    const char *name_space, const void *message, size_t len, struct buf *out, struct arp_err *err);
/* Append the armoured signature file ("-----BEGIN SSH SIGNATURE-----" …, final LF). */
int sshsig_armour(const struct sign_key *key, const char *name_space, const unsigned char sig[SIGN_SIG_LEN],
    struct buf *out, struct arp_err *err);
/* Append the public key line without comment and LF: "ssh-ed25519 AAAA…". */
int sshsig_public_line(const struct sign_key *key, struct buf *out, struct arp_err *err);

#endif
