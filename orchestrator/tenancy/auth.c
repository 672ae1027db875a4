/*
 * API keys: see auth.h.
 */
#include "orchestrator/tenancy/auth.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "shared/clock.h"
#include "shared/hash.h"

/* Direct-mapped: two hot keys that collide only cost queries. */
#define SLOTS 1024

struct slot {
    char hash[SHA256_HEX_LEN + 1];
    int64_t until_ns; /* monotonic; 0: empty */
    struct api_key_match match;
};

struct auth {
    struct db *db;
    pthread_mutex_t lock;
    uint64_t generation; /* raised by every revocation: an answer fetched before it is not cached */
    struct slot slots[SLOTS];
};

struct auth *auth_new(struct db *db)
{
    struct auth *a = calloc(1, sizeof(*a));
    if (!a)
        return NULL;
    a->db = db;
    pthread_mutex_init(&a->lock, NULL);
    return a;
}

void auth_free(struct auth *a)
{
    if (!a)
        return;
    pthread_mutex_destroy(&a->lock);
    free(a);
}

static struct slot *slot_of(struct auth *a, const char *hash)
{
    unsigned i = 0;
    for (int k = 0; k < 8; k++)
        i = i * 16 + (unsigned)(hash[k] <= '9' ? hash[k] - '0' : hash[k] - 'a' + 10);
    return &a->slots[i % SLOTS];
}

static bool cached(struct auth *a, const char *hash, struct api_key_match *ret, uint64_t *ret_generation)
{
    pthread_mutex_lock(&a->lock);
    const struct slot *s = slot_of(a, hash);
    bool hit = s->until_ns > clock_mono_ns() && memcmp(s->hash, hash, SHA256_HEX_LEN) == 0;
    if (hit)
        *ret = s->match;
    *ret_generation = a->generation;
    pthread_mutex_unlock(&a->lock);
    return hit;
}

static void remember(struct auth *a, const char *hash, const struct api_key_match *m, uint64_t generation)
{
    pthread_mutex_lock(&a->lock);
    if (a->generation == generation) {
        struct slot *s = slot_of(a, hash);
        memcpy(s->hash, hash, sizeof(s->hash));
        s->match = *m;
        s->until_ns = clock_mono_ns() + AUTH_CACHE_SECONDS * 1000000000ll;
    }
    pthread_mutex_unlock(&a->lock);
}

/* Each scope holds the ones below it. */
static unsigned implied(unsigned scopes)
{
    if (scopes & API_SCOPE_ADMIN)
        scopes |= API_SCOPE_RUN;
    if (scopes & API_SCOPE_RUN)
        scopes |= API_SCOPE_READ;
    return scopes;
}

int auth_check(struct auth *a, const char *key, enum api_scope need, bool may_block,
    struct api_key_match *ret, struct arp_err *err)
{
    if (!key || strlen(key) != AUTH_KEY_LEN || memcmp(key, "arp_", 4) != 0)
        return arp_fail(
            err, ARP_E_UNAUTHENTICATED, 0, key ? "the API key is not valid" : "an API key is required");
    char hash[SHA256_HEX_LEN + 1];
    uint64_t generation;
    sha256_hex_of(key, AUTH_KEY_LEN, hash);
    if (!cached(a, hash, ret, &generation)) {
        if (!may_block)
            return AUTH_BLOCKS;
        int rc = api_keys_find(a->db, hash, ret, err);
        if (rc == ARP_E_NOT_FOUND)
            return arp_fail(err, ARP_E_UNAUTHENTICATED, 0, "the API key is not valid");
        if (rc)
            return rc;
        remember(a, hash, ret, generation);
    }
    if (!(implied(ret->scopes) & need))
        return arp_fail(err, ARP_E_FORBIDDEN, 0, "the API key lacks the scope for this");
    return 0;
}

int auth_make_key(struct db *db, const char *user_id, const char *name, unsigned scopes,
    char ret_key[AUTH_KEY_LEN + 1], struct api_key *ret, struct arp_err *err)
{
    unsigned char secret[32];
    char key[AUTH_KEY_LEN + 1] = "arp_";
    char hash[SHA256_HEX_LEN + 1];
    char prefix[AUTH_PREFIX_LEN + 1] = "";
    random_bytes(secret, sizeof(secret));
    hex_encode(secret, sizeof(secret), key + 4);
    sha256_hex_of(key, AUTH_KEY_LEN, hash);
    memcpy(prefix, key, AUTH_PREFIX_LEN);
    int rc = api_keys_insert(db, user_id, name, hash, prefix, scopes, ret, err);
    if (rc == 0)
        memcpy(ret_key, key, sizeof(key));
    return rc;
}

int auth_revoke(struct auth *a, const char *user_id, const char *key_id, struct arp_err *err)
{
    int rc = api_keys_revoke(a->db, user_id, key_id, err);
    if (rc)
        return rc;
    pthread_mutex_lock(&a->lock);
    a->generation++;
    for (int i = 0; i < SLOTS; i++) {
        if (strcmp(a->slots[i].match.id, key_id) == 0)
            a->slots[i].until_ns = 0;
    }
    pthread_mutex_unlock(&a->lock);
    return 0;
}

unsigned auth_scope_of(const char *name)
{
    if (strcmp(name, "admin") == 0)
        return API_SCOPE_ADMIN;
    if (strcmp(name, "run") == 0)
        return API_SCOPE_RUN;
    return strcmp(name, "read") == 0 ? API_SCOPE_READ : 0;
}
