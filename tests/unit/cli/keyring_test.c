/*
 * Trusted keys: what a keyring may say and what is refused.
 */
#include "cli/keyring.h"

#include <stdio.h>
#include <string.h>

#include "shared/fd.h"
#include "tests/support/evidence_fixture.h"
#include "tests/support/suite.h"

static struct fixture fx;

static int set_up(void)
{
    fixture_open(&fx);
    return 0;
}

static int tear_down(void)
{
    fixture_close(&fx);
    return 0;
}

static void published_keyring_is_read(void)
{
    struct keyring *k = NULL;
    ASSERT_INT(keyring_load_json(fx.keyring, &k, NULL), 0);
    ASSERT_INT(keyring_count(k), 1);
    ASSERT_STR(keyring_at(k, 0)->id, signer_key_id(fx.signer));
    keyring_free(k);
    ASSERT_INT(keyring_count(NULL), 0);
}

static void public_pem_is_read(void)
{
    struct keyring *k = NULL;
    cleanup_buf struct buf pem;
    buf_init(&pem, 1024);
    ASSERT_INT(signer_public_pem(fx.signer, &pem, NULL), 0);
    ASSERT_INT(keyring_load_pem(fixture_file(&fx, "k.pem", pem.data, pem.len), &k, NULL), 0);
    ASSERT_STR(keyring_at(k, 0)->id, signer_key_id(fx.signer));
    keyring_free(k);
}

/* The published keyring with from replaced by to. */
static int load_changed(const char *from, const char *to)
{
    cleanup_buf struct buf ring, changed;
    struct keyring *k = NULL;
    buf_init(&ring, 8192);
    buf_init(&changed, 8192);
    ASSERT_INT(file_read(fx.keyring, &ring, NULL), 0);
    const char *at = strstr(ring.data, from);
    ASSERT_TRUE(at != NULL);
    buf_append(&changed, ring.data, (size_t)(at - ring.data));
    buf_append_str(&changed, to);
    buf_append_str(&changed, at + strlen(from));
    int rc = keyring_load_json(fixture_file(&fx, "ring.json", changed.data, changed.len), &k, NULL);
    keyring_free(k);
    return rc;
}

/* Revoked in one entry, good in the other: which of them counts must not be a matter of order. */
static void key_listed_twice_is_refused(void)
{
    cleanup_buf struct buf ring, twice;
    struct keyring *k = NULL;
    buf_init(&ring, 65536);
    buf_init(&twice, 65536);
    ASSERT_INT(file_read(fx.keyring, &ring, NULL), 0);
    const char *from = strchr(buf_str(&ring), '[') + 1, *to = strrchr(buf_str(&ring), ']');
    buf_printf(&twice, "{\"keys\":[%.*s,%.*s]}", (int)(to - from), from, (int)(to - from), from);
    ASSERT_INT(
        keyring_load_json(fixture_file(&fx, "twice.json", twice.data, twice.len), &k, NULL), ARP_E_INVALID);
}

static void wrong_keyrings_are_refused(void)
{
    struct keyring *k = NULL;
    ASSERT_INT(load_changed("\"kid\":\"SHA256:", "\"kid\":\"SHA256;"), ARP_E_INVALID);
    ASSERT_INT(load_changed("\"use\":\"seal\"", "\"use\":\"log\""), ARP_E_INVALID);
    ASSERT_INT(load_changed("BEGIN PUBLIC", "BEGIN PRIVATE"), ARP_E_INVALID);
    ASSERT_INT(load_changed("\"notAfter\":null", "\"notAfter\":\"soon\""), ARP_E_INVALID);
    ASSERT_INT(load_changed("\"notAfter\":null", "\"notAfter\":1700000000"), ARP_E_INVALID);
    ASSERT_INT(load_changed("{\"keys\":", "{\"kids\":"), ARP_E_INVALID);
    ASSERT_INT(load_changed("{\"keys\":", "{"), ARP_E_JSON);
    ASSERT_INT(keyring_load_json("/nonexistent", &k, NULL), ARP_E_IO);
    ASSERT_INT(keyring_load_pem(fx.keyring, &k, NULL), ARP_E_INVALID);
}

TEST_SUITE_WITH(keyring_test, set_up, tear_down, TEST(published_keyring_is_read), TEST(public_pem_is_read),
    TEST(wrong_keyrings_are_refused), TEST(key_listed_twice_is_refused))
