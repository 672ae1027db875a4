/*
 * Tests of agent/blob.c: what a file that could not be written whole is called.
 */
#include "agent/blob.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/support/process.h"
#include "tests/support/suite.h"

static void blob_cut_by_a_full_disk_holds_what_its_name_says(void)
{
    char root[64];
    char data[600];
    char all[SHA256_HEX_LEN + 1], kept[SHA256_HEX_LEN + 1], want[SHA256_HEX_LEN + 1];
    struct arp_err err = {0};
    struct blob b;
    struct rlimit before;
    bool has = false;
    temp_make(root);
    struct evdir dir = {.fd = -1, .blobs_fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
    memset(data, 'a', sizeof(data));
    ASSERT_INT(blob_init(&b, &dir, &err), 0);
    ASSERT_INT(blob_append(&b, data, sizeof(data), &err), 0);
    /* The size limit stands for the disk: 400 of the next 600 bytes fit. */
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &before);
    setrlimit(RLIMIT_FSIZE, &(struct rlimit){1000, before.rlim_max});
    int rc = blob_append(&b, data, sizeof(data), &err);
    setrlimit(RLIMIT_FSIZE, &before);
    ASSERT_INT(rc, ARP_E_IO);
    ASSERT_INT(blob_finish(&b, NULL, 0, all, kept, &has, &err), 0);
    blob_done(&b);
    ASSERT_TRUE(has);
    sha256_hex_of(data, sizeof(data), want);
    ASSERT_STR(kept, want);
    char name[SHA256_HEX_LEN + 8];
    struct stat st;
    snprintf(name, sizeof(name), "sha256-%s", kept);
    ASSERT_INT(fstatat(dir.blobs_fd, name, &st, 0), 0);
    ASSERT_INT(st.st_size, 600);
    close(dir.blobs_fd);
    temp_remove(root);
}

TEST_SUITE(blob_test, TEST(blob_cut_by_a_full_disk_holds_what_its_name_says))
