/*
 * Tests orchestrator/secret.c.
 */
#include "orchestrator/secret.h"

#include <stdlib.h>
#include <string.h>

#include "tests/support/suite.h"

#define KEY_1  "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
#define KEY_2  "ff0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
#define USER_1 "00000000-0000-4000-8000-000000000001"
#define USER_2 "00000000-0000-4000-8000-000000000002"

static struct arp_err err;

static struct secret_key key_of(const char *hex)
{
    struct secret_key k;
    ASSERT_INT(secret_key_parse(hex, &k, &err), 0);
    return k;
}

static struct secret_sealed seal(const char *hex, const char *text)
{
    struct secret_key k = key_of(hex);
    struct secret_sealed s;
    ASSERT_INT(secret_seal(&k, USER_1, "main", text, &s, &err), 0);
    return s;
}

static int open_as(const char *hex, const char *user, const char *name, const struct secret_sealed *s)
{
    struct secret_key k = key_of(hex);
    char *text = NULL;
    int rc = secret_open(&k, user, name, s, &text, &err);
    ASSERT_TRUE((rc == 0) == (text != NULL));
    secret_wipe(text);
    return rc;
}

static void a_key_is_named_by_its_digest(void)
{
    struct secret_key k = key_of(KEY_1);
    ASSERT_TRUE(k.present);
    ASSERT_STR(k.id, "630dcd29"); /* sha256sum of the bytes 00 … 1f */
    struct secret_key upper = key_of("000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F");
    ASSERT_STR(upper.id, k.id);
    struct secret_key none = key_of("");
    ASSERT_TRUE(!none.present);
}

static void what_is_no_key_is_refused_and_not_quoted(void)
{
    static const char *const bad[] = {"0", KEY_1 "0",
        "g00102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
        "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1 "};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct secret_key k;
        ASSERT_INT(secret_key_parse(bad[i], &k, &err), ARP_E_INVALID);
        ASSERT_CONTAINS(err.msg, "ARP_SECRETS_KEY");
        ASSERT_TRUE(strstr(err.msg, "0102") == NULL);
    }
}

static void what_was_sealed_opens(void)
{
    char longest[SECRET_TEXT_MAX + 1];
    memset(longest, 'k', SECRET_TEXT_MAX);
    longest[SECRET_TEXT_MAX] = '\0';
    const char *const texts[] = {"", "k", "sk-a-key-of-a-provider", longest};
    struct secret_key k = key_of(KEY_1);
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct secret_sealed s = seal(KEY_1, texts[i]);
        ASSERT_INT(s.len, strlen(texts[i]) + SECRET_TAG_LEN);
        ASSERT_STR(s.key_id, "630dcd29");
        if (strlen(texts[i]) > 1)
            ASSERT_TRUE(memmem(&s, sizeof(s), texts[i], strlen(texts[i])) == NULL);
        char *text = NULL;
        ASSERT_INT(secret_open(&k, USER_1, "main", &s, &text, &err), 0);
        ASSERT_STR(text, texts[i]);
        secret_wipe(text);
    }
}

static void the_same_text_is_sealed_differently_each_time(void)
{
    struct secret_sealed a = seal(KEY_1, "secret"), b = seal(KEY_1, "secret");
    ASSERT_TRUE(memcmp(a.nonce, b.nonce, sizeof(a.nonce)) != 0);
    ASSERT_TRUE(memcmp(a.bytes, b.bytes, a.len) != 0);
}

/* Every bit of the nonce, of the text and of the tag. */
static void what_was_altered_does_not_open(void)
{
    const struct secret_sealed whole = seal(KEY_1, "secret");
    for (size_t bit = 0; bit < 8 * whole.len; bit++) {
        struct secret_sealed s = whole;
        s.bytes[bit / 8] ^= (unsigned char)(1u << bit % 8);
        ASSERT_INT(open_as(KEY_1, USER_1, "main", &s), ARP_E_CORRUPT);
    }
    for (size_t bit = 0; bit < 8 * SECRET_NONCE_LEN; bit++) {
        struct secret_sealed s = whole;
        s.nonce[bit / 8] ^= (unsigned char)(1u << bit % 8);
        ASSERT_INT(open_as(KEY_1, USER_1, "main", &s), ARP_E_CORRUPT);
    }
    for (size_t len = 0; len < whole.len; len++) {
        struct secret_sealed s = whole;
        s.len = len;
        ASSERT_INT(open_as(KEY_1, USER_1, "main", &s), ARP_E_CORRUPT);
    }
    struct secret_sealed s = whole;
    s.len = sizeof(s.bytes) + 1;
    ASSERT_INT(open_as(KEY_1, USER_1, "main", &s), ARP_E_CORRUPT);
    ASSERT_INT(open_as(KEY_1, USER_1, "main", &whole), 0);
}

static void it_opens_at_its_place_only(void)
{
    struct secret_sealed s = seal(KEY_1, "secret");
    ASSERT_INT(open_as(KEY_1, USER_2, "main", &s), ARP_E_CORRUPT);
    ASSERT_INT(open_as(KEY_1, USER_1, "main2", &s), ARP_E_CORRUPT);
    ASSERT_INT(open_as(KEY_1, USER_1, "mai", &s), ARP_E_CORRUPT);
}

static void another_key_is_said_to_be_another(void)
{
    struct secret_sealed s = seal(KEY_1, "secret");
    ASSERT_INT(open_as(KEY_2, USER_1, "main", &s), ARP_E_CONFLICT);
    ASSERT_CONTAINS(err.msg, "630dcd29");
    /* Whoever writes the new id beside the old bytes gains nothing. */
    struct secret_key other = key_of(KEY_2);
    memcpy(s.key_id, other.id, sizeof(s.key_id));
    ASSERT_INT(open_as(KEY_2, USER_1, "main", &s), ARP_E_CORRUPT);
}

static void without_a_key_nothing_is_sealed_or_opened(void)
{
    struct secret_key none = key_of("");
    struct secret_sealed s;
    ASSERT_INT(secret_seal(&none, USER_1, "main", "secret", &s, &err), ARP_E_CONFLICT);
    ASSERT_CONTAINS(err.msg, "ARP_SECRETS_KEY");
    s = seal(KEY_1, "secret");
    ASSERT_INT(open_as("", USER_1, "main", &s), ARP_E_CONFLICT);
    ASSERT_CONTAINS(err.msg, "ARP_SECRETS_KEY");
}

static void a_text_over_its_limit_is_refused(void)
{
    char text[SECRET_TEXT_MAX + 2];
    memset(text, 'k', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    struct secret_key k = key_of(KEY_1);
    struct secret_sealed s;
    ASSERT_INT(secret_seal(&k, USER_1, "main", text, &s, &err), ARP_E_TOO_LARGE);
}

TEST_SUITE(secret_test, TEST(a_key_is_named_by_its_digest), TEST(what_is_no_key_is_refused_and_not_quoted),
    TEST(what_was_sealed_opens), TEST(the_same_text_is_sealed_differently_each_time),
    TEST(what_was_altered_does_not_open), TEST(it_opens_at_its_place_only),
    TEST(another_key_is_said_to_be_another), TEST(without_a_key_nothing_is_sealed_or_opened),
    TEST(a_text_over_its_limit_is_refused))
