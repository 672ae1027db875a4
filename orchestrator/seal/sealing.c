/*
 * Rules of sealing: see sealing.h and docs/formats/statement.md.
 */
#include "orchestrator/seal/sealing.h"

#include <stdio.h>
#include <string.h>

#include "orchestrator/seal/sshsig.h"
#include "shared/json.h"
#include "shared/uuid.h"

#define PAYLOAD_TYPE "application/vnd.in-toto+json"
/* "DSSEv1 28 application/vnd.in-toto+json 65536 " is 46 bytes. */
#define PAE_MAX (SIGNER_STATEMENT_MAX + 64)

static const char *member_str(const cJSON *obj, const char *name)
{
    const cJSON *v = cJSON_GetObjectItemCaseSensitive(obj, name);
    return cJSON_IsString(v) ? v->valuestring : "";
}

/* The statement must speak of this tagmanifest and this run, or the key would sign whatever it is handed. */
static int statement_check(const struct seal_request *rq, struct arp_err *err)
{
    cleanup_cjson cJSON *st = NULL;
    int rc = json_parse(rq->statement, rq->statement_len, &st, err);
    if (rc) {
        arp_wrap(err, "statement");
        return rc;
    }
    char name[UUID_LEN + 64], digest[SHA256_HEX_LEN + 1];
    snprintf(name, sizeof(name), "%s/tagmanifest-sha256.txt", rq->run_id);
    sha256_hex_of(rq->tagmanifest, rq->tagmanifest_len, digest);
    const cJSON *subject = cJSON_GetArrayItem(cJSON_GetObjectItemCaseSensitive(st, "subject"), 0);
    const cJSON *predicate = cJSON_GetObjectItemCaseSensitive(st, "predicate");
    const cJSON *metadata = cJSON_GetObjectItemCaseSensitive(
        cJSON_GetObjectItemCaseSensitive(predicate, "runDetails"), "metadata");
    if (strcmp(member_str(st, "_type"), "https://in-toto.io/Statement/v1") != 0)
        return arp_fail(err, ARP_E_INVALID, 0, "not an in-toto Statement v1");
    if (strcmp(member_str(subject, "name"), name) != 0)
        return arp_fail(err, ARP_E_INVALID, 0, "the statement's first subject is not %s", name);
    if (strcmp(member_str(cJSON_GetObjectItemCaseSensitive(subject, "digest"), "sha256"), digest) != 0)
        return arp_fail(err, ARP_E_INVALID, 0, "the statement's subject is not the given tagmanifest");
    if (strcmp(member_str(metadata, "invocationId"), rq->run_id) != 0)
        return arp_fail(err, ARP_E_INVALID, 0, "the statement's invocationId is not run %s", rq->run_id);
    return 0;
}

static int sign_dsse(
    const struct sign_key *key, const struct seal_request *rq, struct seal *ret, struct arp_err *err)
{
    cleanup_buf struct buf pae;
    buf_init(&pae, PAE_MAX);
    buf_printf(&pae, "DSSEv1 %zu %s %zu ", strlen(PAYLOAD_TYPE), PAYLOAD_TYPE, rq->statement_len);
    buf_append(&pae, rq->statement, rq->statement_len);
    int rc = buf_error(&pae, err);
    return rc ? rc : sign_make(key, pae.data, pae.len, ret->dsse_sig, err);
}

static int sign_ssh(
    const struct sign_key *key, const struct seal_request *rq, struct seal *ret, struct arp_err *err)
{
    cleanup_buf struct buf data, text;
    buf_init(&data, 256);
    buf_init(&text, SIGNER_SSHSIG_MAX - 1);
    unsigned char sig[SIGN_SIG_LEN];
    int rc = sshsig_signed_data(SIGNER_SSH_NAMESPACE, rq->tagmanifest, rq->tagmanifest_len, &data, err);
    if (!rc)
        rc = sign_make(key, data.data, data.len, sig, err);
    if (!rc)
        rc = sshsig_armour(key, SIGNER_SSH_NAMESPACE, sig, &text, err);
    if (!rc)
        memcpy(ret->sshsig, text.data, text.len + 1);
    return rc;
}

int sealing_make(const struct sign_key *key, struct sealed_log *log, const struct seal_request *rq,
    struct seal *ret, struct arp_err *err)
{
    if (!uuid_ok(rq->run_id))
        return arp_fail(err, ARP_E_INVALID, 0, "run id is not a UUID");
    if (rq->statement_len > SIGNER_STATEMENT_MAX || rq->tagmanifest_len > SIGNER_TAGMANIFEST_MAX)
        return arp_fail(err, ARP_E_TOO_LARGE, 0, "statement or tagmanifest is over its limit");
    int rc = statement_check(rq, err);
    if (rc)
        return rc;
    char digest[SHA256_HEX_LEN + 1];
    sha256_hex_of(rq->statement, rq->statement_len, digest);
    rc = sealed_log_remember(log, rq->run_id, digest, err);
    if (rc)
        return rc;
    struct seal seal;
    memset(&seal, 0, sizeof(seal));
    sign_key_id(key, seal.key_id);
    rc = sign_dsse(key, rq, &seal, err);
    if (!rc)
        rc = sign_ssh(key, rq, &seal, err);
    if (!rc)
        *ret = seal;
    return rc;
}
