/*
 * Tests of agent/loop.c: what a run with the built-in engine leaves on the volume, and what the next one of its thread begins with. The loop itself:
 * builtin_test.c.
 */
#include "agent/loop.h"

#include <fcntl.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shared/clock.h"
#include "shared/fd.h"
#include "shared/uuid.h"
#include "tests/support/process.h"
#include "tests/support/relay_sleeper.h"
#include "tests/support/suite.h"

static struct arp_err err;
static struct relay *relay;
static struct workspace workspace;
static struct run_request req;
static struct evdir dir;
static struct engine_story story;
static char hex[SHA256_HEX_LEN + 1];
static struct buf asked; /* the frames of the run's calls */
static int repo_fd;

static int set_up(void)
{
    char root[64];
    temp_make(root);
    snprintf(workspace.root, sizeof(workspace.root), "%s", root);
    workspace.fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (geteuid() != 0 || workspace.fd < 0 || mkdirat(workspace.fd, "evidence", 0700) < 0 ||
        mkdirat(workspace.fd, "repo", 0755) < 0)
        return 1;
    repo_fd = openat(workspace.fd, "repo", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    buf_init(&asked, 1u << 20);
    return relay_start(&relay, &err);
}

static int tear_down(void)
{
    relay_stop(relay);
    buf_done(&asked);
    temp_remove(workspace.root);
    return 0;
}

static int idle(void *ctx)
{
    (void)ctx;
    relay_items_free(relay_take(relay));
    return 100;
}

static int shell(
    void *ctx, const char *command, int64_t timeout_ms, struct builtin_shell_result *ret, struct arp_err *e)
{
    (void)ctx;
    (void)command;
    (void)timeout_ms;
    (void)ret;
    return arp_fail(e, ARP_E_IO, 0, "no command was asked for");
}

/* One run whose model says text. */
static int run(char *thread_id, const char *text)
{
    static int number;
    static char prompt[] = "the prompt";
    char bearer[RELAY_BEARER_LEN + 1], bytes[1024];
    snprintf(bytes, sizeof(bytes),
        "data: "
        "{\"type\":\"response.output_item.done\",\"output_index\":0,\"item\":{\"type\":\"message\",\"role\":"
        "\"assistant\",\"content\":[{\"type\":\"output_text\",\"text\":\"%s\"}]}}\n\n"
        "data: "
        "{\"type\":\"response.completed\",\"response\":{\"id\":\"r\",\"status\":\"completed\",\"output\":[],"
        "\"usage\":{\"input_tokens\":7,\"output_tokens\":3,\"total_tokens\":10}}}\n\n",
        text);
    const struct answer answer = {bytes, strlen(bytes), true};
    req = (struct run_request){.engine = "builtin", .prompt = prompt, .thread_id = thread_id};
    snprintf(req.run_id, sizeof(req.run_id), "00000000-0000-4000-8000-%012d", number++);
    buf_reset(&asked);
    engine_story_done(&story);
    engine_story_init(&story);
    ASSERT_INT(evdir_create(workspace.fd, req.run_id, &dir, &err), 0);
    relay_open(relay, req.run_id, bearer);
    struct answering *orchestrator = answering_begin(relay, req.run_id, &answer, 1, &asked);
    int cancel_fd = eventfd(0, EFD_CLOEXEC);
    struct loop_spec spec = {.req = &req,
        .workspace = &workspace,
        .relay = relay,
        .dir = &dir,
        .repo_fd = repo_fd,
        .uid = 31999,
        .gid = 31999,
        .deadline_ns = clock_mono_ns() + 20000000000ll,
        .cancel_fd = cancel_fd,
        .idle = idle,
        .shell = shell};
    int rc = loop_run(&spec, &story, hex, &err);
    relay_close(relay);
    answering_end(orchestrator);
    close(cancel_fd);
    evdir_close(&dir);
    return rc;
}

static void conversation_goes_on_in_the_next_run(void)
{
    char thread[MODEL_THREAD_MAX + 1], path[1200];
    struct stat st;
    ASSERT_INT(run(NULL, "first answer"), 0);
    CU_ASSERT(story.ended && !story.failed);
    ASSERT_STR(buf_str(&story.final_text), "first answer");
    CU_ASSERT(uuid_ok(story.thread_id) && hex[0]);
    memcpy(thread, story.thread_id, sizeof(thread));
    snprintf(path, sizeof(path), "%s/engine/builtin/%s.jsonl", workspace.root, thread);
    ASSERT_INT(lstat(path, &st), 0);
    CU_ASSERT(st.st_uid == 0 && (st.st_mode & 0777) == 0600);
    snprintf(path, sizeof(path), "%s/engine/builtin", workspace.root);
    ASSERT_INT(lstat(path, &st), 0);
    CU_ASSERT(st.st_uid == 0 && (st.st_mode & 0777) == 0700);
    ASSERT_INT(run(thread, "second answer"), 0);
    ASSERT_STR(story.thread_id, thread);
    ASSERT_STR(buf_str(&story.final_text), "second answer");
    ASSERT_CONTAINS(buf_str(&asked), "first answer");
}

static void unknown_conversation_is_an_error(void)
{
    static char unknown[] = "00000000-0000-4000-8000-0000000000ff", odd[] = "ses_1";
    ASSERT_INT(run(unknown, "x"), ARP_E_NOT_FOUND);
    ASSERT_INT(run(odd, "x"), ARP_E_NOT_FOUND);
    ASSERT_INT(asked.len, 0);
}

TEST_SUITE_WITH(loop_test, set_up, tear_down, TEST(conversation_goes_on_in_the_next_run),
    TEST(unknown_conversation_is_an_error))
