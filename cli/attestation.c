/*
 * The two signatures of a bundle (DSSE envelope and SSHSIG) and the trust in their key: see checks.h and docs/formats/statement.md.
 * Both signatures are checked with the public key that the SSH signature names; whether that key is trusted is a question of its own.
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/checks.h"
#include "shared/clock.h"
#include "shared/hash.h"

#define SSH_BEGIN    "-----BEGIN SSH SIGNATURE-----\n"
#define SSH_END      "-----END SSH SIGNATURE-----\n"
#define SSH_WIDTH    70
#define NAMESPACE    "arp-evidence"
#define PAYLOAD_TYPE "application/vnd.in-toto+json"
#define ENVELOPE_MAX (1u << 20)

/* SPKI DER of an Ed25519 key is this prefix and the 32 bytes (RFC 8410 section 4). */
static const unsigned char spki_prefix[12] = {
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00};

static void put_string(struct buf *out, const void *data, size_t len)
{
    uint32_t n = htonl((uint32_t)len);
    buf_append(out, &n, sizeof(n));
    buf_append(out, data, len);
}

static void put_ssh_key(struct buf *out, const unsigned char pub[SIGN_PUB_LEN])
{
    cleanup_buf struct buf key;
    buf_init(&key, 128);
    put_string(&key, "ssh-ed25519", 11);
    put_string(&key, pub, SIGN_PUB_LEN);
    put_string(out, key.data, key.len);
}

/* The one text an SSHSIG with this key and signature has (PROTOCOL.sshsig). */
static void ssh_text(
    const unsigned char pub[SIGN_PUB_LEN], const unsigned char sig[SIGN_SIG_LEN], struct buf *out)
{
    cleanup_buf struct buf blob, inner, base64;
    buf_init(&blob, 1024);
    buf_init(&inner, 256);
    buf_init(&base64, 2048);
    uint32_t version = htonl(1);
    buf_append(&blob, "SSHSIG", 6);
    buf_append(&blob, &version, sizeof(version));
    put_ssh_key(&blob, pub);
    put_string(&blob, NAMESPACE, strlen(NAMESPACE));
    put_string(&blob, "", 0);
    put_string(&blob, "sha256", 6);
    put_string(&inner, "ssh-ed25519", 11);
    put_string(&inner, sig, SIGN_SIG_LEN);
    put_string(&blob, inner.data, inner.len);
    base64_encode(blob.data, blob.len, &base64);
    buf_append_str(out, SSH_BEGIN);
    for (size_t at = 0; at < base64.len; at += SSH_WIDTH) {
        size_t left = base64.len - at;
        buf_append(out, base64.data + at, left < SSH_WIDTH ? left : SSH_WIDTH);
        buf_append_char(out, '\n');
    }
    buf_append_str(out, SSH_END);
}

/* Take key and signature out of the file: their places are fixed, and ssh_text() of them must be the file again. */
static bool ssh_parse(
    const struct packed_file *f, unsigned char pub[SIGN_PUB_LEN], unsigned char sig[SIGN_SIG_LEN])
{
    /* "SSHSIG", version, key blob length, "ssh-ed25519" string, key length: the key begins at 6+4+4+15+4. */
    const size_t pub_at = 33;
    cleanup_buf struct buf digits, blob, again;
    buf_init(&digits, 2048);
    buf_init(&blob, 2048);
    buf_init(&again, 4096);
    size_t begin = strlen(SSH_BEGIN), end = strlen(SSH_END);
    if (f->size < begin + end || f->size > 2048)
        return false;
    for (size_t i = begin; i < f->size - end; i++)
        if (f->data[i] != '\n')
            buf_append_char(&digits, f->data[i]);
    if (base64_decode(buf_str(&digits), digits.len, &blob, NULL) ||
        blob.len < pub_at + SIGN_PUB_LEN + SIGN_SIG_LEN)
        return false;
    memcpy(pub, blob.data + pub_at, SIGN_PUB_LEN);
    memcpy(sig, blob.data + blob.len - SIGN_SIG_LEN, SIGN_SIG_LEN);
    ssh_text(pub, sig, &again);
    return !again.error && again.len == f->size && memcmp(again.data, f->data, f->size) == 0;
}

static struct sign_key *key_from_raw(const unsigned char pub[SIGN_PUB_LEN])
{
    cleanup_buf struct buf der, pem;
    buf_init(&der, 64);
    buf_init(&pem, 256);
    buf_append(&der, spki_prefix, sizeof(spki_prefix));
    buf_append(&der, pub, SIGN_PUB_LEN);
    buf_append_str(&pem, "-----BEGIN PUBLIC KEY-----\n");
    base64_encode(der.data, der.len, &pem);
    buf_append_str(&pem, "\n-----END PUBLIC KEY-----\n");
    struct sign_key *key = NULL;
    return sign_key_from_public_pem(buf_str(&pem), pem.len, &key, NULL) == 0 ? key : NULL;
}

void step_ssh_signature(struct verification *v, struct check *c)
{
    unsigned char sig[SIGN_SIG_LEN], digest[SHA256_BYTES];
    const struct packed_file *tags = packed_find(&v->zip, "tagmanifest-sha256.txt");
    if (!ssh_parse(packed_find(&v->zip, "attestation/tagmanifest-sha256.txt.sig"), v->ssh_public, sig)) {
        check_fail(c, "attestation/tagmanifest-sha256.txt.sig is not an SSH signature of the expected form");
        return;
    }
    cleanup_sign_key struct sign_key *key = key_from_raw(v->ssh_public);
    if (!key) {
        check_fail(c, "the SSH signature does not name an Ed25519 key");
        return;
    }
    v->has_ssh_public = true;
    sign_key_id(key, v->key_id);
    cleanup_buf struct buf data;
    buf_init(&data, 256);
    sha256_of(tags->data, tags->size, digest);
    buf_append(&data, "SSHSIG", 6);
    put_string(&data, NAMESPACE, strlen(NAMESPACE));
    put_string(&data, "", 0);
    put_string(&data, "sha256", 6);
    put_string(&data, digest, sizeof(digest));
    if (buf_error(&data, NULL) || sign_check(key, data.data, data.len, sig, NULL) != 0)
        check_fail(c, "the SSH signature is not over this tagmanifest-sha256.txt");
    check_pass(c, "tagmanifest-sha256.txt is signed by %s", v->key_id);
}

struct envelope {
    struct buf payload;
    struct buf sig;
    char key_id[128];
};

/* Read the one line strictly: the members of DSSE and no other, strict base64, and the text we would write for them. */
static bool envelope_parse(const struct packed_file *f, struct envelope *ret)
{
    if (f->size < 2 || f->size > ENVELOPE_MAX || f->data[f->size - 1] != '\n' ||
        memchr(f->data, '\n', f->size - 1))
        return false;
    cleanup_cjson cJSON *obj = NULL;
    if (json_parse(f->data, f->size - 1, &obj, NULL))
        return false;
    const char *type = json_str_at(obj, "payloadType"), *payload = json_str_at(obj, "payload");
    const cJSON *one = cJSON_GetArrayItem(json_at(obj, "signatures"), 0);
    const char *key_id = json_str_at(one, "keyid"), *sig = json_str_at(one, "sig");
    if (!type || strcmp(type, PAYLOAD_TYPE) != 0 || !payload || !key_id || !sig ||
        strlen(key_id) >= sizeof(ret->key_id))
        return false;
    cleanup_buf struct buf again;
    buf_init(&again, ENVELOPE_MAX);
    buf_printf(&again,
        "{\"payloadType\":\"%s\",\"payload\":\"%s\",\"signatures\":[{\"keyid\":\"%s\",\"sig\":\"%s\"}]}\n",
        type, payload, key_id, sig);
    if (again.error || again.len != f->size || memcmp(again.data, f->data, f->size) != 0)
        return false;
    snprintf(ret->key_id, sizeof(ret->key_id), "%s", key_id);
    return base64_decode(payload, strlen(payload), &ret->payload, NULL) == 0 &&
           base64_decode(sig, strlen(sig), &ret->sig, NULL) == 0 && ret->sig.len == SIGN_SIG_LEN;
}

static const char *envelope_name(const struct verification *v)
{
    return v->workflow ? WORKFLOW_ENVELOPE : "attestation/run.intoto.jsonl";
}

static void envelope_check(struct verification *v, const struct envelope *e, struct check *c)
{
    if (json_parse(buf_str(&e->payload), e->payload.len, &v->statement, NULL))
        check_fail(c, "the signed statement is not JSON");
    if (!v->has_ssh_public) {
        check_unable(c, "the key is not known, because the SSH signature cannot be read");
        return;
    }
    if (strcmp(e->key_id, v->key_id) != 0) {
        check_fail(c, "the envelope names key %.60s, the SSH signature %s", e->key_id, v->key_id);
        return;
    }
    cleanup_sign_key struct sign_key *key = key_from_raw(v->ssh_public);
    cleanup_buf struct buf pae;
    buf_init(&pae, ENVELOPE_MAX);
    buf_printf(&pae, "DSSEv1 %zu %s %zu ", strlen(PAYLOAD_TYPE), PAYLOAD_TYPE, e->payload.len);
    buf_append(&pae, e->payload.data, e->payload.len);
    const unsigned char *sig = (const unsigned char *)e->sig.data;
    if (!key || pae.error || sign_check(key, pae.data, pae.len, sig, NULL) != 0)
        check_fail(
            c, "the signature of %s is wrong: the statement or the signature was changed", envelope_name(v));
}

void step_signature(struct verification *v, struct check *c)
{
    struct envelope e = {0};
    buf_init(&e.payload, ENVELOPE_MAX);
    buf_init(&e.sig, 128);
    if (envelope_parse(packed_find(&v->zip, envelope_name(v)), &e))
        envelope_check(v, &e, c);
    else
        check_fail(c, "%s is not a DSSE envelope of the expected form", envelope_name(v));
    check_pass(c, "the statement is signed by %s", v->key_id);
    buf_done(&e.payload);
    buf_done(&e.sig);
}

void step_trust(struct verification *v, struct check *c)
{
    if (keyring_count(v->keys) == 0) {
        check_unable(c, "no trusted key was given: anyone could have signed this");
        return;
    }
    const struct trusted_key *found = NULL;
    for (size_t i = 0; i < keyring_count(v->keys); i++) {
        const struct trusted_key *t = keyring_at(v->keys, i);
        unsigned char pub[SIGN_PUB_LEN];
        sign_key_public(t->key, pub);
        if (v->has_ssh_public && memcmp(pub, v->ssh_public, SIGN_PUB_LEN) == 0)
            found = t;
    }
    const char *finished = json_str_at(v->statement, "predicate/runDetails/metadata/finishedOn");
    int64_t at_us;
    if (!found)
        check_unable(c, "signed by %s, which is none of the %zu trusted keys",
            v->key_id[0] ? v->key_id : "an unreadable key", keyring_count(v->keys));
    else if (found->revoked)
        check_unable(c, "key %s is revoked, and no independent time shows that the seal is older", found->id);
    else if (!finished || clock_parse_iso(finished, &at_us, NULL) != 0)
        check_unable(c, "the statement has no time to compare with the key's period");
    else if (at_us < found->not_before_us || at_us > found->not_after_us)
        check_unable(c, "the run ended outside the period of key %s", found->id);
    else
        v->trusted = true;
    check_pass(c, "%s is a trusted key", v->key_id);
}
