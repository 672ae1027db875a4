/*
 * Tests of agent/snapshot.c: a helper process that hangs, dies or lies. The program is its own helper, as the agent is: the last part of the
 * workspace's path says how it behaves. The module is compiled in with a patience of ours.
 */
#include "agent/snapshot.h"

#undef SNAPSHOT_TIMEOUT_MS
#define SNAPSHOT_TIMEOUT_MS patience_ms
/* It covers the helper's start: short only for a helper that is there and hangs. */
#define PATIENCE_MS 20000
static int patience_ms = PATIENCE_MS;
#include "agent/snapshot.c" /* NOLINT: the time limit is what is tested */

#include <sys/stat.h>

#include "tests/support/process.h"
#include "tests/support/suite.h"
#include "tests/unit/agent/pump.h"

static struct reaper *reaper;
static char root[64];

static int set_up(void)
{
    char dir[96];
    reaper = pump_start();
    temp_make(root);
    snprintf(dir, sizeof(dir), "%s/evidence", root);
    return reaper ? mkdir(dir, 0700) : 1;
}

static int tear_down(void)
{
    temp_remove(root);
    return 0;
}

/* --- the helper ---------------------------------------------------------------------------------------------------------------- */

static void say(char type, const char *text, uint32_t claimed_len)
{
    unsigned char head[SNAPSHOT_FRAME_HEAD] = {(unsigned char)type};
    uint32_t be = htonl(claimed_len);
    memcpy(head + 1, &be, sizeof(be));
    if (fd_write_all(1, head, sizeof(head), NULL) != 0 || fd_write_all(1, text, strlen(text), NULL) != 0)
        _exit(1);
}

static void say_all(char type, const char *text)
{
    say(type, text, (uint32_t)strlen(text));
}

#define TREE "1234567890123456789012345678901234567890"

static void answer_state(const char *how)
{
    if (strcmp(how, "hang") == 0)
        pause();
    if (strcmp(how, "die") == 0)
        _exit(3);
    if (strcmp(how, "half") == 0) {
        say('S', "{\"tree\":", 1000);
        pause();
    }
    if (strcmp(how, "huge") == 0)
        say('S', "{}", 0xffffffff);
    else if (strcmp(how, "other") == 0)
        say_all('P', "patch");
    else if (strcmp(how, "garbage") == 0)
        say_all('S', "tree");
    else if (strcmp(how, "unknown") == 0)
        say_all('S', "{\"tree\":\"" TREE "\",\"extra\":1}");
    else if (strcmp(how, "bad-id") == 0)
        say_all('S', "{\"tree\":\"../../../../../../../../../etc/passwd-xxxx\"}");
    else
        say_all('S', "{\"tree\":\"" TREE "\",\"files\":1,\"skipped\":0}");
}

static void answer_diff(const char *how)
{
    if (strcmp(how, "diff-hang") == 0) {
        say_all('P', "diff --git");
        pause();
    }
    if (strcmp(how, "diff-negative") == 0)
        say_all('E', "{\"filesChanged\":-1,\"insertions\":0,\"deletions\":0,\"truncated\":false}");
    if (strcmp(how, "diff-flood") == 0) {
        char *mega = malloc(SNAPSHOT_FRAME_MAX + 1);
        memset(mega, 'x', SNAPSHOT_FRAME_MAX);
        mega[SNAPSHOT_FRAME_MAX] = 0;
        for (;;)
            say_all('P', mega);
    }
    say_all('P', "diff --git a/f b/f\n");
    say_all('E', "{\"filesChanged\":1,\"insertions\":2,\"deletions\":3,\"truncated\":false}");
}

static int helper_main(const char *path)
{
    const char *how = strrchr(path, '/') + 1;
    char order;
    signal(SIGTERM, SIG_IGN);
    while (read(0, &order, 1) == 1) {
        if (order == 'S')
            answer_state(how);
        else
            answer_diff(how);
    }
    return 0;
}

/* --- the agent's side ------------------------------------------------------------------------------------------------------------ */

static int idle(void *ctx)
{
    ++*(int *)ctx;
    return 50;
}

static struct snapshot *start(const char *how)
{
    char path[96];
    struct snapshot *s = NULL;
    struct arp_err err = {0};
    snprintf(path, sizeof(path), "%s/%s", root, how);
    int rc = snapshot_start(reaper, path, NULL, &s, &err);
    if (rc)
        printf("%s\n", err.msg);
    CU_ASSERT_EQUAL_FATAL(rc, 0);
    return s;
}

/* Stop it; its process must be gone. */
static void stop(struct snapshot *s)
{
    pid_t pid = s->child.pid;
    snapshot_stop(s);
    ASSERT_INT(kill(pid, 0), -1);
}

static void state_is_read(void)
{
    int calls = 0;
    struct capture_idle wait = {.call = idle, .ctx = &calls};
    struct snapshot_state state;
    struct snapshot *s = start("good");
    snapshot_take(s, &wait, &state);
    ASSERT_STR(state.tree, TREE);
    ASSERT_STR(state.tree_error, "");
    ASSERT_TRUE(snapshot_alive(s) && !state.has_dirty);
    stop(s);
}

/* Whatever goes wrong is a reason in the state; a helper that broke the protocol or its time is killed and asked nothing more. */
static void misbehaviour_is_a_reason_and_the_end_of_the_helper(void)
{
    static const struct {
        const char *how, *why;
        bool killed;
        int patience_ms;
    } cases[] = {{"hang", "too long", true, 1000}, {"half", "too long", true, 400},
        {"die", "ended early", true, PATIENCE_MS}, {"huge", "over its limit", true, PATIENCE_MS},
        {"other", "something else", true, PATIENCE_MS}, {"garbage", "", false, PATIENCE_MS},
        {"unknown", "extra", false, PATIENCE_MS}, {"bad-id", "malformed", false, PATIENCE_MS}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int calls = 0;
        struct capture_idle wait = {.call = idle, .ctx = &calls};
        struct snapshot_state state;
        struct snapshot *s = start(cases[i].how);
        int64_t begun = clock_mono_ns();
        patience_ms = cases[i].patience_ms;
        snapshot_take(s, &wait, &state);
        patience_ms = PATIENCE_MS;
        ASSERT_TRUE(clock_mono_ns() - begun < PATIENCE_MS * 1000000ll);
        ASSERT_TRUE(state.tree[0] == 0 && state.commit[0] == 0);
        ASSERT_TRUE(state.error[0] && state.tree_error[0]);
        ASSERT_CONTAINS(state.error, cases[i].why);
        ASSERT_INT(s->broken, cases[i].killed);
        if (cases[i].killed) {
            ASSERT_TRUE(reaper_wait(reaper, &s->child, 1000));
            ASSERT_TRUE(!snapshot_alive(s));
            snapshot_take(s, &wait, &state);
            ASSERT_CONTAINS(state.error, "gone");
        }
        if (strcmp(cases[i].how, "hang") == 0)
            ASSERT_TRUE(calls > 3); /* heartbeats go on meanwhile */
        stop(s);
    }
}

static struct snapshot_diff diff_of(const char *how, off_t *ret_size)
{
    static int number;
    char id[48];
    int calls = 0;
    struct capture_idle wait = {.call = idle, .ctx = &calls};
    struct snapshot_diff diff;
    struct evdir dir;
    struct arp_err err;
    struct stat st;
    snprintf(id, sizeof(id), "00000000-0000-4000-8000-%012d", number++);
    int fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CU_ASSERT_EQUAL_FATAL(evdir_create(fd, id, &dir, &err), 0);
    struct snapshot *s = start(how);
    patience_ms = strcmp(how, "diff-hang") == 0 ? 400 : PATIENCE_MS;
    ASSERT_INT(snapshot_diff(s, &dir, &wait, &diff, &err), 0);
    patience_ms = PATIENCE_MS;
    stop(s);
    ASSERT_INT(fstatat(dir.fd, "diff.patch", &st, 0), 0);
    *ret_size = st.st_size;
    evdir_close(&dir);
    close(fd);
    return diff;
}

/* The digest is of what is in the file, also when that is only a part; counts of a part are none. */
static void diffs_that_break_off_say_so(void)
{
    off_t size;
    struct snapshot_diff diff = diff_of("good", &size);
    ASSERT_INT(diff.files_changed + diff.insertions + diff.deletions, 6);
    ASSERT_INT(size, 19);
    ASSERT_STR(diff.error, "");
    static const char *const hows[] = {"diff-hang", "diff-negative", "diff-flood"};
    for (size_t i = 0; i < sizeof(hows) / sizeof(hows[0]); i++) {
        diff = diff_of(hows[i], &size);
        ASSERT_TRUE(diff.error[0] != 0);
        ASSERT_INT(diff.files_changed + diff.insertions + diff.deletions, 0);
        ASSERT_INT(diff.bytes, size);
        ASSERT_TRUE(size <= LIMIT_DIFF);
        ASSERT_INT(diff.truncated, size > 0);
        ASSERT_INT(strlen(diff.sha256), SHA256_HEX_LEN);
    }
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "snapshot") == 0)
        return helper_main(argv[2]);
    static const struct suite_test tests[] = {TEST(state_is_read),
        TEST(misbehaviour_is_a_reason_and_the_end_of_the_helper), TEST(diffs_that_break_off_say_so)};
    return suite_main(
        "snapshot_test", tests, sizeof(tests) / sizeof(tests[0]), set_up, tear_down, argc, argv);
}
