/*
 * arpctl verify --custody on files made here line by line: what is sound, what became of the evidence, and that any change shows.
 */
#include "cli/custody.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "shared/chain.h"
#include "shared/fd.h"
#include "shared/merkle.h"
#include "tests/support/suite.h"

#define RUN  "6f1d2c3e-8a4b-4c5d-9e6f-0a1b2c3d4e5f"
#define HOLD ",\"holdId\":\"7f1d2c3e-8a4b-4c5d-9e6f-0a1b2c3d4e5f\""
#define ZIP  "zip of the test"
#define TYPE "application/vnd.arp.custody-head+json"
#define MOST 16

static char dir[64], zip_path[96], file_path[96];
static char zip_sha[SHA256_HEX_LEN + 1];
static struct sign_key *key;
static struct keyring *ring, *other_ring;
static struct custody_report report;

/* The file being made. */
static struct {
    struct chain chain;
    char lines[MOST][1024];
    char days[MOST][11];
    size_t n;
    char proofs[16384], heads[8192];
    char prev_head[SHA256_HEX_LEN + 1];
} doc;

static int write_file(const char *path, const char *text, size_t len)
{
    cleanup_fd int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    return fd_write_all(fd, text, len, NULL);
}

static struct keyring *ring_of(const char *name, struct sign_key **ret_key)
{
    char path[128];
    struct keyring *k = NULL;
    struct sign_key *made = NULL;
    cleanup_buf struct buf pem;
    buf_init(&pem, 1024);
    snprintf(path, sizeof(path), "%s/%s.pem", dir, name);
    if (sign_key_load_or_make(path, &made, NULL) || sign_key_public_pem(made, &pem, NULL))
        return NULL;
    snprintf(path, sizeof(path), "%s/%s.pub", dir, name);
    if (write_file(path, pem.data, pem.len) || keyring_load_pem(path, &k, NULL))
        return NULL;
    if (ret_key)
        *ret_key = made;
    else
        sign_key_free(made);
    return k;
}

static int set_up(void)
{
    snprintf(dir, sizeof(dir), "/tmp/arp-custody-XXXXXX");
    if (!mkdtemp(dir))
        return 1;
    snprintf(zip_path, sizeof(zip_path), "%s/x.zip", dir);
    snprintf(file_path, sizeof(file_path), "%s/custody.json", dir);
    if (write_file(zip_path, ZIP, strlen(ZIP)))
        return 1;
    sha256_hex_of(ZIP, strlen(ZIP), zip_sha);
    ring = ring_of("seal", &key);
    other_ring = ring_of("other", NULL);
    return !ring || !other_ring;
}

static int tear_down(void)
{
    static const char *const names[] = {
        "seal.pem", "seal.pub", "other.pem", "other.pub", "x.zip", "custody.json"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        char path[128];
        snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
        unlink(path);
    }
    rmdir(dir);
    sign_key_free(key);
    keyring_free(ring);
    keyring_free(other_ring);
    return 0;
}

static void begin(void)
{
    memset(&doc, 0, sizeof(doc));
    chain_init(&doc.chain, RUN, "custody.jsonl");
}

/* A line at noon of day, of the zip. facts: further members, each with its comma before it. */
static void line_of(const char *day, const char *type, const char *sha, const char *facts)
{
    char *l = doc.lines[doc.n];
    int n = snprintf(l, sizeof(doc.lines[0]),
        "{\"ts\":\"%sT12:00:00.000Z\",\"runId\":\"" RUN
        "\",\"type\":\"%s\",\"actor\":\"system\",\"userId\":null,\"remote\":null,"
        "\"zipSha256\":\"sha256:%s\"%s,\"seq\":%zu,\"prev\":\"%s\"}",
        day, type, sha, facts, doc.n, doc.chain.prev);
    chain_advance(&doc.chain, l, (size_t)n);
    snprintf(doc.days[doc.n++], sizeof(doc.days[0]), "%s", day);
}

static void line(const char *day, const char *type, const char *facts)
{
    line_of(day, type, zip_sha, facts);
}

static void append(char *to, size_t size, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static void append(char *to, size_t size, const char *fmt, ...)
{
    va_list ap;
    size_t len = strlen(to);
    va_start(ap, fmt);
    vsnprintf(to + len, size - len, fmt, ap);
    va_end(ap);
}

static void prove(size_t seq, const char *day, size_t leaf, const struct merkle *tree)
{
    struct merkle_path path;
    merkle_path_of(tree, leaf, &path);
    append(doc.proofs, sizeof(doc.proofs), "%s{\"seq\":%zu,\"day\":\"%s\",\"index\":%zu,\"path\":[",
        doc.proofs[0] ? "," : "", seq, day, leaf);
    for (size_t i = 0; i < path.n; i++) {
        char hex[SHA256_HEX_LEN + 1];
        hex_encode(path.hash[i], SHA256_BYTES, hex);
        append(doc.proofs, sizeof(doc.proofs), "%s\"%s\"", i ? "," : "", hex);
    }
    append(doc.proofs, sizeof(doc.proofs), "]}");
}

/* Sign a day with before leaves of other runs in front of ours and 3 behind. */
static void sign_day(const char *day, size_t before)
{
    cleanup_merkle struct merkle *tree = merkle_new();
    unsigned char digest[SHA256_BYTES], root[SHA256_BYTES], sig[SIGN_SIG_LEN];
    size_t ours = 0;
    for (size_t i = 0; i < before; i++)
        sha256_of(&i, sizeof(i), digest), merkle_add(tree, digest, NULL);
    for (size_t i = 0; i < doc.n; i++)
        if (strcmp(doc.days[i], day) == 0)
            sha256_of(doc.lines[i], strlen(doc.lines[i]), digest), merkle_add(tree, digest, NULL), ours++;
    for (size_t i = 100; i < 103; i++)
        sha256_of(&i, sizeof(i), digest), merkle_add(tree, digest, NULL);
    merkle_close(tree, NULL);
    size_t leaf = before;
    for (size_t i = 0; i < doc.n; i++)
        if (strcmp(doc.days[i], day) == 0)
            prove(i, day, leaf++, tree);
    char hex[SHA256_HEX_LEN + 1], head[512], pae[1024], id[SIGN_KEY_ID_LEN + 1];
    merkle_root(tree, root);
    hex_encode(root, sizeof(root), hex);
    int n = snprintf(head, sizeof(head),
        "{\"v\":1,\"day\":\"%s\",\"lines\":%zu,\"root\":\"sha256:%s\",\"prevHead\":%s%s%s}", day,
        before + ours + 3, hex, doc.prev_head[0] ? "\"sha256:" : "null", doc.prev_head,
        doc.prev_head[0] ? "\"" : "");
    sha256_hex_of(head, (size_t)n, doc.prev_head);
    int m = snprintf(pae, sizeof(pae), "DSSEv1 %zu " TYPE " %d %s", strlen(TYPE), n, head);
    ASSERT_INT(sign_make(key, pae, (size_t)m, sig, NULL), 0);
    sign_key_id(key, id);
    cleanup_buf struct buf payload, sig64;
    buf_init(&payload, 2048);
    buf_init(&sig64, 256);
    base64_encode(head, (size_t)n, &payload);
    base64_encode(sig, sizeof(sig), &sig64);
    append(doc.heads, sizeof(doc.heads),
        "%s{\"payloadType\":\"" TYPE
        "\",\"payload\":\"%s\",\"signatures\":[{\"keyid\":\"%s\",\"sig\":\"%s\"}]}",
        doc.heads[0] ? "," : "", payload.data, id, sig64.data);
}

/* The file's text. */
static void finish(struct buf *out)
{
    struct json j;
    buf_init(out, 1u << 20);
    buf_append_str(out, "{\"runId\":\"" RUN "\",\"lines\":");
    json_init(&j, out);
    json_arr_open(&j);
    for (size_t i = 0; i < doc.n; i++)
        json_str(&j, doc.lines[i]);
    json_arr_close(&j);
    buf_printf(out, ",\"proofs\":[%s],\"days\":[%s]}", doc.proofs, doc.heads);
}

static enum verify_exit check_text(const char *text, size_t len, const struct keyring *keys, const char *zip)
{
    ASSERT_INT(write_file(file_path, text, len), 0);
    return verify_custody(file_path, keys, zip, &report);
}

static enum verify_exit check(const struct keyring *keys, const char *zip)
{
    cleanup_buf struct buf out;
    finish(&out);
    return check_text(out.data, out.len, keys, zip);
}

/* Why it failed. */
static const char *reason(void)
{
    for (size_t i = 0; i < report.count; i++)
        if (report.checks[i].verdict == CHECK_FAIL)
            return report.checks[i].reason;
    return "nothing failed";
}

static void made_and_downloaded(void)
{
    begin();
    line("2026-11-20", "created", ",\"sizeBytes\":15,\"complete\":true");
    line("2026-11-20", "downloaded", "");
    line("2026-11-21", "verified", ",\"verdict\":\"verified\",\"matches\":true");
    sign_day("2026-11-20", 5);
    sign_day("2026-11-21", 0);
}

static void what_is_here_and_signed_is_good(void)
{
    made_and_downloaded();
    ASSERT_INT(check(ring, zip_path), VERIFY_OK);
    ASSERT_TRUE(report.integrity && report.lines == 3 && report.lines_trusted == 3);
    ASSERT_INT(report.fate, CUSTODY_HERE);
    ASSERT_STR(report.made_sha256, zip_sha);
    ASSERT_STR(report.run_id, RUN);
}

static void without_a_trusted_key_nothing_is_trusted(void)
{
    made_and_downloaded();
    ASSERT_INT(check(NULL, zip_path), VERIFY_UNTRUSTED);
    ASSERT_INT(report.lines_trusted, 0);
    ASSERT_INT(check(other_ring, zip_path), VERIFY_UNTRUSTED);
    ASSERT_INT(report.lines_trusted, 0);
    ASSERT_TRUE(report.integrity);
}

static void lines_of_today_are_not_signed_yet(void)
{
    made_and_downloaded();
    line("2026-11-22", "downloaded", "");
    ASSERT_INT(check(ring, zip_path), VERIFY_UNTRUSTED);
    ASSERT_INT(report.lines_trusted, 3);
    ASSERT_TRUE(report.integrity);
}

static void deleted_by_policy_and_vanished_are_told_apart(void)
{
    made_and_downloaded();
    ASSERT_INT(check(ring, NULL), VERIFY_FAILED);
    ASSERT_INT(report.fate, CUSTODY_VANISHED);
    ASSERT_INT(check(ring, "/tmp/there/is/no/such.zip"), VERIFY_FAILED);
    ASSERT_INT(report.fate, CUSTODY_VANISHED);
    line("2026-11-22", "purged", ",\"reason\":\"retention\",\"policy\":\"EVIDENCE_TTL_DAYS=190\"");
    sign_day("2026-11-22", 1);
    ASSERT_INT(check(ring, NULL), VERIFY_OK);
    ASSERT_INT(report.fate, CUSTODY_PURGED);
    ASSERT_STR(report.policy, "EVIDENCE_TTL_DAYS=190");
    ASSERT_STR(report.purged_at, "2026-11-22T12:00:00.000Z");
    ASSERT_INT(check(ring, zip_path), VERIFY_OK); /* a copy that somebody kept */
    ASSERT_INT(report.fate, CUSTODY_PURGED);
}

static void what_the_server_lost_is_lost_until_it_is_found(void)
{
    made_and_downloaded();
    line("2026-11-22", "lost", ",\"reason\":\"no file\"");
    sign_day("2026-11-22", 1);
    ASSERT_INT(check(ring, NULL), VERIFY_FAILED);
    ASSERT_INT(report.fate, CUSTODY_LOST);
    line("2026-11-23", "found", "");
    sign_day("2026-11-23", 1);
    ASSERT_INT(check(ring, zip_path), VERIFY_OK);
    ASSERT_INT(report.fate, CUSTODY_HERE);
    line("2026-11-24", "lost", "");
    line("2026-11-24", "created", ""); /* built again */
    sign_day("2026-11-24", 1);
    ASSERT_INT(check(ring, zip_path), VERIFY_OK);
    line_of("2026-11-25", "created", "x", "");
    sign_day("2026-11-25", 1);
    ASSERT_INT(check(ring, zip_path), VERIFY_FAILED);
    ASSERT_CONTAINS(reason(), "does not say");
}

static void another_zip_is_not_the_one(void)
{
    made_and_downloaded();
    ASSERT_INT(check(ring, file_path), VERIFY_FAILED);
    ASSERT_CONTAINS(reason(), "is not the one that was made");
}

static void a_purge_under_a_hold_or_of_something_else_is_told(void)
{
    made_and_downloaded();
    line("2026-11-22", "held", HOLD);
    line("2026-11-22", "purged", "");
    sign_day("2026-11-22", 1);
    ASSERT_INT(check(ring, NULL), VERIFY_FAILED);
    ASSERT_CONTAINS(reason(), "legal hold");
    made_and_downloaded();
    line("2026-11-22", "held", HOLD);
    line("2026-11-22", "released", HOLD);
    line("2026-11-22", "purged", "");
    sign_day("2026-11-22", 1);
    ASSERT_INT(check(ring, NULL), VERIFY_OK);
    made_and_downloaded();
    line_of("2026-11-22", "purged", "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff", "");
    sign_day("2026-11-22", 1);
    ASSERT_INT(check(ring, NULL), VERIFY_FAILED);
    ASSERT_CONTAINS(reason(), "something else");
    made_and_downloaded();
    line("2026-11-22", "purged", "");
    line("2026-11-22", "downloaded", "");
    sign_day("2026-11-22", 1);
    ASSERT_INT(check(ring, NULL), VERIFY_FAILED);
    ASSERT_CONTAINS(reason(), "there was nothing");
    made_and_downloaded();
    line("2026-11-22", "created", "");
    sign_day("2026-11-22", 1);
    ASSERT_INT(check(ring, zip_path), VERIFY_FAILED);
}

static void any_changed_byte_shows(void)
{
    cleanup_buf struct buf out;
    made_and_downloaded();
    finish(&out);
    ASSERT_INT(check_text(out.data, out.len, ring, zip_path), VERIFY_OK);
    for (size_t i = 0; i < out.len; i++) {
        out.data[i] ^= 1;
        if (check_text(out.data, out.len, ring, zip_path) == VERIFY_OK)
            fprintf(stderr, "byte %zu: %.40s\n", i, out.data + i);
        ASSERT_TRUE(report.exit_code != VERIFY_OK);
        out.data[i] ^= 1;
    }
    for (size_t len = 0; len < out.len; len += 7)
        ASSERT_TRUE(check_text(out.data, len, ring, zip_path) != VERIFY_OK);
}

static void signed_lines_that_changed_hands_show(void)
{
    /* the line is chained, and stands in no head: made after the day was signed */
    made_and_downloaded();
    begin();
    line("2026-11-20", "created", "");
    sign_day("2026-11-20", 2);
    line("2026-11-20", "downloaded", "");
    ASSERT_INT(check(ring, zip_path), VERIFY_FAILED);
    ASSERT_CONTAINS(reason(), "not in its head");
    /* a day without proofs between days that have them */
    begin();
    line("2026-11-20", "created", "");
    line("2026-11-21", "downloaded", "");
    sign_day("2026-11-20", 2);
    line("2026-11-22", "downloaded", "");
    sign_day("2026-11-22", 2);
    ASSERT_INT(check(ring, zip_path), VERIFY_FAILED);
    /* days that do not follow from one another */
    begin();
    line("2026-11-20", "created", "");
    line("2026-11-21", "downloaded", "");
    sign_day("2026-11-20", 2);
    doc.prev_head[0] ^= 1;
    sign_day("2026-11-21", 2);
    ASSERT_INT(check(ring, zip_path), VERIFY_FAILED);
    /* time goes back */
    begin();
    line("2026-11-21", "created", "");
    line("2026-11-20", "downloaded", "");
    ASSERT_INT(check(ring, zip_path), VERIFY_FAILED);
}

static void what_is_no_custody_file_is_unusable(void)
{
    static const char *const bad[] = {"", "{}", "[]",
        "{\"runId\":\"" RUN "\",\"lines\":[1],\"proofs\":[],\"days\":[]}",
        "{\"runId\":\"x\",\"lines\":[],\"proofs\":[],\"days\":[]}", "\xff"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        ASSERT_INT(check_text(bad[i], strlen(bad[i]), ring, NULL), VERIFY_UNUSABLE);
    ASSERT_INT(verify_custody("/tmp/there/is/no/such.json", ring, NULL, &report), VERIFY_UNUSABLE);
    const char *none = "{\"runId\":\"" RUN "\",\"lines\":[],\"proofs\":[],\"days\":[],\"nextAfter\":null}";
    ASSERT_INT(check_text(none, strlen(none), ring, NULL), VERIFY_UNTRUSTED);
    ASSERT_INT(report.fate, CUSTODY_NOT_MADE);
}

TEST_SUITE_WITH(custody_test, set_up, tear_down, TEST(what_is_here_and_signed_is_good),
    TEST(without_a_trusted_key_nothing_is_trusted), TEST(lines_of_today_are_not_signed_yet),
    TEST(deleted_by_policy_and_vanished_are_told_apart), TEST(what_the_server_lost_is_lost_until_it_is_found),
    TEST(another_zip_is_not_the_one), TEST(a_purge_under_a_hold_or_of_something_else_is_told),
    TEST(any_changed_byte_shows), TEST(signed_lines_that_changed_hands_show),
    TEST(what_is_no_custody_file_is_unusable))
