/*
 * Tests of agent/transcript.c: lines come out whole however the bytes came in, and the file holds what came.
 */
#include "agent/transcript.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shared/fd.h"
#include "shared/limits.h"
#include "tests/support/process.h"
#include "tests/support/suite.h"

static char root[64];
static struct evdir dir;
static struct transcript t;
static struct arp_err err;
static struct buf lines; /* what came out, each line followed by '|' */

static int set_up(void)
{
    temp_make(root);
    int fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 || mkdirat(fd, "evidence", 0700) < 0;
}

static int tear_down(void)
{
    temp_remove(root);
    return 0;
}

static void on_line(void *ctx, const char *line, size_t len)
{
    (void)ctx;
    buf_append(&lines, line, len);
    buf_append_char(&lines, '|');
}

static void begin(void (*reader)(void *ctx, const char *line, size_t len))
{
    static int number;
    char id[48];
    snprintf(id, sizeof(id), "00000000-0000-4000-8000-%012d", number++);
    int fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ASSERT_INT(evdir_create(fd, id, &dir, &err), 0);
    close(fd);
    buf_init(&lines, 4u << 20);
    ASSERT_INT(transcript_open(&t, &dir, reader, NULL, &err), 0);
}

static void end(const char *want_file, size_t len)
{
    char hex[SHA256_HEX_LEN + 1], want[SHA256_HEX_LEN + 1];
    ASSERT_INT(transcript_end(&t, hex, &err), 0);
    sha256_hex_of(want_file, len, want);
    ASSERT_STR(hex, want);
    transcript_close(&t);
    evdir_close(&dir);
}

static void lines_are_whole_however_they_are_cut(void)
{
    static const char text[] = "{\"a\":1}\n\n{\"b\":\"\xc3\xa4\"}\nlast";
    for (size_t cut = 0; cut < sizeof(text); cut++) {
        begin(on_line);
        transcript_feed(&t, text, cut);
        transcript_feed(&t, text + cut, sizeof(text) - 1 - cut);
        end(text, sizeof(text) - 1);
        ASSERT_STR(buf_str(&lines), "{\"a\":1}|{\"b\":\"\xc3\xa4\"}|last|");
        buf_done(&lines);
    }
}

static void long_line_is_kept_and_passed_over(void)
{
    size_t len = TRANSCRIPT_LINE_MAX + 4096;
    char *text = malloc(len);
    memset(text, 'x', len);
    memcpy(text, "one\n", 4);
    memcpy(text + len - 5, "\ntwo\n", 5);
    begin(on_line);
    for (size_t at = 0; at < len; at += 65536)
        transcript_feed(&t, text + at, len - at < 65536 ? len - at : 65536);
    end(text, len);
    ASSERT_STR(buf_str(&lines), "one|two|");
    buf_done(&lines);
    free(text);
}

static void file_ends_at_its_limit(void)
{
    size_t len = 1u << 20;
    char *text = calloc(1, len);
    char hex[SHA256_HEX_LEN + 1], want[SHA256_HEX_LEN + 1];
    struct stat st;
    begin(on_line);
    for (int i = 0; i < 66; i++)
        transcript_feed(&t, text, len);
    ASSERT_INT(fstat(t.fd, &st), 0);
    ASSERT_INT(st.st_size, LIMIT_BLOB);
    transcript_feed(&t, "\nstill heard\n", 13);
    ASSERT_STR(buf_str(&lines), "still heard|");
    ASSERT_INT(transcript_end(&t, hex, &err), 0);
    ASSERT_INT(sha256_fd(t.fd, want, NULL, &err), 0);
    ASSERT_STR(hex, want);
    transcript_close(&t);
    evdir_close(&dir);
    buf_done(&lines);
    free(text);
}

static void file_is_kept_though_nobody_reads_its_lines(void)
{
    static const char text[] = "one\ntwo";
    begin(NULL);
    transcript_feed(&t, text, 2);
    transcript_feed(&t, text + 2, sizeof(text) - 3);
    end(text, sizeof(text) - 1);
    buf_done(&lines);
}

TEST_SUITE_WITH(transcript_test, set_up, tear_down, TEST(lines_are_whole_however_they_are_cut),
    TEST(long_line_is_kept_and_passed_over), TEST(file_ends_at_its_limit),
    TEST(file_is_kept_though_nobody_reads_its_lines))
