/*
 * Model usage: calls and tokens that a tenant took of a provider, per UTC day. Table model_usage_daily. Conventions: store/db.h.
 */
#ifndef ARP_ORCHESTRATOR_STORE_MODEL_USAGE_H
#define ARP_ORCHESTRATOR_STORE_MODEL_USAGE_H

#include <stdint.h>

#include "orchestrator/store/db.h"

struct model_day {
    int64_t calls;
    int64_t input_tokens;
    int64_t output_tokens;
};

/* Today, by the database's clock; zeros when nothing was used. */
int model_usage_today(
    struct db *db, const char *user_id, const char *provider, struct model_day *ret, struct arp_err *err);
/* Count up today. */
int model_usage_count(struct db *db, const char *user_id, const char *provider, const struct model_day *more,
    struct arp_err *err);

#endif
