/*
 * Parts of statements, and the envelope: see intoto.h.
 */
#include "orchestrator/bundle/intoto.h"

#include <stdio.h>

void intoto_digest(struct json *j, const char *algorithm, const char *hex)
{
    json_key(j, "digest");
    json_obj_open(j);
    json_kstr(j, algorithm, hex);
    json_obj_close(j);
}

void intoto_named(struct json *j, const char *name, const char *hex)
{
    json_obj_open(j);
    json_kstr(j, "name", name);
    intoto_digest(j, "sha256", hex);
    json_obj_close(j);
}

void intoto_subject(struct json *j, const char *id, const struct entries *e, const char *file)
{
    char name[160];
    snprintf(name, sizeof(name), "%s/%s", id, file);
    intoto_named(j, name, entries_find(e, file)->sha256);
}

void intoto_byproduct(
    struct json *j, const struct entries *e, const char *file, const struct bundle_chain *chain)
{
    json_obj_open(j);
    json_kstr(j, "name", file);
    intoto_digest(j, "sha256", entries_find(e, file)->sha256);
    if (chain) {
        json_key(j, "annotations");
        json_obj_open(j);
        json_kuint(j, "arp_lines", chain->lines);
        json_kstr(j, "arp_head", chain->head);
        json_obj_close(j);
    }
    json_obj_close(j);
}

int intoto_envelope(
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
