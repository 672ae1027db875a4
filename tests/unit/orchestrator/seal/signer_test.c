/*
 * The signer process: what it signs, what it refuses, what it remembers.
 */
#include "orchestrator/seal/signer.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shared/fd.h"
#include "shared/hash.h"
#include "shared/json.h"
#include "tests/support/suite.h"

#define RUN_A "6f1d2c3e-8a4b-4c5d-9e6f-0a1b2c3d4e5f"
#define RUN_B "7f1d2c3e-8a4b-4c5d-9e6f-0a1b2c3d4e5f"
static const char TAGS[] = "0000  bagit.txt\n";

static char state_dir[64];
static struct signer *signer;

static int set_up(void)
{
    snprintf(state_dir, sizeof(state_dir), "/tmp/arp-signer-XXXXXX");
    return mkdtemp(state_dir) && signer_start(state_dir, &signer, NULL) == 0 ? 0 : 1;
}

static int tear_down(void)
{
    signer_stop(signer);
    static const char *const names[] = {
        "/keys/seal.pem", "/keys/sealed.log", "/keys/custody.log", "/keys", ""};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        char path[128];
        snprintf(path, sizeof(path), "%s%s", state_dir, names[i]);
        remove(path);
    }
    return 0;
}

/* A statement that speaks of TAGS and run. */
static size_t statement_for(const char *run, const char *extra, char *out, size_t size)
{
    char digest[SHA256_HEX_LEN + 1];
    sha256_hex_of(TAGS, strlen(TAGS), digest);
    return (size_t)snprintf(out, size,
        "{\"_type\":\"https://in-toto.io/Statement/v1\",\"subject\":[{\"name\":\"%s/"
        "tagmanifest-sha256.txt\",\"digest\":"
        "{\"sha256\":\"%s\"}}],\"predicate\":{\"runDetails\":{\"metadata\":{\"invocationId\":\"%s\"}},\"x\":"
        "\"%s\"}}",
        run, digest, run, extra);
}

static int seal_text(const char *run, const char *text, size_t len, struct seal *ret, struct arp_err *err)
{
    return signer_seal(signer, run, text, len, TAGS, strlen(TAGS), ret, err);
}

static void signature_is_over_the_pae(void)
{
    char st[1024], pae[2048];
    size_t len = statement_for(RUN_A, "1", st, sizeof(st));
    struct seal seal;
    struct arp_err err = {0};
    ASSERT_INT(seal_text(RUN_A, st, len, &seal, &err), 0);
    ASSERT_STR(seal.key_id, signer_key_id(signer));
    int n = snprintf(pae, sizeof(pae), "DSSEv1 28 application/vnd.in-toto+json %zu %s", len, st);
    cleanup_buf struct buf pem;
    buf_init(&pem, 1024);
    ASSERT_INT(signer_public_pem(signer, &pem, &err), 0);
    cleanup_sign_key struct sign_key *key = NULL;
    ASSERT_TRUE(sign_key_from_public_pem(pem.data, pem.len, &key, &err) == 0);
    ASSERT_INT(sign_check(key, pae, (size_t)n, seal.dsse_sig, &err), 0);
    pae[10] ^= 1;
    ASSERT_INT(sign_check(key, pae, (size_t)n, seal.dsse_sig, &err), ARP_E_CORRUPT);
    ASSERT_CONTAINS(seal.sshsig, "-----BEGIN SSH SIGNATURE-----\n");
}

static void same_statement_again_gives_the_same_signature(void)
{
    char st[1024];
    size_t len = statement_for(RUN_A, "1", st, sizeof(st));
    struct seal first, again;
    ASSERT_INT(seal_text(RUN_A, st, len, &first, NULL), 0);
    ASSERT_INT(seal_text(RUN_A, st, len, &again, NULL), 0);
    ASSERT_INT(memcmp(&first, &again, sizeof(first)), 0);
}

static void second_different_seal_is_refused_even_after_restart(void)
{
    char st[1024];
    struct seal seal;
    struct arp_err err = {0};
    size_t len = statement_for(RUN_A, "2", st, sizeof(st));
    ASSERT_INT(seal_text(RUN_A, st, len, &seal, &err), ARP_E_CONFLICT);
    char key_id[SIGN_KEY_ID_LEN + 1];
    snprintf(key_id, sizeof(key_id), "%s", signer_key_id(signer));
    signer_stop(signer);
    ASSERT_TRUE(signer_start(state_dir, &signer, &err) == 0);
    ASSERT_STR(signer_key_id(signer), key_id);
    ASSERT_INT(seal_text(RUN_A, st, len, &seal, &err), ARP_E_CONFLICT);
    len = statement_for(RUN_A, "1", st, sizeof(st));
    ASSERT_INT(seal_text(RUN_A, st, len, &seal, &err), 0);
}

static void statements_of_other_things_are_refused(void)
{
    char st[1024];
    struct seal seal;
    struct arp_err err = {0};
    size_t len = statement_for(RUN_A, "1", st, sizeof(st));
    ASSERT_INT(seal_text(RUN_B, st, len, &seal, &err), ARP_E_INVALID);
    ASSERT_INT(seal_text("../../etc/passwd", st, len, &seal, &err), ARP_E_INVALID);
    ASSERT_INT(signer_seal(signer, RUN_A, st, len, "other", 5, &seal, &err), ARP_E_INVALID);
    ASSERT_CONTAINS(err.msg, "tagmanifest");
    ASSERT_INT(seal_text(RUN_A, "{}", 2, &seal, &err), ARP_E_INVALID);
    ASSERT_INT(seal_text(RUN_A, "{", 1, &seal, &err), ARP_E_JSON);
    ASSERT_INT(seal_text(RUN_A, st, SIGNER_STATEMENT_MAX + 1, &seal, &err), ARP_E_TOO_LARGE);
}

static void *seal_many(void *arg)
{
    unsigned base = *(unsigned *)arg;
    long failed = 0;
    for (unsigned i = 0; i < 50; i++) {
        char run[40], st[1024];
        snprintf(run, sizeof(run), "%08x-8a4b-4c5d-9e6f-0a1b2c3d4e5f", base + i);
        struct seal seal;
        failed += seal_text(run, st, statement_for(run, "", st, sizeof(st)), &seal, NULL) != 0;
    }
    return (void *)failed;
}

static void threads_share_the_signer(void)
{
    pthread_t t[4];
    unsigned base[4] = {0x100, 0x200, 0x300, 0x400};
    for (int i = 0; i < 4; i++)
        ASSERT_INT(pthread_create(&t[i], NULL, seal_many, &base[i]), 0);
    for (int i = 0; i < 4; i++) {
        void *failed = NULL;
        pthread_join(t[i], &failed);
        ASSERT_INT((long)failed, 0);
    }
}

/* More runs than the first index holds, then a restart that reads them all and a torn last record. */
static void log_survives_growth_and_a_torn_tail(void)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/keys/sealed.log", state_dir);
    for (unsigned base = 0x10000; base < 0x10000 + 1000; base += 50)
        ASSERT_INT((long)seal_many(&base), 0);
    signer_stop(signer);
    signer = NULL;
    int fd = open(path, O_WRONLY | O_APPEND);
    ASSERT_TRUE(fd >= 0 && write(fd, RUN_B " 00", 39) == 39);
    close(fd);
    struct arp_err err = {0};
    ASSERT_TRUE(signer_start(state_dir, &signer, &err) == 0);
    char st[1024];
    struct seal seal;
    ASSERT_INT(seal_text(RUN_B, st, statement_for(RUN_B, "", st, sizeof(st)), &seal, &err), 0);
    ASSERT_INT(seal_text(RUN_A, st, statement_for(RUN_A, "2", st, sizeof(st)), &seal, &err), ARP_E_CONFLICT);
}

static int seal_by(struct signer *s, const char *run, const char *extra)
{
    char st[1024];
    struct seal seal;
    size_t len = statement_for(run, extra, st, sizeof(st));
    return signer_seal(s, run, st, len, TAGS, strlen(TAGS), &seal, NULL);
}

/* Two servers of one installation: what one has sealed the other knows, and so do both after more runs than either index held before. */
static void signers_of_two_processes_know_what_the_other_has_sealed(void)
{
    struct arp_err err = {0};
    struct signer *other = NULL;
    char run[40], path[128];
    struct stat st;
    ASSERT_INT(signer_start(state_dir, &other, &err), 0);
    ASSERT_STR(signer_key_id(other), signer_key_id(signer));
    struct signer *const both[] = {signer, other};
    for (unsigned i = 0; i < 1200; i++) {
        snprintf(run, sizeof(run), "%08x-8a4b-4c5d-9e6f-0a1b2c3d4e5f", 0x20000 + i);
        ASSERT_INT(seal_by(both[i % 3 == 0], run, "one"), 0);
        if (i % 100 < 2) {
            ASSERT_INT(seal_by(both[i % 3 != 0], run, "two"), ARP_E_CONFLICT);
            ASSERT_INT(seal_by(both[i % 3 != 0], run, "one"), 0);
        }
    }
    /* One of them dies in the middle of a record. */
    snprintf(path, sizeof(path), "%s/keys/sealed.log", state_dir);
    int fd = open(path, O_WRONLY | O_APPEND);
    ASSERT_TRUE(fd >= 0 && write(fd, RUN_B " 00", 39) == 39);
    close(fd);
    snprintf(run, sizeof(run), "%08x-8a4b-4c5d-9e6f-0a1b2c3d4e5f", 0x30000);
    ASSERT_INT(seal_by(other, run, "one"), 0);
    ASSERT_INT(seal_by(signer, run, "two"), ARP_E_CONFLICT);
    ASSERT_TRUE(stat(path, &st) == 0);
    ASSERT_INT(st.st_size % 102, 0);
    signer_stop(other);
}

static void damaged_log_stops_the_start(void)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/keys/sealed.log", state_dir);
    signer_stop(signer);
    signer = NULL;
    int fd = open(path, O_RDWR);
    char was;
    ASSERT_TRUE(fd >= 0 && pread(fd, &was, 1, 40) == 1 && pwrite(fd, "X", 1, 40) == 1);
    struct arp_err err = {0};
    ASSERT_INT(signer_start(state_dir, &signer, &err), ARP_E_CORRUPT);
    ASSERT_CONTAINS(err.msg, "damaged");
    ASSERT_TRUE(pwrite(fd, &was, 1, 40) == 1);
    close(fd);
    ASSERT_TRUE(signer_start(state_dir, &signer, &err) == 0);
}

static void published_forms_name_the_key(void)
{
    struct arp_err err = {0};
    cleanup_buf struct buf keys, allowed;
    buf_init(&keys, 8192);
    buf_init(&allowed, 1024);
    ASSERT_TRUE(signer_public_keys_json(signer, &keys, &err) == 0);
    ASSERT_TRUE(signer_allowed_signers(signer, &allowed, &err) == 0);
    ASSERT_CONTAINS(allowed.data, "arp-seal namespaces=\"arp-evidence\" ssh-ed25519 AAAA");
    cleanup_cjson cJSON *obj = NULL;
    ASSERT_TRUE(json_parse(keys.data, keys.len, &obj, &err) == 0);
    const cJSON *key = cJSON_GetArrayItem(cJSON_GetObjectItem(obj, "keys"), 0);
    ASSERT_STR(json_get_str(key, "kid"), signer_key_id(signer));
    ASSERT_INT(strlen(json_get_str(cJSON_GetObjectItem(key, "jwk"), "x")), 43);
}

static void key_file_is_private_and_the_key_stays_in_the_child(void)
{
    char path[128];
    struct stat st;
    snprintf(path, sizeof(path), "%s/keys/seal.pem", state_dir);
    ASSERT_TRUE(stat(path, &st) == 0);
    ASSERT_INT(st.st_mode & 07777, 0600);
    snprintf(path, sizeof(path), "%s/keys", state_dir);
    ASSERT_TRUE(stat(path, &st) == 0);
    ASSERT_INT(st.st_mode & 07777, 0700);
}

TEST_SUITE_WITH(signer_test, set_up, tear_down, TEST(signature_is_over_the_pae),
    TEST(same_statement_again_gives_the_same_signature),
    TEST(second_different_seal_is_refused_even_after_restart), TEST(statements_of_other_things_are_refused),
    TEST(threads_share_the_signer), TEST(log_survives_growth_and_a_torn_tail),
    TEST(signers_of_two_processes_know_what_the_other_has_sealed), TEST(damaged_log_stops_the_start),
    TEST(published_forms_name_the_key), TEST(key_file_is_private_and_the_key_stays_in_the_child))
