/*
 * Signed days of custody and the proofs that lines stand in them: see custody_doc.h. Proofs are followed as RFC 9162 section 2.1.3.2 says.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/custody_doc.h"

#define HEAD_TYPE "application/vnd.arp.custody-head+json"
#define HEAD_MAX  1024
#define PROOF_MAX 64
#define DAY_US    86400000000ll

/* "sha256:<hex>" -> the hex part; NULL when it is none. */
static const char *hex_of(const cJSON *v)
{
    return cJSON_IsString(v) && strncmp(v->valuestring, "sha256:", 7) == 0 &&
                   sha256_hex_ok(v->valuestring + 7)
               ? v->valuestring + 7
               : NULL;
}

static void bytes_of(const char *hex, unsigned char ret[SHA256_BYTES])
{
    for (size_t i = 0; i < SHA256_BYTES; i++)
        sscanf(hex + 2 * i, "%2hhx", &ret[i]);
}

/* Read a head; its text must be the one that heads have. */
static bool head_parse(const struct buf *head, struct custody_day *ret)
{
    cleanup_cjson cJSON *obj = NULL;
    if (json_parse(buf_str(head), head->len, &obj, NULL) != 0)
        return false;
    const char *day = json_str_at(obj, "day");
    const char *root = hex_of(json_at(obj, "root"));
    const char *prev = hex_of(json_at(obj, "prevHead"));
    int64_t lines = json_get_int(obj, "lines", -1);
    if (!day || strlen(day) != DAY_LEN || !root || lines < 0)
        return false;
    cleanup_buf struct buf again;
    buf_init(&again, HEAD_MAX);
    buf_printf(&again,
        "{\"v\":1,\"day\":\"%s\",\"lines\":%" PRId64 ",\"root\":\"sha256:%s\",\"prevHead\":%s%s%s}", day,
        lines, root, prev ? "\"sha256:" : "null", prev ? prev : "", prev ? "\"" : "");
    if (again.error || again.len != head->len || memcmp(again.data, head->data, head->len) != 0)
        return false;
    memcpy(ret->day, day, DAY_LEN + 1);
    ret->lines = (uint64_t)lines;
    bytes_of(root, ret->root);
    snprintf(ret->prev, sizeof(ret->prev), "%s", prev ? prev : "");
    sha256_hex_of(head->data, head->len, ret->sha256);
    return true;
}

/* The instant a day ends; -1: it is no day. */
static int64_t end_of(const char *day)
{
    char iso[64];
    int64_t us;
    snprintf(iso, sizeof(iso), "%.10sT00:00:00.000Z", day);
    return clock_parse_iso(iso, &us, NULL) == 0 ? us + DAY_US : -1;
}

static const struct trusted_key *key_of(const struct keyring *keys, const char *id)
{
    for (size_t i = 0; i < keyring_count(keys); i++)
        if (strcmp(keyring_at(keys, i)->id, id) == 0)
            return keyring_at(keys, i);
    return NULL;
}

/* Is the head signed by a key of the keyring, in its time? */
static void head_check(const struct custody_doc *d, const struct buf *head, const char *key_id,
    const struct buf *sig, struct custody_day *day, struct check *c)
{
    const struct trusted_key *key = key_of(d->keys, key_id);
    cleanup_buf struct buf pae;
    buf_init(&pae, HEAD_MAX + 128);
    buf_printf(&pae, "DSSEv1 %zu %s %zu ", strlen(HEAD_TYPE), HEAD_TYPE, head->len);
    buf_append(&pae, head->data, head->len);
    if (!key) {
        check_unable(c, "day %s is signed by %.60s, which is none of the %zu trusted keys", day->day, key_id,
            keyring_count(d->keys));
    } else if (pae.error ||
               sign_check(key->key, pae.data, pae.len, (const unsigned char *)sig->data, NULL) != 0) {
        check_fail(c, "the signature of day %s is wrong: the head or the signature was changed", day->day);
    } else if (key->revoked || end_of(day->day) < key->not_before_us ||
               end_of(day->day) > key->not_after_us) {
        check_unable(
            c, "day %s is signed by %s, which is revoked or was not in its period then", day->day, key_id);
    } else {
        day->trusted = true;
    }
}

static void envelope_check(
    const struct custody_doc *d, const cJSON *env, struct custody_day *day, struct check *c)
{
    const char *type = json_str_at(env, "payloadType"), *payload = json_str_at(env, "payload");
    const cJSON *one = cJSON_GetArrayItem(json_at(env, "signatures"), 0);
    const char *key_id = json_str_at(one, "keyid"), *sig = json_str_at(one, "sig");
    cleanup_buf struct buf head, raw;
    buf_init(&head, HEAD_MAX);
    buf_init(&raw, 128);
    if (!type || strcmp(type, HEAD_TYPE) != 0 || !payload || !key_id || !sig ||
        base64_decode(payload, strlen(payload), &head, NULL) != 0 ||
        base64_decode(sig, strlen(sig), &raw, NULL) != 0 || raw.len != SIGN_SIG_LEN ||
        !head_parse(&head, day) || end_of(day->day) < 0)
        check_fail(c, "a day is not a signed head of the expected form");
    else
        head_check(d, &head, key_id, &raw, day, c);
}

void custody_step_days(struct custody_doc *d, struct custody_report *r, struct check *c)
{
    const cJSON *env, *all = json_at(d->root, "days");
    (void)r;
    d->days = calloc((size_t)cJSON_GetArraySize(all) + 1, sizeof(*d->days));
    if (!d->days) {
        check_fail(c, "no memory for the days");
        return;
    }
    cJSON_ArrayForEach(env, all)
    {
        struct custody_day *day = &d->days[d->day_count];
        envelope_check(d, env, day, c);
        if (c->verdict == CHECK_FAIL)
            return;
        const struct custody_day *before = d->day_count ? day - 1 : NULL;
        if (before && strcmp(before->day, day->day) >= 0)
            check_fail(c, "the days are not in order");
        else if (before && end_of(day->day) - end_of(before->day) == DAY_US &&
                 strcmp(before->sha256, day->prev) != 0)
            check_fail(c, "day %s does not follow from the day before it", day->day);
        d->day_count++;
    }
    if (keyring_count(d->keys) == 0)
        check_unable(c, "no trusted key was given: anyone could have signed the days");
    check_pass(c, "%zu days, each signed by a trusted key", d->day_count);
}

static void hash_pair(const unsigned char *left, const unsigned char *right, unsigned char ret[SHA256_BYTES])
{
    unsigned char in[1 + 2 * SHA256_BYTES] = {0x01};
    memcpy(in + 1, left, SHA256_BYTES);
    memcpy(in + 1 + SHA256_BYTES, right, SHA256_BYTES);
    sha256_of(in, sizeof(in), ret);
}

/* Does the line lead to the root as number index of size entries? */
static bool leads_to_root(
    const char *line, uint64_t index, uint64_t size, const cJSON *path, const unsigned char *root)
{
    unsigned char hash[SHA256_BYTES], leaf[1 + SHA256_BYTES] = {0x00};
    sha256_of(line, strlen(line), leaf + 1);
    sha256_of(leaf, sizeof(leaf), hash);
    if (index >= size || cJSON_GetArraySize(path) > PROOF_MAX)
        return false;
    uint64_t fn = index, sn = size - 1;
    const cJSON *item;
    cJSON_ArrayForEach(item, path)
    {
        unsigned char sibling[SHA256_BYTES];
        if (!cJSON_IsString(item) || !sha256_hex_ok(item->valuestring) || sn == 0)
            return false;
        bytes_of(item->valuestring, sibling);
        if ((fn & 1) || fn == sn) {
            hash_pair(sibling, hash, hash);
            for (; !(fn & 1) && fn != 0; fn >>= 1)
                sn >>= 1;
        } else {
            hash_pair(hash, sibling, hash);
        }
        fn >>= 1;
        sn >>= 1;
    }
    return sn == 0 && memcmp(hash, root, SHA256_BYTES) == 0;
}

static const struct custody_day *day_of(const struct custody_doc *d, const char *day)
{
    for (size_t i = 0; i < d->day_count; i++)
        if (strcmp(d->days[i].day, day) == 0)
            return &d->days[i];
    return NULL;
}

static void proof_check(struct custody_doc *d, const cJSON *proof, struct check *c)
{
    int64_t seq = json_get_int(proof, "seq", -1), index = json_get_int(proof, "index", -1);
    const char *name = json_str_at(proof, "day");
    const cJSON *path = json_at(proof, "path");
    if (seq < 0 || (uint64_t)seq >= d->line_count || index < 0 || !name || !cJSON_IsArray(path)) {
        check_fail(c, "a proof is not of the expected form, or of no line here");
        return;
    }
    struct custody_entry *line = &d->lines[seq];
    const struct custody_day *day = day_of(d, name);
    if (line->signed_day || !day || strcmp(line->day, name) != 0) {
        check_fail(
            c, "the proof of line %" PRId64 " is a second one, or of another day than the line's", seq);
        return;
    }
    if (!leads_to_root(line->text, (uint64_t)index, day->lines, path, day->root)) {
        check_fail(c, "line %" PRId64 " is not in the signed head of %s", seq, name);
        return;
    }
    line->signed_day = day;
    line->index = (uint64_t)index;
}

/* Every line of a signed day is proven, and lines of one day stand side by side in its tree, which is ordered by run and number. */
static void cover_check(const struct custody_doc *d, struct check *c)
{
    for (size_t i = 0; i < d->line_count; i++) {
        const struct custody_entry *l = &d->lines[i], *before = i ? l - 1 : NULL;
        if (!l->signed_day && (day_of(d, l->day) || (i + 1 < d->line_count && d->lines[i + 1].signed_day)))
            check_fail(c, "line %zu is of a day that is signed, and not in its head", i);
        else if (l->signed_day && before && before->signed_day == l->signed_day &&
                 before->index + 1 != l->index)
            check_fail(c, "lines %zu and %zu do not stand side by side in the head of %s", i - 1, i, l->day);
    }
}

void custody_step_proofs(struct custody_doc *d, struct custody_report *r, struct check *c)
{
    const cJSON *proof;
    cJSON_ArrayForEach(proof, json_at(d->root, "proofs"))
    {
        proof_check(d, proof, c);
    }
    cover_check(d, c);
    for (size_t i = 0; i < d->line_count; i++)
        r->lines_trusted += d->lines[i].signed_day && d->lines[i].signed_day->trusted;
    size_t open = 0;
    for (size_t i = d->line_count; i > 0 && !d->lines[i - 1].signed_day; i--)
        open++;
    if (open)
        check_unable(c, "the last %zu of %zu lines are of days that are not signed yet", open, d->line_count);
    check_pass(c, "each of %zu lines leads to the root that its day's head signs", d->line_count);
}
