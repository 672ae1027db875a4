/*
 * Providers: the model APIs that a tenant's runs may call, each with its key as orchestrator/secret.h sealed it. Table providers. Conventions:
 * store/db.h. The store never sees a key in clear.
 */
#ifndef ARP_ORCHESTRATOR_STORE_PROVIDERS_H
#define ARP_ORCHESTRATOR_STORE_PROVIDERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "orchestrator/store/db.h"
#include "shared/model.h"
#include "shared/uuid.h"

/* 0: no limit. */
struct provider_limits {
    int64_t calls_per_run, tokens_per_run;
    int64_t calls_per_day, tokens_per_day;
    int64_t concurrent; /* calls of one run; > 0 */
};

/* A key as it is sealed; see orchestrator/secret.h. */
struct provider_key {
    const void *bytes;
    size_t len;
    const void *nonce;
    size_t nonce_len;
    const char *key_id;
};

struct provider {
    char *name;
    char *base_url;
    char *dialects; /* JSON array of model_dialect_name()s */
    enum model_auth auth;
    char *models;    /* JSON array; empty: any */
    char *model_map; /* JSON object of strings: asked for -> sent */
    bool allow_hosted_tools;
    enum model_record record;
    struct provider_limits limits;
    int64_t created_us;
    int64_t updated_us;
    int64_t key_updated_us; /* 0: it has no key; then key_id is NULL */
    char *key_id;
    /* not filled by lists */
    unsigned char *key_bytes;
    size_t key_len;
    unsigned char key_nonce[16];
    size_t key_nonce_len;
};
void provider_done(struct provider *p);
struct providers {
    struct provider *v;
    size_t n;
};
void providers_done(struct providers *ps);

/* What a row is made from or replaced by. Borrowed. */
struct provider_fields {
    const char *base_url;
    const char *dialects;
    enum model_auth auth;
    const char *models;
    const char *model_map;
    bool allow_hosted_tools;
    enum model_record record;
    struct provider_limits limits;
    const struct provider_key
        *key; /* NULL: keep what is stored, which is possible for the same base_url and auth only */
};

/* Make or replace the provider of that name (store/key.h). ret and ret_created may be NULL.
 * Errors: ARP_E_FIELD ("apiKey": there is none to keep, or it was given for another base_url or auth: a key goes where its owner said and
 * nowhere else), ARP_E_CONFLICT (the user has limit of them: details.providersPerUser), ARP_E_INVALID. */
int providers_put(struct db *db, const char *user_id, const char *name, const struct provider_fields *f,
    int64_t limit, struct provider *ret, bool *ret_created, struct arp_err *err);
/* With its sealed key. Errors: ARP_E_NOT_FOUND. */
int providers_get(
    struct db *db, const char *user_id, const char *name, struct provider *ret, struct arp_err *err);
/* All of them, in order of their names; there is a limit, so there are no pages. */
int providers_list(struct db *db, const char *user_id, struct providers *ret, struct arp_err *err);
/* The same without models and model_map (NULL), which are the large ones: what a run's provider is chosen by. */
int providers_list_bare(struct db *db, const char *user_id, struct providers *ret, struct arp_err *err);
/* Its key is gone with it. Errors: ARP_E_NOT_FOUND. */
int providers_delete(struct db *db, const char *user_id, const char *name, struct arp_err *err);

#endif
