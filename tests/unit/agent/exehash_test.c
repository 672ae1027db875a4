/*
 * Tests of agent/exehash.c: what is remembered of a file, and when not to.
 */
#include "agent/exehash.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shared/clock.h"
#include "tests/support/suite.h"

static char path[64];
static int fd = -1;
static struct exehash *x;
static struct stat st;
static char hex[SHA256_HEX_LEN + 1], want[SHA256_HEX_LEN + 1];

static void open_file(const char *template)
{
    snprintf(path, sizeof(path), "%s", template);
    fd = mkostemp(path, O_CLOEXEC);
    CU_ASSERT_FATAL(fd >= 0);
    x = exehash_new();
}

static void close_file(void)
{
    close(fd);
    unlink(path);
    exehash_free(x);
}

static void put(const char *text)
{
    CU_ASSERT_EQUAL_FATAL(pwrite(fd, text, strlen(text), 0), (ssize_t)strlen(text));
    sha256_hex_of(text, strlen(text), want);
}

static bool known(void)
{
    return fstat(fd, &st) == 0 && exehash_find(x, &st, hex);
}

static int64_t age_us(void)
{
    CU_ASSERT_EQUAL_FATAL(fstat(fd, &st), 0);
    return clock_now_us() - (st.st_ctim.tv_sec * 1000000ll + st.st_ctim.tv_nsec / 1000);
}

static void file_is_remembered_once_it_rests(void)
{
    open_file("/var/tmp/arp-exehash-XXXXXX");
    bool fresh = false;
    for (int i = 0; i < 20 && !fresh;
         i++) { /* on a machine that is busy the file may rest before it is read */
        put("one");
        CU_ASSERT(!known());
        CU_ASSERT(exehash_read(x, fd, hex));
        ASSERT_STR(hex, want);
        fresh = age_us() < 90000;
    }
    ASSERT_TRUE(fresh);
    CU_ASSERT(!known()); /* it was written just now and may be again, within the same tick */
    usleep(150000);
    CU_ASSERT(exehash_read(x, fd, hex));
    CU_ASSERT(known());
    ASSERT_STR(hex, want);
    put("two");
    CU_ASSERT(!known());
    CU_ASSERT(exehash_read(x, fd, hex));
    ASSERT_STR(hex, want);
    close_file();
}

static void times_that_were_set_back_do_not_help(void)
{
    struct timespec old[2] = {{.tv_sec = 1}, {.tv_sec = 1}};
    open_file("/var/tmp/arp-exehash-XXXXXX");
    put("one");
    futimens(fd, old);
    usleep(150000);
    CU_ASSERT(exehash_read(x, fd, hex));
    CU_ASSERT(known());
    put("two");
    futimens(fd, old); /* but the change time is the kernel's */
    CU_ASSERT(!known());
    close_file();
}

static void time_in_the_future_is_not_trusted(void)
{
    struct timespec late[2] = {{.tv_sec = 4000000000}, {.tv_sec = 4000000000}};
    open_file("/var/tmp/arp-exehash-XXXXXX");
    put("one");
    futimens(fd, late);
    usleep(150000);
    CU_ASSERT(exehash_read(x, fd, hex));
    CU_ASSERT(!known());
    close_file();
}

static void file_on_tmpfs_is_never_remembered(void)
{
    open_file("/dev/shm/arp-exehash-XXXXXX");
    put("one");
    usleep(150000);
    CU_ASSERT(exehash_read(x, fd, hex));
    ASSERT_STR(hex, want);
    CU_ASSERT(!known());
    close_file();
}

static void only_files_of_a_sane_size_are_read(void)
{
    open_file("/var/tmp/arp-exehash-XXXXXX");
    CU_ASSERT_EQUAL_FATAL(ftruncate(fd, (off_t)EXEHASH_FILE_MAX + 1), 0);
    CU_ASSERT(!exehash_read(x, fd, hex));
    int dir = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CU_ASSERT(!exehash_read(x, dir, hex));
    close(dir);
    int null = open("/dev/zero", O_RDONLY | O_CLOEXEC);
    CU_ASSERT(!exehash_read(x, null, hex));
    close(null);
    close_file();
}

TEST_SUITE(exehash_test, TEST(file_is_remembered_once_it_rests), TEST(times_that_were_set_back_do_not_help),
    TEST(time_in_the_future_is_not_trusted), TEST(file_on_tmpfs_is_never_remembered),
    TEST(only_files_of_a_sane_size_are_read))
