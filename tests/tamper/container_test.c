/*
 * Tampering with the zip around a bundle: every byte flipped, cuts, additions and zip tricks are refused with exit code 1 and a reason.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <zip.h>

#include "cli/verify.h"
#include "shared/fd.h"
#include "tests/support/evidence_fixture.h"
#include "tests/support/suite.h"
#include "tests/support/verify_expect.h"

static char full[PATH_MAX], empty[PATH_MAX], small[PATH_MAX];

#define RUN_C "8b3f4e50-ac6d-4e7f-9081-2c3d4e5f6071"

static int set_up(void)
{
    int rc = tamper_open(FIXTURE_RUN_A, full);
    fixture_build(&fx, FIXTURE_RUN_A, FIXTURE_FULL, full);
    fixture_build(&fx, FIXTURE_RUN_B, FIXTURE_EMPTY, empty);
    fixture_build(&fx, RUN_C, FIXTURE_DROPPED, small);
    return rc;
}

/* --- the file as bytes -------------------------------------------------------------------------------------------------------- */

struct bytes {
    char *data;
    size_t len;
};

static struct bytes load(const char *path)
{
    struct buf b;
    buf_init(&b, 64u << 20);
    ASSERT_TRUE(file_read(path, &b, NULL) == 0);
    size_t len = b.len;
    return (struct bytes){buf_steal(&b), len};
}

static void save(const char *path, const void *data, size_t len)
{
    FILE *f = fopen(path, "w");
    ASSERT_TRUE(f && (len == 0 || fwrite(data, len, 1, f) == 1) && fclose(f) == 0);
}

/* Change every byte of the file in turn, by one bit or all of them: content, headers, directory, end record. */
static void refuse_every_flip(const char *bundle, bool all_bits)
{
    struct bytes b = load(bundle);
    int fd = memfd_create("tampered", MFD_CLOEXEC);
    ASSERT_TRUE(fd >= 0 && write(fd, b.data, b.len) == (ssize_t)b.len);
    char path[64];
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    expect(path, VERIFY_OK, NULL);
    size_t wrong = 0, silent = 0;
    for (size_t i = 0; i < b.len; i++) {
        char flipped = (char)(b.data[i] ^ (all_bits ? 0xff : 1 << (i % 8)));
        if (pwrite(fd, &flipped, 1, (off_t)i) != 1)
            wrong++;
        if (verify_bundle(path, &(struct verify_options){.keys = keys}, &report) != VERIFY_FAILED) {
            printf("byte %zu of %zu: exit %d\n", i, b.len, report.exit_code);
            wrong++;
        }
        silent += verify_reasons(&report)[0] == '\0';
        if (pwrite(fd, &b.data[i], 1, (off_t)i) != 1)
            wrong++;
    }
    printf("%zu bytes flipped, one by one\n", b.len);
    ASSERT_INT(wrong, 0);
    ASSERT_INT(silent, 0);
    expect(path, VERIFY_OK, NULL);
    close(fd);
    free(b.data);
}

static void every_flipped_byte_is_refused(void)
{
    refuse_every_flip(empty, false);
    refuse_every_flip(empty, true);
    refuse_every_flip(small, false);
}

/* The same without any trusted key: what was sealed by an unknown key must still hang together. */
static void flipped_bytes_are_refused_without_a_key(void)
{
    struct bytes b = load(empty);
    int fd = memfd_create("tampered", MFD_CLOEXEC);
    ASSERT_TRUE(fd >= 0 && write(fd, b.data, b.len) == (ssize_t)b.len);
    char path[64];
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    size_t wrong = 0;
    for (size_t i = 0; i < b.len; i += 7) {
        char flipped = (char)(b.data[i] ^ 0x10);
        wrong += pwrite(fd, &flipped, 1, (off_t)i) != 1;
        wrong += verify_bundle(path, &(struct verify_options){.keys = NULL}, &report) != VERIFY_FAILED;
        wrong += pwrite(fd, &b.data[i], 1, (off_t)i) != 1;
    }
    ASSERT_INT(wrong, 0);
    close(fd);
    free(b.data);
}

static void cut_padded_and_prefixed_files_are_refused(void)
{
    struct bytes b = load(full);
    char *more = malloc(b.len + 64);
    ASSERT_TRUE(more != NULL);
    memset(more, 'x', b.len + 64);
    for (size_t cut = 1; cut < b.len; cut += b.len / 50 + 1) {
        save(work, b.data, b.len - cut);
        ASSERT_TRUE(b.len - cut < 4 ||
                    verify_bundle(work, &(struct verify_options){.keys = keys}, &report) == VERIFY_FAILED);
    }
    memcpy(more, b.data, b.len);
    save(work, more, b.len + 1);
    expect(work, VERIFY_FAILED, "container: 1 bytes follow the end of the zip");
    memset(more, 'x', 64);
    memcpy(more + 64, b.data, b.len);
    save(work, more, b.len + 64);
    expect(work, VERIFY_FAILED, "before the zip");
    memcpy(more, b.data, b.len);
    memcpy(more + b.len - 2, "\x04\x00tail", 6);
    save(work, more, b.len + 4);
    expect(work, VERIFY_FAILED, "container: ");
    free(more);
    free(b.data);
}

static void what_is_no_zip_is_unusable(void)
{
    save(work, "just text, long enough to be looked at", 38);
    expect(work, VERIFY_UNUSABLE, NULL);
    save(work, "", 0);
    expect(work, VERIFY_UNUSABLE, NULL);
    expect("/nonexistent/bundle.zip", VERIFY_UNUSABLE, NULL);
    expect("/tmp", VERIFY_UNUSABLE, NULL);
    expect("/dev/null", VERIFY_UNUSABLE, NULL);
}

/* --- zip tricks ----------------------------------------------------------------------------------------------------------------- */

/* A zip with the files of the full bundle, one of them changed by how, written by libzip without our rules. */
enum zip_trick {
    TRICK_NONE,
    TRICK_SYMLINK,
    TRICK_DEFLATE,
    TRICK_COMMENT,
    TRICK_TIME,
    TRICK_EXTRA,
    TRICK_ENTRY_COMMENT,
    TRICK_DIRECTORY
};

static void write_trick(enum zip_trick trick, const char *extra_name)
{
    struct entries e;
    fixture_unpack(full, &e);
    unlink(work);
    zip_t *z = zip_open(work, ZIP_CREATE | ZIP_EXCL, NULL);
    ASSERT_TRUE(z != NULL);
    for (size_t i = 0; i < e.count; i++) {
        char name[300];
        snprintf(name, sizeof(name), "%s/%s", FIXTURE_RUN_A, e.items[i].name);
        zip_int64_t k = zip_file_add(z, name, zip_source_buffer(z, e.items[i].bytes, e.items[i].size, 0), 0);
        ASSERT_TRUE(k >= 0);
        zip_uint64_t n = (zip_uint64_t)k;
        bool it = strcmp(e.items[i].name, "events.jsonl") == 0;
        zip_set_file_compression(z, n, it && trick == TRICK_DEFLATE ? ZIP_CM_DEFLATE : ZIP_CM_STORE, 0);
        zip_file_set_dostime(z, n, (12 << 11) | (1 << 5) | (it && trick == TRICK_TIME), 0x21, 0);
        zip_uint32_t mode = it && trick == TRICK_SYMLINK ? 0120777 : 0100644;
        zip_file_set_external_attributes(z, n, 0, ZIP_OPSYS_UNIX, mode << 16);
        if (it && trick == TRICK_EXTRA)
            zip_file_extra_field_set(z, n, 0x4141, 0, (const zip_uint8_t *)"hide", 4, ZIP_FL_LOCAL);
        if (it && trick == TRICK_ENTRY_COMMENT)
            zip_file_set_comment(z, n, "hide", 4, 0);
    }
    if (extra_name) {
        zip_int64_t k = zip_file_add(z, extra_name, zip_source_buffer(z, "x", 1, 0), 0);
        zip_set_file_compression(z, (zip_uint64_t)k, ZIP_CM_STORE, 0);
        zip_file_set_dostime(z, (zip_uint64_t)k, (12 << 11) | (1 << 5), 0x21, 0);
        zip_file_set_external_attributes(z, (zip_uint64_t)k, 0, ZIP_OPSYS_UNIX, (zip_uint32_t)0100644 << 16);
    }
    if (trick == TRICK_COMMENT)
        zip_set_archive_comment(z, "hide", 4);
    if (trick == TRICK_DIRECTORY)
        zip_dir_add(z, FIXTURE_RUN_A "/data/empty", 0);
    ASSERT_INT(zip_close(z), 0);
    entries_done(&e);
}

static void zip_tricks_are_refused(void)
{
    static const struct {
        enum zip_trick trick;
        const char *extra_name, *reason;
    } cases[] = {
        {TRICK_SYMLINK, NULL, "is a symbolic link"},
        {TRICK_DEFLATE, NULL, "is compressed"},
        {TRICK_COMMENT, NULL, "container: "},
        {TRICK_TIME, NULL, "not in the canonical form"},
        {TRICK_EXTRA, NULL, "not in the canonical form"},
        {TRICK_ENTRY_COMMENT, NULL, "not in the canonical form"},
        {TRICK_DIRECTORY, NULL, "container: "},
        {TRICK_NONE, "../evil", "could leave its folder"},
        {TRICK_NONE, FIXTURE_RUN_A "/../../evil", "could leave its folder"},
        {TRICK_NONE, "/etc/cron.d/evil-name-that-is-long-enough", "could leave its folder"},
        {TRICK_NONE, FIXTURE_RUN_A "/back\\slash", "a character that bundle names do not have"},
        {TRICK_NONE, FIXTURE_RUN_B "/events.jsonl", "two top folders"},
        {TRICK_NONE, FIXTURE_RUN_A "/zzz.txt", "files: zzz.txt does not belong in a bundle"},
        {TRICK_NONE, FIXTURE_RUN_A "/aaa.txt", "out of order"},
    };
    write_trick(TRICK_NONE, NULL);
    expect(work, VERIFY_OK, NULL);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        write_trick(cases[i].trick, cases[i].extra_name);
        /* "../evil" is shorter than any bundle name */
        expect(work, VERIFY_FAILED, i == 7 ? "has a length no bundle file has" : cases[i].reason);
    }
}

/* Two entries of one name: made by overwriting the name of a second file of the same length in both headers. */
static void duplicate_entry_is_refused(void)
{
    write_trick(TRICK_NONE, FIXTURE_RUN_A "/outputs.jsoX");
    struct bytes b = load(work);
    size_t done = 0;
    for (char *p = b.data; (p = memmem(p, b.len - (size_t)(p - b.data), "/outputs.jsoX", 13)); done++)
        p[12] = 'n';
    ASSERT_INT(done, 2);
    save(work, b.data, b.len);
    expect(work, VERIFY_FAILED, "is there twice");
    free(b.data);
}

TEST_SUITE_WITH(container_test, set_up, tamper_close, TEST(every_flipped_byte_is_refused),
    TEST(flipped_bytes_are_refused_without_a_key), TEST(cut_padded_and_prefixed_files_are_refused),
    TEST(what_is_no_zip_is_unusable), TEST(zip_tricks_are_refused), TEST(duplicate_entry_is_refused))
