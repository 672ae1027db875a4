/*
 * The head of a day of custody: see custody_head.h.
 */
#include "orchestrator/seal/custody_head.h"

#include <stdio.h>
#include <string.h>

#include "shared/clock.h"
#include "shared/json.h"

#define DAY_US 86400000000ll

void custody_head_write(
    struct buf *out, const char *day, uint64_t lines, const char *root_hex, const char *prev_hex)
{
    struct json j;
    json_init(&j, out);
    json_obj_open(&j);
    json_kint(&j, "v", 1);
    json_kstr(&j, "day", day);
    json_kuint(&j, "lines", lines);
    json_kdigest(&j, "root", root_hex);
    json_kdigest(&j, "prevHead", prev_hex);
    json_obj_close(&j);
}

/* The hex digits of a digest member, "" for null; false when it is neither. */
static bool digest_of(const cJSON *obj, const char *name, const char **ret_hex)
{
    const cJSON *v = cJSON_GetObjectItemCaseSensitive(obj, name);
    *ret_hex = "";
    if (cJSON_IsNull(v))
        return true;
    if (!cJSON_IsString(v) || strncmp(v->valuestring, "sha256:", 7) != 0 ||
        !sha256_hex_ok(v->valuestring + 7))
        return false;
    *ret_hex = v->valuestring + 7;
    return true;
}

/* A head has one text: what it says, written again, must be the very bytes. ret_day: "YYYY-MM-DD". */
static int head_check(
    const char *head, size_t len, int64_t now_us, char ret_day[DAY_LOG_DAY_LEN + 1], struct arp_err *err)
{
    cleanup_cjson cJSON *obj = NULL;
    cleanup_buf struct buf again;
    buf_init(&again, SIGNER_HEAD_MAX);
    const char *root, *prev;
    char midnight[CLOCK_ISO_LEN + 1];
    int64_t day_us;
    int rc = json_parse(head, len, &obj, err);
    if (rc)
        return rc;
    const char *day = json_get_str(obj, "day");
    int64_t lines = json_get_int(obj, "lines", -1);
    if (!day || strlen(day) != DAY_LOG_DAY_LEN || lines < 0 || !digest_of(obj, "root", &root) || !*root ||
        !digest_of(obj, "prevHead", &prev))
        return arp_fail(err, ARP_E_INVALID, 0, "not the head of a day");
    custody_head_write(&again, day, (uint64_t)lines, root, prev);
    if (again.error || again.len != len || memcmp(again.data, head, len) != 0)
        return arp_fail(err, ARP_E_INVALID, 0, "the head is not written as heads are");
    snprintf(midnight, sizeof(midnight), "%sT00:00:00.000Z", day);
    rc = clock_parse_iso(midnight, &day_us, err);
    if (rc)
        return rc;
    if (now_us - day_us < DAY_US)
        return arp_fail(err, ARP_E_INVALID, 0, "the day %s is not over", day);
    memcpy(ret_day, day, DAY_LOG_DAY_LEN + 1);
    return 0;
}

int custody_head_sign(const struct sign_key *key, struct day_log *log, const char *head, size_t len,
    int64_t now_us, struct head_signature *ret, struct arp_err *err)
{
    char day[DAY_LOG_DAY_LEN + 1], digest[SHA256_HEX_LEN + 1];
    int rc = head_check(head, len, now_us, day, err);
    if (rc)
        return rc;
    sha256_hex_of(head, len, digest);
    rc = day_log_remember(log, day, digest, err);
    if (rc)
        return rc;
    cleanup_buf struct buf pae;
    buf_init(&pae, SIGNER_HEAD_MAX + 128);
    buf_printf(&pae, "DSSEv1 %zu %s %zu ", strlen(CUSTODY_HEAD_TYPE), CUSTODY_HEAD_TYPE, len);
    buf_append(&pae, head, len);
    struct head_signature made;
    memset(&made, 0, sizeof(made));
    sign_key_id(key, made.key_id);
    rc = buf_error(&pae, err);
    if (!rc)
        rc = sign_make(key, pae.data, pae.len, made.sig, err);
    if (!rc)
        *ret = made;
    return rc;
}
