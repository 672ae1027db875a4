/*
 * Tests of agent/spool.c with agent/blob.c under it: digests, blobs and memory for outputs of every size.
 */
#include "agent/spool.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/support/process.h"
#include "tests/support/suite.h"

/* For the thread that writes the blobs. */
#define PATIENCE_MS 60000

static char root[64];
static struct evdir dir;
static struct capture_stream out, errs;

static int set_up(void)
{
    static const char *const id = "44444444-8a4b-4c5d-9e6f-0a1b2c3d4e5f";
    struct arp_err err;
    temp_make(root);
    int fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc = mkdirat(fd, "evidence", 0700);
    if (rc == 0)
        rc = evdir_create(fd, id, &dir, &err);
    close(fd);
    return rc;
}

static int tear_down(void)
{
    evdir_close(&dir);
    temp_remove(root);
    return 0;
}

static struct spool *open_spool(void)
{
    struct capture_stream *streams[] = {&out, &errs};
    struct spool *s = NULL;
    struct arp_err err;
    memset(&out, 0, sizeof(out));
    memset(&errs, 0, sizeof(errs));
    CU_ASSERT_EQUAL_FATAL(spool_new(&dir, streams, &s, &err), 0);
    return s;
}

/* The bytes at offset at of the one test stream: no two buffers of it are equal. */
static void fill(char *data, size_t len, uint64_t at)
{
    for (size_t i = 0; i < len; i++)
        data[i] = (char)(((at + i) * 2654435761u) >> 13);
}

/* Send len bytes of the test stream through a pipe into stream which; pieces of at most piece bytes. */
static void feed(struct spool *s, int which, uint64_t from, uint64_t len, size_t piece)
{
    int p[2];
    char *data = malloc(piece);
    CU_ASSERT_EQUAL_FATAL(pipe2(p, O_CLOEXEC | O_NONBLOCK), 0);
    for (uint64_t at = 0; at < len;) {
        size_t n = len - at < piece ? (size_t)(len - at) : piece;
        fill(data, n, from + at);
        ssize_t put = write(p[1], data, n);
        if (put > 0)
            at += (uint64_t)put;
        enum spool_read got;
        do
            got = spool_read(s, which, p[0], PATIENCE_MS);
        while (got == SPOOL_MORE);
        CU_ASSERT_EQUAL_FATAL(got, SPOOL_EMPTY);
    }
    close(p[1]);
    ASSERT_INT(spool_read(s, which, p[0], PATIENCE_MS), SPOOL_END);
    close(p[0]);
    free(data);
}

static void digest_of(uint64_t len, char ret[SHA256_HEX_LEN + 1])
{
    cleanup_sha256 struct sha256 *h = sha256_new();
    char data[65536];
    for (uint64_t at = 0; at < len; at += sizeof(data)) {
        size_t n = len - at < sizeof(data) ? (size_t)(len - at) : sizeof(data);
        fill(data, n, at);
        sha256_update(h, data, n);
    }
    sha256_hex(h, ret);
}

/* Size of the blob named by hex; -1 when there is none. */
static long long blob_size(const char *hex)
{
    char name[SHA256_HEX_LEN + 8];
    struct stat st;
    snprintf(name, sizeof(name), "sha256-%s", hex);
    return fstatat(dir.blobs_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 ? st.st_size : -1;
}

static void expect(const struct capture_stream *s, uint64_t len)
{
    char hex[SHA256_HEX_LEN + 1], first[CAPTURE_HEAD];
    digest_of(len, hex);
    ASSERT_INT(s->bytes, len);
    ASSERT_STR(s->sha256, hex);
    ASSERT_INT(s->head_len, len < CAPTURE_HEAD ? len : CAPTURE_HEAD);
    fill(first, s->head_len, 0);
    ASSERT_INT(memcmp(s->head, first, s->head_len), 0);
    ASSERT_INT(s->has_blob, len > 0);
    if (len == 0)
        return;
    ASSERT_INT(s->blob_bytes, len < LIMIT_BLOB ? len : LIMIT_BLOB);
    digest_of(s->blob_bytes, hex);
    ASSERT_STR(s->blob_sha256, hex);
    ASSERT_INT(blob_size(hex), s->blob_bytes);
}

static void no_temp_file_is_left(void)
{
    struct dirent **entries;
    int n = scandirat(dir.blobs_fd, ".", &entries, NULL, NULL);
    ASSERT_TRUE(n >= 2);
    for (int i = 0; i < n; i++) {
        ASSERT_TRUE(strstr(entries[i]->d_name, ".tmp") == NULL);
        free(entries[i]);
    }
    free(entries);
}

static void outputs_of_every_size_are_whole(void)
{
    static const uint64_t sizes[] = {0, 1, CAPTURE_HEAD - 1, CAPTURE_HEAD, CAPTURE_HEAD + 1,
        CAPTURE_HEAD + SPOOL_BUFFER - 1, CAPTURE_HEAD + SPOOL_BUFFER, CAPTURE_HEAD + SPOOL_BUFFER + 1,
        5000000};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct arp_err err;
        struct spool *s = open_spool();
        feed(s, 0, 0, sizes[i], 50000);
        feed(s, 1, 0, sizes[i] / 2, 700);
        ASSERT_INT(spool_finish(s, &err), 0);
        expect(&out, sizes[i]);
        expect(&errs, sizes[i] / 2);
        spool_free(s);
    }
    no_temp_file_is_left();
}

static void interleaved_streams_do_not_mix(void)
{
    struct arp_err err;
    struct spool *s = open_spool();
    uint64_t at = 0;
    for (int i = 0; i < 300; i++) {
        uint64_t len = 1 + (uint64_t)i * 300;
        feed(s, i & 1, at / 2, len, 65536);
        feed(s, ~i & 1, at / 2, len, 65536);
        at += 2 * len;
    }
    ASSERT_INT(spool_finish(s, &err), 0);
    expect(&out, at / 2);
    expect(&errs, at / 2);
    spool_free(s);
}

static void output_over_the_limit_keeps_its_beginning(void)
{
    struct arp_err err;
    struct spool *s = open_spool();
    feed(s, 0, 0, LIMIT_BLOB + 300000, 65536);
    feed(s, 1, 0, LIMIT_BLOB, 65536);
    ASSERT_INT(spool_finish(s, &err), 0);
    expect(&out, LIMIT_BLOB + 300000);
    expect(&errs, LIMIT_BLOB);
    ASSERT_TRUE(strcmp(out.sha256, out.blob_sha256) != 0);
    ASSERT_STR(errs.blob_sha256, out.blob_sha256);
    spool_free(s);
    no_temp_file_is_left();
}

/* The run's own limit cuts as the stream's does, also in the middle of a short output. */
static void output_over_the_runs_limit_keeps_its_beginning(void)
{
    uint64_t before = dir.blob_bytes;
    for (uint64_t len = 500; len <= 500000; len *= 1000) {
        struct arp_err err;
        char hex[SHA256_HEX_LEN + 1];
        struct spool *s = open_spool();
        dir.blob_bytes = LIMIT_RUN_BLOBS - 123;
        feed(s, 0, 0, len, 65536);
        ASSERT_INT(spool_finish(s, &err), 0);
        spool_free(s);
        dir.blob_bytes = before;
        digest_of(len, hex);
        ASSERT_STR(out.sha256, hex);
        ASSERT_INT(out.blob_bytes, 123);
        digest_of(123, hex);
        ASSERT_STR(out.blob_sha256, hex);
        ASSERT_INT(blob_size(hex), 123);
    }
    no_temp_file_is_left();
}

/* The second blob of the same bytes is the first: nothing was written, nothing replaced. */
static void equal_output_is_kept_once(void)
{
    static const uint64_t sizes[] = {100, CAPTURE_HEAD + SPOOL_BUFFER + 100};
    for (size_t i = 0; i < 2; i++) {
        struct stat first, second;
        char name[SHA256_HEX_LEN + 8];
        for (int round = 0; round < 2; round++) {
            struct arp_err err;
            struct spool *s = open_spool();
            feed(s, 0, 0, sizes[i], 65536);
            ASSERT_INT(spool_finish(s, &err), 0);
            expect(&out, sizes[i]);
            snprintf(name, sizeof(name), "sha256-%s", out.sha256);
            ASSERT_INT(fstatat(dir.blobs_fd, name, round ? &second : &first, 0), 0);
            spool_free(s);
        }
        ASSERT_INT(first.st_ino, second.st_ino);
        no_temp_file_is_left();
    }
}

/* Commands of an engine's run print at the same time, into one directory and under one limit. */
static void *write_one(void *arg)
{
    static const size_t total = 3000000;
    struct capture_stream *streams[2] = {
        calloc(1, sizeof(struct capture_stream)), calloc(1, sizeof(struct capture_stream))};
    struct spool *s = NULL;
    char hex[SHA256_HEX_LEN + 1];
    char *data = malloc(total);
    uint64_t skip = *(const uint64_t *)arg;
    long good = spool_new(&dir, streams, &s, NULL) == 0;
    fill(data, total, skip);
    for (size_t at = 0, taken; good && at < total; at += taken) {
        size_t n = total - at < 70001 ? total - at : 70001;
        good = spool_write(s, 1, data + at, n, PATIENCE_MS, &taken) == SPOOL_MORE && taken == n;
    }
    good = good && spool_finish(s, NULL) == 0;
    sha256_hex_of(data, total, hex);
    good = good && strcmp(streams[1]->sha256, hex) == 0 && streams[1]->has_blob &&
           streams[1]->blob_bytes == total && blob_size(hex) == (long long)total && streams[0]->bytes == 0;
    spool_free(s);
    free(data);
    free(streams[0]);
    free(streams[1]);
    return (void *)good;
}

static void spools_side_by_side_do_not_meet(void)
{
    pthread_t threads[8];
    uint64_t skips[8];
    uint64_t before = dir.blob_bytes;
    for (uint64_t i = 0; i < 8; i++) {
        skips[i] = 1000 + 3 * i;
        CU_ASSERT_EQUAL_FATAL(pthread_create(&threads[i], NULL, write_one, &skips[i]), 0);
    }
    for (int i = 0; i < 8; i++) {
        void *good;
        pthread_join(threads[i], &good);
        ASSERT_TRUE(good != NULL);
    }
    ASSERT_INT(dir.blob_bytes - before, 8 * 3000000);
    no_temp_file_is_left();
}

static long rss_kb(void)
{
    long pages = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    if (!f || fscanf(f, "%*d %ld", &pages) != 1)
        pages = -1;
    if (f)
        fclose(f);
    return pages * 4;
}

static void memory_does_not_grow_with_the_output(void)
{
    struct arp_err err;
    struct spool *s = open_spool();
    feed(s, 0, 0, 16 << 20, 65536);
    long before = rss_kb();
    feed(s, 0, 0, 128 << 20, 65536);
    long after = rss_kb();
    ASSERT_TRUE(before > 0 && after - before < 1024);
    ASSERT_INT(spool_finish(s, &err), 0);
    ASSERT_INT(out.bytes, (16 << 20) + (128 << 20));
    spool_free(s);
}

#ifndef __SANITIZE_ADDRESS__ /* its allocator does not live with RLIMIT_AS */
static void *nothing(void *arg)
{
    return arg;
}

/* A workload at the container's process limit takes the thread away, not the record. First of the tests: later glibc has a stack left over. */
static void output_is_whole_without_a_thread(void)
{
    struct arp_err err;
    struct rlimit before;
    struct spool *s = open_spool();
    feed(s, 0, 0, CAPTURE_HEAD + 1, 65536); /* the buffers are there now, the thread is not */
    getrlimit(RLIMIT_AS, &before);
    setrlimit(RLIMIT_AS, &(struct rlimit){1 << 20, before.rlim_max});
    pthread_t t;
    pthread_attr_t small;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 64 << 10);
    ASSERT_INT(pthread_create(&t, &small, nothing, NULL), EAGAIN);
    feed(s, 0, CAPTURE_HEAD + 1, 3000000, 65536);
    feed(s, 1, 0, 2000000, 65536);
    setrlimit(RLIMIT_AS, &before);
    feed(s, 0, CAPTURE_HEAD + 1 + 3000000, 3000000, 65536); /* with a thread again */
    ASSERT_INT(spool_finish(s, &err), 0);
    expect(&out, CAPTURE_HEAD + 1 + 6000000);
    expect(&errs, 2000000);
    spool_free(s);
}
#define WITHOUT_A_THREAD TEST(output_is_whole_without_a_thread),
#else
#define WITHOUT_A_THREAD
#endif

static void unwritable_blobs_are_an_error_and_digests_are_right(void)
{
    static const uint64_t sizes[] = {50, 1000000};
    for (size_t i = 0; i < 2; i++) {
        struct arp_err err;
        char hex[SHA256_HEX_LEN + 1];
        int real = dir.blobs_fd;
        dir.blobs_fd = open("/proc/self/fdinfo", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        struct spool *s = open_spool();
        feed(s, 0, 0, sizes[i], 65536);
        ASSERT_INT(spool_finish(s, &err), ARP_E_IO);
        spool_free(s);
        close(dir.blobs_fd);
        dir.blobs_fd = real;
        digest_of(sizes[i], hex);
        ASSERT_STR(out.sha256, hex);
        ASSERT_INT(out.bytes, sizes[i]);
        ASSERT_TRUE(!out.has_blob);
    }
}

TEST_SUITE_WITH(spool_test, set_up, tear_down, WITHOUT_A_THREAD TEST(outputs_of_every_size_are_whole),
    TEST(interleaved_streams_do_not_mix), TEST(output_over_the_limit_keeps_its_beginning),
    TEST(output_over_the_runs_limit_keeps_its_beginning), TEST(equal_output_is_kept_once),
    TEST(spools_side_by_side_do_not_meet), TEST(memory_does_not_grow_with_the_output),
    TEST(unwritable_blobs_are_an_error_and_digests_are_right))
