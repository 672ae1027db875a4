/*
 * Tests shared/hash.c, shared/sign.c, shared/uuid.c and shared/clock.c.
 */
#include "shared/hash.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shared/clock.h"
#include "shared/fd.h"
#include "shared/sign.h"
#include "shared/uuid.h"
#include "tests/support/suite.h"

static void digests_match_published_vectors(void)
{
    char hex[SHA256_HEX_LEN + 1];
    sha256_hex_of("abc", 3, hex); /* FIPS 180-4 example */
    ASSERT_STR(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    cleanup_sha256 struct sha256 *h = sha256_new();
    sha256_update(h, "a", 1);
    sha256_hex(h, hex);
    sha256_update(h, "bc", 2);
    sha256_hex(h, hex);
    ASSERT_STR(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    hmac_sha256_hex("Jefe", 4, "what do ya want for nothing?", 28, hex); /* RFC 4231 case 2 */
    ASSERT_STR(hex, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    ASSERT_TRUE(sha256_hex_ok(hex));
    hex[3] = 'G';
    ASSERT_TRUE(!sha256_hex_ok(hex));
}

static void base64_round_trips_and_is_strict(void)
{
    unsigned char data[200];
    random_bytes(data, sizeof(data));
    for (size_t len = 0; len <= sizeof(data); len += 7) {
        cleanup_buf struct buf text, back;
        buf_init(&text, 1000);
        buf_init(&back, 1000);
        struct arp_err err;
        base64_encode(data, len, &text);
        ASSERT_INT(base64_decode(buf_str(&text), text.len, &back, &err), 0);
        ASSERT_INT(back.len, len);
        CU_ASSERT_EQUAL(len ? memcmp(back.data, data, len) : 0, 0);
    }
    static const char *const bad[] = {
        "A", "AA", "AAA", "AA=A", "====", "A===", "AB==", "AAB=", "AA A", "AA-A", "AAAA\nAAA"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        cleanup_buf struct buf back;
        struct arp_err err;
        buf_init(&back, 100);
        ASSERT_INT(base64_decode(bad[i], strlen(bad[i]), &back, &err), ARP_E_INVALID);
    }
}

static void hex_digits_have_their_values(void)
{
    static const char digits[] = "0123456789abcdefABCDEF";
    for (int c = -128; c < 128; c++) {
        const char *at = c ? strchr(digits, c) : NULL;
        int value = at ? (int)(at - digits) : -1;
        ASSERT_INT(hex_digit_value((char)c), value > 15 ? value - 6 : value);
    }
}

static void key_is_made_once_with_mode_0600_and_signs(void)
{
    char dir[] = "/tmp/arp-sign-XXXXXX";
    ASSERT_TRUE(mkdtemp(dir) != NULL);
    char path[64];
    snprintf(path, sizeof(path), "%s/seal.pem", dir);
    struct arp_err err;
    cleanup_sign_key struct sign_key *a = NULL, *b = NULL, *pub = NULL;
    ASSERT_INT(sign_key_load_or_make(path, &a, &err), 0);
    ASSERT_INT(sign_key_load_or_make(path, &b, &err), 0);
    char id_a[SIGN_KEY_ID_LEN + 1], id_b[SIGN_KEY_ID_LEN + 1];
    sign_key_id(a, id_a);
    sign_key_id(b, id_b);
    ASSERT_STR(id_a, id_b);
    struct stat st;
    ASSERT_INT(stat(path, &st), 0);
    ASSERT_INT(st.st_mode & 0777, 0600);
    unsigned char sig[SIGN_SIG_LEN];
    ASSERT_INT(sign_make(a, "hello", 5, sig, &err), 0);
    cleanup_buf struct buf pem;
    buf_init(&pem, 1000);
    ASSERT_INT(sign_key_public_pem(a, &pem, &err), 0);
    ASSERT_INT(sign_key_from_public_pem(pem.data, pem.len, &pub, &err), 0);
    ASSERT_INT(sign_check(pub, "hello", 5, sig, &err), 0);
    ASSERT_INT(sign_check(pub, "hellp", 5, sig, &err), ARP_E_CORRUPT);
    sig[10] ^= 1;
    ASSERT_INT(sign_check(pub, "hello", 5, sig, &err), ARP_E_CORRUPT);
    ASSERT_INT(sign_make(pub, "x", 1, sig, &err), ARP_E_INTERNAL);
    chmod(path, 0640);
    struct sign_key *c = NULL;
    ASSERT_INT(sign_key_load_or_make(path, &c, &err), ARP_E_CORRUPT);
    ASSERT_CONTAINS(err.msg, "chmod 600");
    unlink(path);
    rmdir(dir);
}

static void uuid_has_version_and_form(void)
{
    char a[UUID_LEN + 1], b[UUID_LEN + 1];
    uuid_make(a);
    uuid_make(b);
    ASSERT_TRUE(uuid_ok(a) && uuid_ok(b) && strcmp(a, b) != 0);
    ASSERT_INT(a[14], '4');
    static const char *const bad[] = {"", "x", "6f1d2c3e-8a4b-4c5d-9e6f-0a1b2c3d4e5",
        "6f1d2c3e-8a4b-4c5d-9e6f-0a1b2c3d4e5ff", "6F1D2C3E-8A4B-4C5D-9E6F-0A1B2C3D4E5F",
        "6f1d2c3e_8a4b-4c5d-9e6f-0a1b2c3d4e5f", "../../../../../../../../../../../../x"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        ASSERT_TRUE(!uuid_ok(bad[i]));
}

static void time_prints_and_parses_as_the_spec_shows(void)
{
    char s[CLOCK_ISO_LEN + 1];
    int64_t us;
    struct arp_err err;
    clock_iso(1763728496789123, s);
    ASSERT_STR(s, "2025-11-21T12:34:56.789Z");
    ASSERT_INT(clock_parse_iso(s, &us, &err), 0);
    ASSERT_INT(us, 1763728496789000);
    static const char *const bad[] = {"", "2025-11-21T12:34:56Z", "2025-02-30T00:00:00.000Z",
        "2025-11-21T24:00:00.000Z", "2025-11-21 12:34:56.789Z", "2025-11-21T12:34:56.789Zx"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        ASSERT_INT(clock_parse_iso(bad[i], &us, &err), ARP_E_INVALID);
}

static void a_digest_is_read_with_and_without_its_prefix(void)
{
    static const char text[] = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    static const char *const none[] = {"", "sha256:", "sha256:e3b0", "md5:e3b0",
        "SHA256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "sha256:sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855"};
    ASSERT_TRUE(sha256_hex_in(text) == text + 7);
    ASSERT_TRUE(sha256_hex_in(text + 7) == text + 7);
    ASSERT_TRUE(!sha256_hex_in(NULL));
    for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++)
        ASSERT_TRUE(!sha256_hex_in(none[i]));
}

TEST_SUITE(hash_test, TEST(digests_match_published_vectors),
    TEST(a_digest_is_read_with_and_without_its_prefix), TEST(base64_round_trips_and_is_strict),
    TEST(hex_digits_have_their_values), TEST(key_is_made_once_with_mode_0600_and_signs),
    TEST(uuid_has_version_and_form), TEST(time_prints_and_parses_as_the_spec_shows))
