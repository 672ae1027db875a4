/*
 * Trusted keys from files: see keyring.h.
 */
#include "cli/keyring.h"

#include <stdlib.h>
#include <string.h>

#include "shared/clock.h"
#include "shared/fd.h"
#include "shared/json.h"

#define KEYRING_MAX (1u << 20)

struct keyring {
    struct trusted_key *keys;
    size_t count;
};

static void keyring_free_ptr(struct keyring **k)
{
    keyring_free(*k);
}

/* A new, empty keyring with room for n keys. */
static struct keyring *keyring_new(size_t n)
{
    struct keyring *k = calloc(1, sizeof(*k));
    if (k)
        k->keys = calloc(n ? n : 1, sizeof(*k->keys));
    if (k && !k->keys) {
        free(k);
        return NULL;
    }
    return k;
}

static int time_member(
    const cJSON *obj, const char *name, int64_t fallback, int64_t *ret, struct arp_err *err)
{
    const cJSON *v = cJSON_GetObjectItemCaseSensitive(obj, name);
    *ret = fallback;
    if (!v || cJSON_IsNull(v))
        return 0;
    /* A limit that is not understood must not be no limit. */
    return cJSON_IsString(v) ? clock_parse_iso(v->valuestring, ret, err)
                             : arp_fail(err, ARP_E_INVALID, 0, "keyring: %s is not a time", name);
}

static int add_json_key(struct keyring *ring, const cJSON *obj, struct arp_err *err)
{
    const cJSON *use = cJSON_GetObjectItemCaseSensitive(obj, "use");
    const cJSON *pem = cJSON_GetObjectItemCaseSensitive(obj, "spkiPem");
    const cJSON *kid = cJSON_GetObjectItemCaseSensitive(obj, "kid");
    if (!cJSON_IsString(use) || !cJSON_IsString(pem) || !cJSON_IsString(kid))
        return arp_fail(err, ARP_E_INVALID, 0, "keyring: a key lacks kid, use or spkiPem");
    if (strcmp(use->valuestring, "seal") != 0)
        return 0;
    struct trusted_key *t = &ring->keys[ring->count];
    int rc = sign_key_from_public_pem(pem->valuestring, strlen(pem->valuestring), &t->key, err);
    if (rc) {
        arp_wrap(err, "keyring: key '%.60s'", kid->valuestring);
        return rc;
    }
    ring->count++;
    sign_key_id(t->key, t->id);
    if (strcmp(t->id, kid->valuestring) != 0)
        return arp_fail(
            err, ARP_E_INVALID, 0, "keyring: kid '%.60s' is not the id of its key", kid->valuestring);
    for (size_t i = 0; i + 1 < ring->count; i++) {
        if (strcmp(ring->keys[i].id, t->id) == 0) /* one may be revoked and the other not */
            return arp_fail(err, ARP_E_INVALID, 0, "keyring: key %s is listed twice", t->id);
    }
    rc = time_member(obj, "notBefore", INT64_MIN, &t->not_before_us, err);
    if (!rc)
        rc = time_member(obj, "notAfter", INT64_MAX, &t->not_after_us, err);
    const cJSON *revoked = cJSON_GetObjectItemCaseSensitive(obj, "revokedAt");
    t->revoked = revoked && !cJSON_IsNull(revoked);
    return rc;
}

int keyring_load_json(const char *path, struct keyring **ret, struct arp_err *err)
{
    cleanup_buf struct buf text;
    buf_init(&text, KEYRING_MAX);
    cleanup_cjson cJSON *obj = NULL;
    int rc = file_read(path, &text, err);
    if (!rc)
        rc = json_parse(buf_str(&text), text.len, &obj, err);
    if (rc)
        return rc;
    const cJSON *keys = cJSON_GetObjectItemCaseSensitive(obj, "keys");
    if (!cJSON_IsArray(keys))
        return arp_fail(err, ARP_E_INVALID, 0, "'%s' is not a keyring: it has no \"keys\"", path);
    __attribute__((cleanup(keyring_free_ptr))) struct keyring *ring =
        keyring_new((size_t)cJSON_GetArraySize(keys));
    if (!ring)
        return arp_fail(err, ARP_E_NOMEM, 0, "keyring");
    const cJSON *key;
    cJSON_ArrayForEach(key, keys)
    {
        rc = add_json_key(ring, key, err);
        if (rc)
            return rc;
    }
    if (ring->count == 0)
        return arp_fail(err, ARP_E_INVALID, 0, "'%s' holds no key for sealing", path);
    *ret = ring;
    ring = NULL;
    return 0;
}

int keyring_load_pem(const char *path, struct keyring **ret, struct arp_err *err)
{
    cleanup_buf struct buf text;
    buf_init(&text, KEYRING_MAX);
    int rc = file_read(path, &text, err);
    if (rc)
        return rc;
    __attribute__((cleanup(keyring_free_ptr))) struct keyring *ring = keyring_new(1);
    if (!ring)
        return arp_fail(err, ARP_E_NOMEM, 0, "keyring");
    struct trusted_key *t = &ring->keys[0];
    rc = sign_key_from_public_pem(buf_str(&text), text.len, &t->key, err);
    if (rc) {
        arp_wrap(err, "'%s'", path);
        return rc;
    }
    ring->count = 1;
    sign_key_id(t->key, t->id);
    t->not_before_us = INT64_MIN;
    t->not_after_us = INT64_MAX;
    *ret = ring;
    ring = NULL;
    return 0;
}

size_t keyring_count(const struct keyring *k)
{
    return k ? k->count : 0;
}

const struct trusted_key *keyring_at(const struct keyring *k, size_t i)
{
    return &k->keys[i];
}

void keyring_free(struct keyring *k)
{
    if (!k)
        return;
    for (size_t i = 0; i < k->count; i++)
        sign_key_free(k->keys[i].key);
    free(k->keys);
    free(k);
}
