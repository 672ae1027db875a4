/*
 * Tests of agent/engine*.c: what the CLIs' lines mean, how they are started, and what their configuration holds.
 */
#include "agent/engine.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/engine.intern.h"
#include "shared/fd.h"
#include "tests/support/process.h"
#include "tests/support/suite.h"

#define THREAD "01a200ad-eed8-7f40-bb1f-e881d0e5cb60"

static char root[64];
static struct arp_err err;

static int set_up(void)
{
    temp_make(root);
    return geteuid() != 0 || chown(root, 31999, 31999) != 0;
}

static int tear_down(void)
{
    temp_remove(root);
    return 0;
}

static void tell(const char *engine, const char *const *lines, struct engine_story *s)
{
    engine_story_init(s);
    for (; *lines; lines++)
        engine_find(engine)->line(s, *lines, strlen(*lines));
}

static void codex_lines_tell_thread_text_and_end(void)
{
    static const char *const lines[] = {"{\"type\":\"thread.started\",\"thread_id\":\"" THREAD "\"}",
        "{\"type\":\"turn.started\"}",
        "{\"type\":\"item.completed\",\"item\":{\"id\":\"item_0\",\"type\":\"agent_message\",\"text\":\"I "
        "will "
        "write the file first.\"}}",
        "{\"type\":\"item.started\",\"item\":{\"id\":\"item_1\",\"type\":\"file_change\",\"changes\":[{"
        "\"path\":"
        "\"/workspace/repo/hello.txt\",\"kind\":\"add\"}],\"status\":\"in_progress\"}}",
        "{\"type\":\"item.completed\",\"item\":{\"id\":\"item_2\",\"type\":\"command_execution\","
        "\"aggregated_output\":\"1:hello\\u0000\\nTEST-OK\\n\",\"exit_code\":0,\"status\":\"completed\"}}",
        "{\"type\":\"error\",\"message\":\"Reconnecting... 1/2\"}",
        "{\"type\":\"item.completed\",\"item\":{\"type\":\"error\",\"message\":\"a warning\"}}",
        "{\"type\":\"item.completed\",\"item\":{\"id\":\"item_3\",\"type\":\"agent_message\",\"text\":\"All "
        "done.\"}}",
        "{\"type\":\"turn.completed\",\"usage\":{\"input_tokens\":120}}", NULL};
    struct engine_story s;
    tell("codex", lines, &s);
    ASSERT_STR(s.thread_id, THREAD);
    ASSERT_STR(buf_str(&s.final_text), "All done.");
    CU_ASSERT(s.ended && !s.failed);
    engine_story_done(&s);
}

static void codex_failure_has_its_words(void)
{
    static const char *const lines[] = {
        "{\"type\":\"turn.failed\",\"error\":{\"message\":\"arp_budget_exceeded: 10 calls\"}}", NULL};
    struct engine_story s;
    tell("codex", lines, &s);
    CU_ASSERT(s.ended && s.failed);
    ASSERT_STR(s.message, "arp_budget_exceeded: 10 calls");
    engine_story_done(&s);
}

static void claude_lines_tell_thread_text_and_end(void)
{
    static const char *const good[] = {
        "{\"type\":\"system\",\"subtype\":\"init\",\"cwd\":\"/workspace/repo\",\"session_id\":\"" THREAD
        "\"}",
        "{\"type\":\"assistant\",\"message\":{\"content\":[{\"type\":\"text\",\"text\":\"working\"},{"
        "\"type\":"
        "\"tool_use\",\"id\":\"t\",\"name\":\"Bash\",\"input\":{\"command\":\"ls\"}}]}}",
        "{\"type\":\"user\",\"message\":{\"content\":[{\"type\":\"tool_result\",\"content\":\"x\"}]}}",
        "{\"is_error\":false,\"subtype\":\"success\",\"result\":\"finished\",\"type\":\"result\"}", NULL};
    static const char *const bad[] = {
        "{\"type\":\"result\",\"subtype\":\"error_during_execution\",\"is_error\":true}", NULL};
    struct engine_story s;
    tell("claude", good, &s);
    ASSERT_STR(s.thread_id, THREAD);
    ASSERT_STR(buf_str(&s.final_text), "finished");
    CU_ASSERT(s.ended && !s.failed);
    engine_story_done(&s);
    tell("claude", bad, &s);
    CU_ASSERT(s.ended && s.failed);
    ASSERT_STR(s.message, "error_during_execution");
    engine_story_done(&s);
}

static void opencode_lines_tell_thread_text_and_end(void)
{
    static const char *const good[] = {
        "{\"type\":\"step_start\",\"sessionID\":\"ses_4af\",\"part\":{\"type\":\"step-start\"}}",
        "{\"type\":\"tool_use\",\"sessionID\":\"ses_4af\",\"part\":{\"state\":{\"status\":\"completed\"}}}",
        "{\"type\":\"step_finish\",\"sessionID\":\"ses_4af\",\"part\":{\"reason\":\"tool-calls\"}}",
        "{\"type\":\"text\",\"sessionID\":\"ses_4af\",\"part\":{\"type\":\"text\",\"text\":\"done\"}}",
        "{\"type\":\"step_finish\",\"sessionID\":\"ses_4af\",\"part\":{\"reason\":\"stop\"}}", NULL};
    static const char *const bad[] = {"{\"type\":\"error\",\"sessionID\":\"ses_4af\",\"error\":{\"name\":"
                                      "\"APIError\",\"data\":{\"message\":\"no\"}}}",
        NULL};
    struct engine_story s;
    tell("opencode", good, &s);
    ASSERT_STR(s.thread_id, "ses_4af");
    ASSERT_STR(buf_str(&s.final_text), "done");
    CU_ASSERT(s.ended && !s.failed);
    engine_story_done(&s);
    tell("opencode", bad, &s);
    CU_ASSERT(s.failed);
    ASSERT_STR(s.message, "no");
    engine_story_done(&s);
}

/* Every prefix of every line, and lines that mean nothing: no end is invented. */
static void torn_and_unknown_lines_are_passed_over(void)
{
    static const char *const names[] = {"codex", "claude", "opencode"};
    static const char *const lines[] = {"{\"type\":\"turn.completed\"}", "{\"type\":\"result\",\"result\":7}",
        "{\"type\":\"step_finish\",\"part\":{\"reason\":\"stop\"}}"};
    static const char *const odd[] = {"", "{", "[]", "null", "{}", "{\"type\":7}", "{\"type\":null}",
        "{\"type\":\"new.thing\",\"item\":3}", "{\"type\":\"item.completed\",\"item\":[1]}",
        "{\"type\":\"item.completed\"}", "{\"type\":\"assistant\",\"message\":{\"content\":\"x\"}}",
        "{\"type\":\"text\"}", "{\"type\":\"thread.started\",\"thread_id\":\"--last\"}",
        "{\"type\":\"thread.started\",\"thread_id\":7}", "{\"type\":\"system\",\"session_id\":\"a b\"}",
        "{\"type\":\"x\",\"sessionID\":\"../../etc\"}", "\xff\xfe{}", NULL};
    for (size_t i = 0; i < 3; i++) {
        struct engine_story s;
        tell(names[i], odd, &s);
        CU_ASSERT(!s.ended && !s.failed && !s.thread_id[0] && s.final_text.len == 0);
        for (size_t n = 0; n < strlen(lines[i]); n++)
            engine_find(names[i])->line(&s, lines[i], n);
        CU_ASSERT(!s.ended);
        engine_find(names[i])->line(&s, lines[i], strlen(lines[i]));
        CU_ASSERT(s.ended);
        engine_story_done(&s);
    }
}

static void final_text_fits_into_an_event_line(void)
{
    struct engine_story s;
    char *text = malloc(LIMIT_LINE);
    memset(text, 1, LIMIT_LINE - 1);
    text[LIMIT_LINE - 1] = 0;
    engine_story_init(&s);
    engine_tell_text(&s, text);
    CU_ASSERT(s.final_text.len > 1000 && s.final_text.len * 6 <= LIMIT_LINE / 2);
    memset(text, 'x', LIMIT_LINE - 1);
    engine_tell_text(&s, text);
    ASSERT_INT(s.final_text.len, ENGINE_TEXT_MAX);
    memcpy(text + ENGINE_TEXT_MAX - 1, "\xc3\xa4", 2); /* the limit lies within a character */
    engine_tell_text(&s, text);
    ASSERT_INT(s.final_text.len, ENGINE_TEXT_MAX - 1);
    engine_story_done(&s);
    free(text);
}

/* Prepare as for a run; the home is root/home, another user's. */
static void prepare(const char *name, struct run_request *req, struct engine_start *ret, struct buf *config)
{
    static char prompt[] = "do it";
    char home[80], path[200];
    struct engine_info info = {.available = true, .path = "/opt/x/cli"};
    snprintf(home, sizeof(home), "%s/home", root);
    if (mkdir(home, 0700) == 0)
        ASSERT_INT(chown(home, 31999, 31999), 0);
    req->prompt = prompt;
    struct engine_context c = {.req = req,
        .info = &info,
        .home = home,
        .home_fd = open(home, O_RDONLY | O_DIRECTORY | O_CLOEXEC),
        .uid = 31999,
        .gid = 31999,
        .repo = "/workspace/repo",
        .port = 8089,
        .bearer = "SECRETBEARER",
        .shell = "/opt/arp/sh/bash"};
    *ret = (struct engine_start){0};
    ASSERT_INT(engine_find(name)->prepare(&c, ret, &err), 0);
    close(c.home_fd);
    buf_init(config, 1u << 20);
    const char *file = strcmp(name, "codex") == 0 ? "config.toml" : "opencode.json";
    snprintf(path, sizeof(path), "%s/%s", home, file);
    if (strcmp(name, "claude") != 0) {
        struct stat st;
        ASSERT_INT(lstat(path, &st), 0);
        CU_ASSERT(S_ISREG(st.st_mode) && st.st_uid == 31999 && (st.st_mode & 0777) == 0600);
        ASSERT_INT(file_read(path, config, &err), 0);
    }
}

static const char *joined(char *const *list)
{
    static struct buf b;
    buf_done(&b);
    buf_init(&b, 65536);
    for (; *list; list++)
        buf_printf(&b, "%s ", *list);
    return buf_str(&b);
}

static void codex_is_started_with_its_configuration(void)
{
    static char instructions[] = "say \"hi\"\nand\\stop", thread[] = THREAD;
    struct run_request req = {.instructions = instructions};
    struct engine_start s;
    struct buf config;
    prepare("codex", &req, &s, &config);
    ASSERT_STR(joined(s.argv), "/opt/x/cli exec --json --skip-git-repo-check -C /workspace/repo - ");
    ASSERT_CONTAINS(joined(s.vars), "CODEX_HOME=/tmp/");
    ASSERT_CONTAINS(joined(s.vars), "SECRETBEARER");
    ASSERT_STR(buf_str(&s.input), "do it");
    ASSERT_CONTAINS(buf_str(&config), "base_url = \"http://127.0.0.1:8089/v1\"\n");
    ASSERT_CONTAINS(buf_str(&config), "developer_instructions = \"say \\\"hi\\\"");
    CU_ASSERT(strstr(buf_str(&config), "SECRETBEARER") == NULL);
    engine_start_done(&s);
    buf_done(&config);
    req.thread_id = thread;
    prepare("codex", &req, &s, &config);
    ASSERT_STR(joined(s.argv), "/opt/x/cli exec resume --json --skip-git-repo-check " THREAD " - ");
    engine_start_done(&s);
    buf_done(&config);
}

static void claude_and_opencode_are_started(void)
{
    static char instructions[] = "be brief", model[] = "m", thread[] = "ses_1";
    struct run_request req = {.instructions = instructions, .model = model, .thread_id = thread};
    struct engine_start s;
    struct buf config;
    prepare("claude", &req, &s, &config);
    ASSERT_CONTAINS(joined(s.argv), "--output-format stream-json --verbose");
    ASSERT_CONTAINS(joined(s.argv), "--model m --resume ses_1 ");
    ASSERT_CONTAINS(joined(s.vars), "ANTHROPIC_BASE_URL=http://127.0.0.1:8089 ");
    ASSERT_STR(buf_str(&s.input), "be brief\n\ndo it");
    engine_start_done(&s);
    buf_done(&config);
    prepare("opencode", &req, &s, &config);
    ASSERT_STR(joined(s.argv), "/opt/x/cli run --format json -s ses_1 ");
    ASSERT_CONTAINS(buf_str(&config), "\"baseURL\":\"http://127.0.0.1:8089/v1\"");
    ASSERT_CONTAINS(buf_str(&config), "\"model\":\"arp/m\"");
    CU_ASSERT(strstr(buf_str(&config), "SECRETBEARER") == NULL);
    cJSON *json = cJSON_Parse(buf_str(&config));
    CU_ASSERT(json != NULL);
    cJSON_Delete(json);
    engine_start_done(&s);
    buf_done(&config);
}

/* What an earlier run left in the home: links to what is not its own are replaced, not followed. */
static void configuration_replaces_a_link(void)
{
    char home[80], link[120], target[120];
    struct run_request req = {0};
    struct engine_start s;
    struct buf config, kept;
    snprintf(home, sizeof(home), "%s/home", root);
    snprintf(link, sizeof(link), "%s/config.toml", home);
    snprintf(target, sizeof(target), "%s/target", root);
    int fd = open(target, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    ASSERT_INT(write(fd, "mine", 4), 4);
    close(fd);
    unlink(link);
    mkdir(home, 0700);
    ASSERT_INT(symlink(target, link), 0);
    prepare("codex", &req, &s, &config);
    buf_init(&kept, 64);
    ASSERT_INT(file_read(target, &kept, &err), 0);
    ASSERT_STR(buf_str(&kept), "mine");
    buf_done(&kept);
    buf_done(&config);
    engine_start_done(&s);
}

/* A workload that leaves a mess shall not have ended the engine for all later runs. */
static void configuration_replaces_a_folder_in_a_closed_home(void)
{
    char home[80], path[120];
    struct run_request req = {0};
    struct engine_start s;
    struct buf config;
    snprintf(home, sizeof(home), "%s/home", root);
    snprintf(path, sizeof(path), "%s/config.toml", home);
    mkdir(home, 0700);
    CU_ASSERT(chown(home, 31999, 31999) == 0);
    unlink(path);
    ASSERT_INT(mkdir(path, 0700), 0);
    snprintf(path, sizeof(path), "%s/config.toml/x", home);
    ASSERT_INT(mkdir(path, 0700), 0);
    snprintf(path, sizeof(path), "%s/.arp-new", home);
    ASSERT_INT(mkdir(path, 0700), 0);
    ASSERT_INT(chmod(home, 0), 0);
    prepare("codex", &req, &s, &config);
    ASSERT_CONTAINS(buf_str(&config), "model_provider");
    buf_done(&config);
    engine_start_done(&s);
}

static void engine_is_chosen_by_name_or_by_what_there_is(void)
{
    struct exehash *cache = exehash_new();
    struct engine_info infos[ENGINES];
    const struct engine_info *info;
    engine_probe(cache, NULL, NULL, infos);
    CU_ASSERT(infos[ENGINE_SHELL].available && infos[ENGINE_BUILTIN].available);
    infos[ENGINE_CODEX] = (struct engine_info){.name = "codex", .reason = "the image has no codex"};
    infos[ENGINE_CLAUDE] = (struct engine_info){.name = "claude", .available = true};
    infos[ENGINE_OPENCODE] = (struct engine_info){.name = "opencode", .available = true};
    struct run_request req = {.engine = "codex"};
    ASSERT_INT(engine_choose(infos, &req, &info, &err), ARP_E_UNSUPPORTED);
    ASSERT_CONTAINS(err.msg, "the image has no codex");
    req.engine = "auto";
    ASSERT_INT(engine_choose(infos, &req, &info, &err), 0);
    ASSERT_STR(info->name, "claude");
    req.has_dialect = true;
    req.dialect = MODEL_CHAT;
    ASSERT_INT(engine_choose(infos, &req, &info, &err), 0);
    ASSERT_STR(info->name, "opencode");
    req.dialect = MODEL_RESPONSES;
    ASSERT_INT(engine_choose(infos, &req, &info, &err), 0);
    ASSERT_STR(info->name, "builtin");
    req.engine = "builtin";
    ASSERT_INT(engine_choose(infos, &req, &info, &err), 0);
    exehash_free(cache);
}

TEST_SUITE_WITH(engine_test, set_up, tear_down, TEST(codex_lines_tell_thread_text_and_end),
    TEST(codex_failure_has_its_words), TEST(claude_lines_tell_thread_text_and_end),
    TEST(opencode_lines_tell_thread_text_and_end), TEST(torn_and_unknown_lines_are_passed_over),
    TEST(final_text_fits_into_an_event_line), TEST(codex_is_started_with_its_configuration),
    TEST(claude_and_opencode_are_started), TEST(configuration_replaces_a_link),
    TEST(configuration_replaces_a_folder_in_a_closed_home),
    TEST(engine_is_chosen_by_name_or_by_what_there_is))
