/*
 * Tests of agent/evdir.c and agent/cmdlog.c: what is written, what names are answered, and the chain of the command log.
 */
#include "agent/evdir.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent/cmdlog.h"
#include "shared/fd.h"
#include "tests/support/process.h"
#include "tests/support/suite.h"

#define ID "6f1d2c3e-8a4b-4c5d-9e6f-0a1b2c3d4e5f"

static char root[64];
static int root_fd;

static int set_up(void)
{
    temp_make(root);
    root_fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return mkdirat(root_fd, "evidence", 0700);
}

static int tear_down(void)
{
    temp_remove(root);
    return 0;
}

static void evdir_is_made_once_and_private(void)
{
    struct evdir d;
    struct arp_err err;
    struct stat st;
    ASSERT_INT(evdir_create(root_fd, ID, &d, &err), 0);
    fstat(d.fd, &st);
    ASSERT_INT(st.st_mode & 0777, 0700);
    evdir_close(&d);
    ASSERT_INT(evdir_create(root_fd, ID, &d, &err), ARP_E_CONFLICT);
}

static void evdir_answers_only_its_own_names(void)
{
    char blob[80] = "blobs/sha256-";
    memset(blob + 13, 'a', 64);
    blob[77] = 0;
    ASSERT_TRUE(evdir_name_ok("events.jsonl"));
    ASSERT_TRUE(evdir_name_ok(blob));
    static const char *const bad[] = {"", ".", "..", "../evidence", "blobs", "blobs/", "blobs/sha256-a",
        "events.jsonl/", "x", "blobs/../events.jsonl", "/etc/passwd"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        ASSERT_TRUE(!evdir_name_ok(bad[i]));
}

static void evdir_does_not_follow_links(void)
{
    static const char *const id = "11111111-8a4b-4c5d-9e6f-0a1b2c3d4e5f";
    struct evdir d;
    struct arp_err err;
    uint64_t size;
    ASSERT_INT(evdir_create(root_fd, id, &d, &err), 0);
    ASSERT_INT(symlinkat("/etc/passwd", d.fd, "diff.patch"), 0);
    ASSERT_INT(evdir_open_file(root_fd, id, "diff.patch", &size, &err), ARP_E_IO);
    ASSERT_INT(evdir_open_file(root_fd, id, "env.json", &size, &err), ARP_E_NOT_FOUND);
    ASSERT_TRUE(evdir_create_file(&d, "diff.patch", &err) < 0);
    evdir_close(&d);
}

/* Whether bytes are on the disk can't be seen from here; that no blob is passed over can: one that can't be opened is an error. */
static void evdir_sync_visits_every_blob(void)
{
    static const char *const id = "33333333-8a4b-4c5d-9e6f-0a1b2c3d4e5f";
    struct evdir d;
    struct arp_err err;
    char name[80] = "sha256-";
    ASSERT_INT(evdir_create(root_fd, id, &d, &err), 0);
    memset(name + 7, 'a', 64);
    for (char c = 'a'; c <= 'f'; c++) {
        name[7 + 63] = c;
        int fd = openat(d.blobs_fd, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        ASSERT_INT(fd_write_all(fd, &c, 1, &err), 0);
        close(fd);
    }
    ASSERT_INT(evdir_sync(&d, &err), 0);
    name[7 + 63] = '0';
    ASSERT_INT(symlinkat("/etc/passwd", d.blobs_fd, name), 0);
    ASSERT_INT(evdir_sync(&d, &err), ARP_E_IO);
    ASSERT_CONTAINS(err.msg, name);
    evdir_close(&d);
}

static void cmdlog_lines_are_chained_and_cut(void)
{
    static const char *const id = "22222222-8a4b-4c5d-9e6f-0a1b2c3d4e5f";
    static struct capture_result io;
    struct evdir d;
    struct cmdlog log;
    struct arp_err err;
    char word[] = "x";
    char dot[] = ".";
    char *argv[] = {word, word, NULL};
    struct command c = {.argv = argv, .argc = 2, .text = word, .cwd = dot};
    static struct recorder_tally tally = {.counts = {.execs = 2, .exits = 1}, .records_dropped = 3};
    struct sandbox_layers layers = {.uid = true, .no_new_privs = true, .seccomp = true};
    struct cmd_rec rec = {.ts = "2026-01-01T00:00:00.000Z",
        .command = &c,
        .cwd = "/workspace/repo",
        .io = &io,
        .layers = &layers,
        .tally = &tally};
    tally.denied[SYS_mount] = 2;
    memset(io.out.head, 'a', sizeof(io.out.head));
    memcpy(io.out.head + LIMIT_CAPTURE_HEAD - 1, "\xc3\xa9", 2); /* a character across the limit */
    io.out.head_len = LIMIT_CAPTURE_HEAD + 1;
    io.out.bytes = LIMIT_CAPTURE_HEAD + 1;
    memcpy(io.err.head, "\xff\0e", 3);
    io.err.head_len = 3;
    io.err.bytes = 3;
    ASSERT_INT(evdir_create(root_fd, id, &d, &err), 0);
    ASSERT_INT(cmdlog_open(&log, &d, id, &err), 0);
    ASSERT_INT(cmdlog_append(&log, &rec, &err), 0);
    ASSERT_INT(cmdlog_append(&log, &rec, &err), 0);
    cleanup_buf struct buf text;
    buf_init(&text, 1 << 20);
    lseek(log.fd, 0, SEEK_SET);
    ASSERT_INT(fd_read_all(log.fd, &text, &err), 0);
    struct chain chain;
    chain_init(&chain, id, "command_log.jsonl");
    char *line = text.data;
    for (int i = 0; i < 2; i++) {
        char *end = strchr(line, '\n');
        cJSON *obj = NULL;
        *end = 0;
        ASSERT_CONTAINS(line, "\"stderr\":\"\xef\xbf\xbd\xef\xbf\xbd"
                              "e\"");
        ASSERT_CONTAINS(line, "\"truncated\":true");
        ASSERT_CONTAINS(line, "\"sandbox\":[\"uid\",\"no_new_privs\",\"seccomp\"]");
        ASSERT_CONTAINS(line,
            "\"processes\":{\"execs\":2,\"exits\":1,\"unconfirmed\":0,\"changed\":0,"
            "\"failedExecs\":0,\"recordsDropped\":3},\"denied\":{\"mount\":2},\"observed\":{}");
        ASSERT_INT(json_parse(line, (size_t)(end - line), &obj, &err), 0);
        ASSERT_INT(strlen(json_get_str(obj, "stdout")), LIMIT_CAPTURE_HEAD - 1);
        ASSERT_INT(chain_accept(&chain, line, (size_t)(end - line), obj, &err), 0);
        cJSON_Delete(obj);
        line = end + 1;
    }
    ASSERT_STR(log.chain.prev, chain.prev);
    cmdlog_close(&log);
    evdir_close(&d);
}

/* What a command of the request never has, and one of an engine's run has. */
static void cmdlog_says_who_started_a_command(void)
{
    static struct capture_result io;
    static struct recorder_tally tally;
    char word[] = "x";
    char *argv[] = {word, NULL};
    struct command c = {.argv = argv, .argc = 1, .text = word};
    struct cmd_rec rec = {.command = &c, .cwd = "/", .io = &io, .tally = &tally};
    cleanup_buf struct buf plain, shim;
    struct json j;
    buf_init(&plain, 1 << 16);
    buf_init(&shim, 1 << 16);
    json_init(&j, &plain);
    json_obj_open(&j);
    cmd_rec_put(&j, &rec, false);
    static const char *const members[] = {
        "\"origin\"", "\"pid\"", "\"abandoned\"", "\"processes\"", "\"denied\"", "\"observed\""};
    for (int i = 0; i < 6; i++)
        ASSERT_TRUE((strstr(plain.data, members[i]) != NULL) == (i >= 3));
    rec.tally = NULL;
    rec.origin = "shim";
    rec.pid = 7;
    rec.exit_code = -1;
    rec.abandoned = true;
    json_init(&j, &shim);
    json_obj_open(&j);
    cmd_rec_put(&j, &rec, false);
    ASSERT_CONTAINS(shim.data, "\"exitCode\":-1");
    ASSERT_CONTAINS(shim.data, "\"origin\":\"shim\",\"pid\":7,\"abandoned\":true,\"sandbox\":[]");
    for (int i = 3; i < 6; i++)
        ASSERT_TRUE(strstr(shim.data, members[i]) == NULL);
}

TEST_SUITE_WITH(evdir_test, set_up, tear_down, TEST(evdir_is_made_once_and_private),
    TEST(evdir_answers_only_its_own_names), TEST(evdir_does_not_follow_links),
    TEST(evdir_sync_visits_every_blob), TEST(cmdlog_lines_are_chained_and_cut),
    TEST(cmdlog_says_who_started_a_command))
