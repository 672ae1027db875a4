/* The ledger of a run's model calls, on disk. */
#include "orchestrator/gateway/ledger.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "shared/chain.h"
#include "shared/fd.h"
#include "shared/limits.h"
#include "tests/support/process.h"
#include "tests/support/suite.h"

#define RUN "6f1d2c3e-8a4b-4c5d-9e6f-0a1b2c3d4e5f"

static char root[256];

static struct ledger *open_new(void)
{
    static unsigned n;
    struct ledger *l = NULL;
    snprintf(root, sizeof(root), "%s/%u/model", temp_dir(), n++);
    ASSERT_INT(ledger_open(root, RUN, &l, NULL), 0);
    return l;
}

static const char *path_of(const char *name)
{
    static char path[512];
    snprintf(path, sizeof(path), "%s/" RUN "/%s", root, name);
    return path;
}

static void lines_are_chained_and_on_disk_at_once(void)
{
    struct ledger *l = open_new();
    struct buf text;
    struct chain chain;
    buf_init(&text, 1u << 20);
    chain_init(&chain, RUN, "model_log.jsonl");
    for (int i = 0; i < 3; i++) {
        char members[32];
        int n = snprintf(members, sizeof(members), ",\"call\":%d", i);
        ASSERT_INT(ledger_append(l, members, (size_t)n, NULL), 0);
        buf_reset(&text);
        ASSERT_INT(file_read(path_of("model_log.jsonl"), &text, NULL), 0);
        const char *line = buf_str(&text);
        for (int k = 0; k < i; k++)
            line = strchr(line, '\n') + 1;
        cJSON *doc = NULL;
        size_t len = strcspn(line, "\n");
        ASSERT_INT(json_parse(line, len, &doc, NULL), 0);
        ASSERT_INT(chain_accept(&chain, line, len, doc, NULL), 0);
        ASSERT_INT(json_get_int(doc, "call", -1), i);
        ASSERT_STR(line + len, "\n");
        cJSON_Delete(doc);
    }
    buf_done(&text);
    ASSERT_INT(ledger_close(l, NULL), 0);
}

static void lines_over_the_limit_leave_no_trace(void)
{
    struct ledger *l = open_new();
    struct buf text;
    char *large = calloc(1, LIMIT_LINE);
    memset(large, ' ', LIMIT_LINE);
    ASSERT_INT(ledger_append(l, ",\"a\":1", 6, NULL), 0);
    ASSERT_INT(ledger_append(l, large, LIMIT_LINE, NULL), ARP_E_TOO_LARGE);
    ASSERT_INT(ledger_append(l, ",\"a\":2", 6, NULL), 0);
    ASSERT_INT(ledger_close(l, NULL), 0);
    buf_init(&text, 1u << 20);
    ASSERT_INT(file_read(path_of("model_log.jsonl"), &text, NULL), 0);
    ASSERT_CONTAINS(buf_str(&text), "\"a\":2,\"seq\":1");
    ASSERT_TRUE(text.len < 1000);
    buf_done(&text);
    free(large);
}

static void a_full_disk_leaves_whole_lines(void)
{
    struct ledger *l = open_new();
    struct buf text;
    struct chain chain;
    struct rlimit was;
    ASSERT_INT(getrlimit(RLIMIT_FSIZE, &was), 0);
    signal(SIGXFSZ, SIG_IGN);
    struct rlimit small = {1000, was.rlim_max};
    setrlimit(RLIMIT_FSIZE, &small);
    int whole = 0, rc = 0;
    while (whole < 100 && (rc = ledger_append(l, ",\"a\":1", 6, NULL)) == 0)
        whole++;
    setrlimit(RLIMIT_FSIZE, &was);
    ASSERT_INT(rc, ARP_E_IO);
    ASSERT_TRUE(whole >= 2);
    buf_init(&text, 1u << 20);
    ASSERT_INT(file_read(path_of("model_log.jsonl"), &text, NULL), 0);
    ASSERT_TRUE(text.len < 1000 && text.data[text.len - 1] == '\n');
    buf_reset(&text);
    /* With room again the chain goes on behind the last whole line. */
    ASSERT_INT(ledger_append(l, ",\"a\":2", 6, NULL), 0);
    ASSERT_INT(file_read(path_of("model_log.jsonl"), &text, NULL), 0);
    ASSERT_INT(ledger_size(l), text.len);
    ASSERT_INT(ledger_close(l, NULL), 0);
    chain_init(&chain, RUN, "model_log.jsonl");
    int lines = 0;
    for (const char *at = buf_str(&text); *at; lines++) {
        cJSON *doc = NULL;
        size_t len = strcspn(at, "\n");
        ASSERT_INT(json_parse(at, len, &doc, NULL), 0);
        ASSERT_INT(chain_accept(&chain, at, len, doc, NULL), 0);
        cJSON_Delete(doc);
        at += len + 1;
    }
    ASSERT_INT(lines, whole + 1);
    buf_done(&text);
}

static void a_run_has_one_ledger(void)
{
    struct arp_err err;
    struct ledger *l = open_new(), *second = NULL;
    ASSERT_INT(ledger_open(root, RUN, &second, &err), ARP_E_CONFLICT);
    ASSERT_INT(ledger_open(root, "../../etc", &second, &err), ARP_E_INVALID);
    ASSERT_INT(ledger_close(l, NULL), 0);
}

static void blobs_are_kept_once_under_their_digest(void)
{
    struct ledger *l = open_new();
    char hex[SHA256_HEX_LEN + 1], again[SHA256_HEX_LEN + 1], name[128];
    bool kept = false;
    struct buf text;
    ASSERT_INT(ledger_blob(l, "abc", 3, hex, &kept, NULL), 0);
    ASSERT_TRUE(kept);
    ASSERT_STR(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    kept = false;
    ASSERT_INT(ledger_blob(l, "abc", 3, again, &kept, NULL), 0);
    ASSERT_TRUE(kept);
    ASSERT_STR(again, hex);
    struct ledger_spool *s = NULL;
    ASSERT_INT(ledger_spool_open(l, &s, NULL), 0);
    ASSERT_INT(ledger_spool_write(s, "ab", 2, NULL), 0);
    ASSERT_INT(ledger_spool_write(s, "c", 1, NULL), 0);
    ASSERT_INT(ledger_spool_end(s, hex, &kept, NULL), 0);
    ASSERT_TRUE(kept);
    ASSERT_INT(ledger_spool_open(l, &s, NULL), 0);
    ASSERT_INT(ledger_spool_write(s, "never whole", 11, NULL), 0);
    ASSERT_INT(ledger_spool_end(s, NULL, &kept, NULL), 0);
    ASSERT_TRUE(!kept);
    ASSERT_INT(ledger_close(l, NULL), 0);
    snprintf(name, sizeof(name), "blobs/sha256-%s", hex);
    buf_init(&text, 64);
    ASSERT_INT(file_read(path_of(name), &text, NULL), 0);
    ASSERT_STR(buf_str(&text), "abc");
    buf_done(&text);
    /* Nothing half written stays: the blob is all that the directory holds, so it can be removed as soon as that is gone. */
    ASSERT_INT(unlink(path_of(name)), 0);
    ASSERT_INT(rmdir(path_of("blobs")), 0);
}

static void blobs_over_the_limit_are_not_kept(void)
{
    enum { STEP = 1 << 20 };
    struct ledger *l = open_new();
    struct ledger_spool *s = NULL;
    char *bytes = calloc(1, STEP), hex[SHA256_HEX_LEN + 1];
    bool kept = true;
    ASSERT_INT(ledger_spool_open(l, &s, NULL), 0);
    for (size_t at = 0; at <= LIMIT_BLOB; at += STEP)
        ASSERT_INT(ledger_spool_write(s, bytes, STEP, NULL), 0);
    sha256_hex_of("", 0, hex);
    ASSERT_INT(ledger_spool_end(s, hex, &kept, NULL), 0);
    ASSERT_TRUE(!kept);
    ASSERT_INT(ledger_close(l, NULL), 0);
    free(bytes);
}

/* A full run's requests have thousands of parts. */
static void blob_that_is_not_kept_costs_no_file(void)
{
    struct ledger *l = open_new();
    struct rlimit was;
    char *bytes = calloc(1, LIMIT_BLOB + 1), hex[SHA256_HEX_LEN + 1], want[SHA256_HEX_LEN + 1];
    bool kept = true;
    sha256_hex_of(bytes, LIMIT_BLOB + 1, want);
    ASSERT_INT(getrlimit(RLIMIT_NOFILE, &was), 0);
    setrlimit(RLIMIT_NOFILE, &(struct rlimit){0, was.rlim_max});
    int rc = ledger_blob(l, bytes, LIMIT_BLOB + 1, hex, &kept, NULL);
    setrlimit(RLIMIT_NOFILE, &was);
    ASSERT_INT(rc, 0);
    ASSERT_TRUE(!kept);
    ASSERT_STR(hex, want);
    ASSERT_INT(ledger_close(l, NULL), 0);
    free(bytes);
}

/* More could not be collected, and the run never be finished. */
static void a_full_ledger_has_room_for_short_lines(void)
{
    struct ledger *l = open_new();
    struct buf members;
    buf_init(&members, LIMIT_LINE);
    buf_printf(&members, ",\"path\":\"%0900000d\"", 0);
    int rc = 0;
    for (int i = 0; i < 1000 && rc == 0; i++)
        rc = ledger_append(l, members.data, members.len, NULL);
    ASSERT_INT(rc, ARP_E_TOO_LARGE);
    ASSERT_TRUE(ledger_size(l) > LEDGER_LINES_MAX - LIMIT_LINE);
    ASSERT_TRUE(ledger_size(l) <= LEDGER_LINES_MAX);
    buf_reset(&members);
    buf_printf(&members, ",\"path\":\"%07000d\"", 0);
    ASSERT_INT(ledger_append(l, members.data, members.len, NULL), 0);
    for (int i = 0; i < 10000 && rc != 0; i++)
        rc = ledger_append(l, members.data, members.len, NULL) == 0 ? ARP_E_TOO_LARGE : 0;
    ASSERT_INT(rc, 0);
    ASSERT_TRUE(ledger_size(l) <= LIMIT_EVENTS_BYTES);
    buf_done(&members);
    ASSERT_INT(ledger_close(l, NULL), 0);
}

TEST_SUITE(ledger_test, TEST(lines_are_chained_and_on_disk_at_once),
    TEST(lines_over_the_limit_leave_no_trace), TEST(a_full_disk_leaves_whole_lines),
    TEST(a_run_has_one_ledger), TEST(blobs_are_kept_once_under_their_digest),
    TEST(blobs_over_the_limit_are_not_kept), TEST(blob_that_is_not_kept_costs_no_file),
    TEST(a_full_ledger_has_room_for_short_lines))
