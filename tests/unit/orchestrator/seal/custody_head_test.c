/*
 * Signing days of custody: what the signer signs, what it refuses, what it remembers.
 */
#include "orchestrator/seal/custody_head.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "shared/clock.h"
#include "shared/fd.h"
#include "tests/support/suite.h"

#define ROOT "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
#define PREV "ffeeddccbbaa99887766554433221100ffeeddccbbaa99887766554433221100"
#define HEAD(day, lines)                                                                                     \
    "{\"v\":1,\"day\":\"" day "\",\"lines\":" lines ",\"root\":\"sha256:" ROOT                               \
    "\",\"prevHead\":\"sha256:" PREV "\"}"

static char state_dir[64];
static int dir_fd;
static struct sign_key *key;
static struct day_log *days;
static struct arp_err err;
static struct head_signature signed_head;

static int set_up(void)
{
    char path[128];
    snprintf(state_dir, sizeof(state_dir), "/tmp/arp-days-XXXXXX");
    if (!mkdtemp(state_dir))
        return 1;
    snprintf(path, sizeof(path), "%s/seal.pem", state_dir);
    dir_fd = open(state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return dir_fd < 0 || sign_key_load_or_make(path, &key, &err) || day_log_open(dir_fd, &days, &err);
}

static int tear_down(void)
{
    static const char *const names[] = {
        "/custody.log", "/seal.pem", "/keys/seal.pem", "/keys/sealed.log", "/keys/custody.log", "/keys", ""};
    day_log_close(days);
    sign_key_free(key);
    close(dir_fd);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        char path[128];
        snprintf(path, sizeof(path), "%s%s", state_dir, names[i]);
        remove(path);
    }
    return 0;
}

static int64_t at(const char *iso)
{
    int64_t us = 0;
    ASSERT_INT(clock_parse_iso(iso, &us, &err), 0);
    return us;
}

static int sign_at(const char *head, const char *iso)
{
    return custody_head_sign(key, days, head, strlen(head), at(iso), &signed_head, &err);
}

static void a_head_has_one_text(void)
{
    cleanup_buf struct buf out;
    buf_init(&out, 1024);
    custody_head_write(&out, "2026-11-22", 7, ROOT, PREV);
    ASSERT_STR(buf_str(&out), HEAD("2026-11-22", "7"));
    buf_reset(&out);
    custody_head_write(&out, "2026-11-22", 0, ROOT, "");
    ASSERT_STR(buf_str(&out),
        "{\"v\":1,\"day\":\"2026-11-22\",\"lines\":0,\"root\":\"sha256:" ROOT "\",\"prevHead\":null}");
}

static void the_signature_is_over_the_pae(void)
{
    const char *head = HEAD("2026-11-20", "7");
    char pae[1024];
    ASSERT_INT(sign_at(head, "2026-11-21T00:00:00.000Z"), 0);
    int n = snprintf(
        pae, sizeof(pae), "DSSEv1 37 application/vnd.arp.custody-head+json %zu %s", strlen(head), head);
    ASSERT_INT(sign_check(key, pae, (size_t)n, signed_head.sig, &err), 0);
    pae[60] ^= 1;
    ASSERT_INT(sign_check(key, pae, (size_t)n, signed_head.sig, &err), ARP_E_CORRUPT);
}

static void a_day_that_is_not_over_is_refused(void)
{
    ASSERT_INT(sign_at(HEAD("2026-11-22", "7"), "2026-11-22T23:59:59.999Z"), ARP_E_INVALID);
    ASSERT_CONTAINS(err.msg, "not over");
    ASSERT_INT(sign_at(HEAD("2026-11-23", "7"), "2026-11-22T23:59:59.999Z"), ARP_E_INVALID);
}

static void what_is_not_a_head_is_refused(void)
{
    static const char *const bad[] = {"", "{}", "{\"v\":1}", HEAD("2026-11-21", "7") " ",
        HEAD("2026-11-21", "-1"), HEAD("2026-11-21", "07"), HEAD("2026-13-21", "7"), HEAD("2026-1-021", "7"),
        " " HEAD("2026-11-21", "7"),
        "{\"v\":2,\"day\":\"2026-11-21\",\"lines\":7,\"root\":\"sha256:" ROOT "\",\"prevHead\":null}",
        "{\"v\":1,\"day\":\"2026-11-21\",\"lines\":7,\"root\":null,\"prevHead\":null}",
        "{\"v\":1,\"day\":\"2026-11-21\",\"lines\":7,\"root\":\"" ROOT "\",\"prevHead\":null}",
        "{\"v\":1,\"day\":\"2026-11-21\",\"lines\":7,\"root\":\"sha256:" ROOT "\",\"prevHead\":\"\"}",
        "{\"v\":1,\"day\":\"2026-11-21\",\"lines\":7,\"root\":\"sha256:" ROOT
        "\",\"prevHead\":null,\"x\":1}"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        ASSERT_TRUE(sign_at(bad[i], "2026-12-01T00:00:00.000Z") < 0);
    char long_head[SIGNER_HEAD_MAX + 2];
    memset(long_head, ' ', sizeof(long_head) - 1);
    long_head[sizeof(long_head) - 1] = '\0';
    ASSERT_TRUE(sign_at(long_head, "2026-12-01T00:00:00.000Z") < 0);
}

static void a_day_is_signed_once_and_days_in_order_also_after_a_restart(void)
{
    const char *now = "2026-12-01T00:00:00.000Z";
    ASSERT_INT(sign_at(HEAD("2026-11-22", "7"), now), 0);
    ASSERT_INT(sign_at(HEAD("2026-11-24", "7"), now), 0);
    for (int i = 0; i < 2; i++) {
        ASSERT_INT(sign_at(HEAD("2026-11-22", "8"), now), ARP_E_CONFLICT);
        ASSERT_INT(sign_at(HEAD("2026-11-24", "8"), now), ARP_E_CONFLICT);
        ASSERT_INT(sign_at(HEAD("2026-11-23", "7"), now), ARP_E_CONFLICT);
        ASSERT_INT(sign_at(HEAD("2026-11-22", "7"), now), 0);
        ASSERT_INT(sign_at(HEAD("2026-11-24", "7"), now), 0);
        day_log_close(days);
        days = NULL;
        ASSERT_INT(day_log_open(dir_fd, &days, &err), 0);
    }
}

/* As two signers on one state directory do. */
static void days_that_another_process_signed_are_known(void)
{
    const char *now = "2026-12-01T00:00:00.000Z";
    struct day_log *mine = days, *other = NULL;
    ASSERT_INT(day_log_open(dir_fd, &other, &err), 0);
    days = other;
    ASSERT_INT(sign_at(HEAD("2026-11-26", "7"), now), 0);
    days = mine;
    ASSERT_INT(sign_at(HEAD("2026-11-26", "8"), now), ARP_E_CONFLICT);
    ASSERT_INT(sign_at(HEAD("2026-11-26", "7"), now), 0);
    ASSERT_INT(sign_at(HEAD("2026-11-27", "7"), now), 0);
    days = other;
    ASSERT_INT(sign_at(HEAD("2026-11-25", "7"), now), ARP_E_CONFLICT);
    ASSERT_INT(sign_at(HEAD("2026-11-28", "7"), now), 0);
    days = mine;
    day_log_close(other);
}

static void a_record_cut_by_a_crash_is_dropped_and_a_damaged_one_is_not_accepted(void)
{
    cleanup_fd int fd = openat(dir_fd, "custody.log", O_RDWR | O_APPEND | O_CLOEXEC);
    off_t end = lseek(fd, 0, SEEK_END);
    ASSERT_INT(write(fd, "2026-11-29 00", 13), 13);
    day_log_close(days);
    days = NULL;
    ASSERT_INT(day_log_open(dir_fd, &days, &err), 0);
    ASSERT_INT(lseek(fd, 0, SEEK_END), end);
    ASSERT_INT(sign_at(HEAD("2026-11-29", "7"), "2026-12-01T00:00:00.000Z"), 0);
    struct day_log *damaged = NULL;
    char was[1], other[1] = {'9'};
    ASSERT_INT(pread(fd, was, 1, 0), 1);
    cleanup_fd int patch = openat(dir_fd, "custody.log", O_RDWR | O_CLOEXEC);
    ASSERT_INT(pwrite(patch, other, 1, 0), 1); /* year 9026, before later ones */
    ASSERT_INT(day_log_open(dir_fd, &damaged, &err), ARP_E_CORRUPT);
    ASSERT_INT(pwrite(patch, was, 1, 0), 1);
    ASSERT_INT(pwrite(patch, "x", 1, 20), 1);
    ASSERT_INT(day_log_open(dir_fd, &damaged, &err), ARP_E_CORRUPT);
}

static void the_signer_process_signs_and_remembers_days(void)
{
    struct signer *signer = NULL;
    ASSERT_INT(signer_start(state_dir, &signer, &err), 0);
    const char *head = HEAD("2020-02-29", "3");
    ASSERT_INT(signer_sign_head(signer, head, strlen(head), &signed_head, &err), 0);
    ASSERT_STR(signed_head.key_id, signer_key_id(signer));
    signer_stop(signer);
    ASSERT_INT(signer_start(state_dir, &signer, &err), 0);
    ASSERT_INT(
        signer_sign_head(signer, HEAD("2020-02-29", "4"), strlen(head), &signed_head, &err), ARP_E_CONFLICT);
    ASSERT_INT(
        signer_sign_head(signer, HEAD("9020-02-28", "4"), strlen(head), &signed_head, &err), ARP_E_INVALID);
    signer_stop(signer);
}

TEST_SUITE_WITH(custody_head_test, set_up, tear_down, TEST(a_head_has_one_text),
    TEST(the_signature_is_over_the_pae), TEST(a_day_that_is_not_over_is_refused),
    TEST(what_is_not_a_head_is_refused), TEST(a_day_is_signed_once_and_days_in_order_also_after_a_restart),
    TEST(days_that_another_process_signed_are_known),
    TEST(a_record_cut_by_a_crash_is_dropped_and_a_damaged_one_is_not_accepted),
    TEST(the_signer_process_signs_and_remembers_days))
