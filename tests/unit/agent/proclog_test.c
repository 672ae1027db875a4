/*
 * Tests of agent/proclog.c: a chain that the reader accepts, and an end that is told.
 */
#include "agent/proclog.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shared/fd.h"
#include "shared/limits.h"
#include "tests/support/process.h"
#include "tests/support/suite.h"

#define RUN_ID "00000000-0000-4000-8000-000000000001"

static char root[64];
static struct evdir dir;
static struct arp_err err;

static void open_dir(void)
{
    temp_make(root);
    int fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CU_ASSERT_EQUAL_FATAL(mkdirat(fd, "evidence", 0700), 0);
    CU_ASSERT_EQUAL_FATAL(evdir_create(fd, RUN_ID, &dir, &err), 0);
    close(fd);
}

static void close_dir(void)
{
    evdir_close(&dir);
    temp_remove(root);
}

/* The whole file. */
static void read_log(struct buf *ret)
{
    char path[256];
    snprintf(path, sizeof(path), "%s/evidence/" RUN_ID "/processes.jsonl", root);
    buf_init(ret, 32u << 20);
    CU_ASSERT_EQUAL_FATAL(file_read(path, ret, &err), 0);
}

static void lines_are_linked(void)
{
    struct proclog log;
    struct buf text;
    char hex[SHA256_HEX_LEN + 1], want[SHA256_HEX_LEN + 1], link[128];
    bool written;
    open_dir();
    ASSERT_INT(proclog_open(&log, &dir, RUN_ID, &err), 0);
    for (int i = 0; i < 3; i++) {
        struct process_record *r = process_record_new(i == 2, 1, 100 + i);
        ASSERT_INT(proclog_append(&log, r, &written, &err), 0);
        CU_ASSERT(written);
        process_record_free(r);
    }
    ASSERT_INT(log.chain.next_seq, 3);
    read_log(&text);
    ASSERT_INT(text.len, 0); /* they wait, to be written at once */
    buf_done(&text);
    ASSERT_INT(proclog_flush(&log, &err), 0);
    ASSERT_INT(proclog_digest(&log, hex, &err), 0);
    proclog_close(&log);
    read_log(&text);
    sha256_hex_of(text.data, text.len, want);
    ASSERT_STR(hex, want);
    char *line = text.data;
    for (int i = 0; i < 3; i++) {
        char *end = memchr(line, '\n', text.len - (size_t)(line - text.data));
        CU_ASSERT_FATAL(end != NULL);
        *end = 0;
        snprintf(link, sizeof(link), "\"seq\":%d,\"prev\":\"", i);
        ASSERT_CONTAINS(line, link);
        if (i > 0) /* of the line before, without its end */
            ASSERT_CONTAINS(line, want);
        ASSERT_CONTAINS(line, i == 2 ? "\"type\":\"exit\"" : "\"type\":\"exec\"");
        sha256_hex_of(line, (size_t)(end - line), want);
        line = end + 1;
    }
    buf_done(&text);
    close_dir();
}

static void empty_log_is_a_file(void)
{
    struct proclog log;
    struct buf text;
    open_dir();
    ASSERT_INT(proclog_open(&log, &dir, RUN_ID, &err), 0);
    proclog_close(&log);
    read_log(&text);
    ASSERT_INT(text.len, 0);
    buf_done(&text);
    close_dir();
}

static void full_log_takes_nothing_more(void)
{
    struct proclog log;
    struct buf text;
    unsigned lines = 0;
    open_dir();
    ASSERT_INT(proclog_open(&log, &dir, RUN_ID, &err), 0);
    struct process_record *r = process_record_new(false, 1, 100);
    r->args =
        (struct tracee_args){.bytes = malloc(TRACEE_ARGV_KEEP), .len = TRACEE_ARGV_KEEP, .total = 1 << 20};
    memset(r->args.bytes, 1, TRACEE_ARGV_KEEP); /* the longest a byte can become: six characters */
    for (bool written = true; written && lines < 100000; lines += written) {
        ASSERT_INT(proclog_append(&log, r, &written, &err), 0);
        CU_ASSERT_EQUAL(written, !log.full);
    }
    CU_ASSERT(log.full);
    struct process_record *small = process_record_new(true, 1, 100);
    bool written = true;
    ASSERT_INT(proclog_append(&log, small, &written, &err), 0);
    CU_ASSERT(!written); /* what comes behind a gap would look whole */
    ASSERT_INT(log.chain.next_seq, lines);
    CU_ASSERT(log.batch.cap <= (512u << 10) + LIMIT_LINE);
    ASSERT_INT(proclog_flush(&log, &err), 0);
    proclog_close(&log);
    read_log(&text);
    CU_ASSERT(text.len <= LIMIT_PROCESS_BYTES && text.len > LIMIT_PROCESS_BYTES - 200000);
    ASSERT_INT(text.data[text.len - 1], '\n');
    buf_done(&text);
    process_record_free(r);
    process_record_free(small);
    close_dir();
}

TEST_SUITE(proclog_test, TEST(lines_are_linked), TEST(empty_log_is_a_file), TEST(full_log_takes_nothing_more))
