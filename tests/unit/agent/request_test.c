/*
 * Tests of agent/request.c: the body of POST /run is hostile until every rule was applied.
 */
#include "agent/request.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shared/event.h"
#include "shared/hash.h"
#include "tests/support/suite.h"

#define ID "6f1d2c3e-8a4b-4c5d-9e6f-0a1b2c3d4e5f"

/* RunStarted as the orchestrator writes it, as a JSON string. */
static void first_line(struct buf *out)
{
    struct buf line;
    struct json j;
    struct chain c;
    buf_init(&line, 4096);
    chain_init(&c, ID, "events.jsonl");
    event_open(&j, &line, EVENT_RUN_STARTED, ID);
    json_kstr(&j, "userId", ID);
    json_kstr(&j, "projectId", ID);
    json_kstr(&j, "workspaceId", ID);
    json_kstr(&j, "prompt", "");
    event_close(&j, 0, &c);
    json_init(&j, out);
    json_str(&j, buf_str(&line));
    buf_done(&line);
}

/* A whole body of an engine; members is put before the closing brace. */
static int parse_engine(
    const char *engine, const char *members, struct run_request **ret, struct arp_err *err)
{
    struct buf b, event;
    buf_init(&b, 1 << 22);
    buf_init(&event, 8192);
    first_line(&event);
    buf_printf(&b,
        "{\"v\":1,\"runId\":\"" ID "\",\"userId\":\"" ID "\",\"projectId\":\"" ID "\",\"workspaceId\":\"" ID
        "\",\"engine\":\"%s\",\"timeoutMs\":1000,\"events\":[%s]",
        engine, buf_str(&event));
    buf_append_str(&b, members);
    buf_append_char(&b, '}');
    *err = (struct arp_err){0};
    int rc = request_parse(buf_str(&b), b.len, ret, err);
    buf_done(&b);
    buf_done(&event);
    return rc;
}

/* The same for a shell run's commands and what else it has. */
static int parse(const char *commands, const char *extra, struct run_request **ret, struct arp_err *err)
{
    struct buf members;
    buf_init(&members, 1 << 21);
    buf_append_str(&members, ",\"commands\":");
    buf_append_str(&members, commands);
    buf_append_str(&members, extra);
    int rc = parse_engine("shell", buf_str(&members), ret, err);
    buf_done(&members);
    return rc;
}

static void request_takes_argv_and_fills_defaults(void)
{
    struct run_request *r;
    struct arp_err err;
    ASSERT_INT(parse("[{\"argv\":[\"echo\",\"a b\",\"it's\"]}]", "", &r, &err), 0);
    ASSERT_INT(r->command_count, 1);
    ASSERT_STR(r->commands[0].text, "echo 'a b' 'it'\\''s'");
    ASSERT_STR(r->commands[0].cwd, ".");
    ASSERT_INT(r->commands[0].timeout_ms, 1000);
    ASSERT_INT(r->profile, SECCOMP_DEFAULT);
    ASSERT_INT(r->chain.next_seq, 1);
    ASSERT_TRUE(r->prefix.data[r->prefix.len - 1] == '\n');
    request_free(r);
}

static void request_turns_a_shell_text_into_sh_c(void)
{
    struct run_request *r;
    struct arp_err err;
    ASSERT_INT(parse("[{\"argv\":[\"echo $X\"],\"shell\":true}]", "", &r, &err), 0);
    ASSERT_INT(r->commands[0].argc, 3);
    ASSERT_STR(r->commands[0].argv[0], "/bin/sh");
    ASSERT_STR(r->commands[0].argv[2], "echo $X");
    ASSERT_STR(r->commands[0].text, "echo $X");
    request_free(r);
    ASSERT_INT(parse("[{\"argv\":[\"sh\",\"-c\",\"true\"],\"shell\":true}]", "", &r, &err), 0);
    ASSERT_STR(r->commands[0].text, "true");
    request_free(r);
    ASSERT_INT(parse("[{\"argv\":[\"rm\",\"x\"],\"shell\":true}]", "", &r, &err), ARP_E_FIELD);
}

static void request_names_the_bad_field(void)
{
    static const struct {
        const char *commands, *extra;
        int code;
        const char *field;
    } bad[] = {
        {"[]", ",\"extra\":1", ARP_E_UNKNOWN_FIELD, "extra"},
        {"[{\"argv\":[]}]", "", ARP_E_FIELD, "argv"},
        {"[{\"argv\":[\"\"]}]", "", ARP_E_FIELD, "argv"},
        {"[{\"argv\":[1]}]", "", ARP_E_FIELD, "argv"},
        {"[{\"argv\":[\"a\"],\"cwd\":\"../x\"}]", "", ARP_E_FIELD, "cwd"},
        {"[{\"argv\":[\"a\"],\"cwd\":\"/etc\"}]", "", ARP_E_FIELD, "cwd"},
        {"[{\"argv\":[\"a\"],\"cwd\":\"a//b\"}]", "", ARP_E_FIELD, "cwd"},
        {"[{\"argv\":[\"a\"],\"timeoutMs\":0}]", "", ARP_E_FIELD, "timeoutMs"},
        {"[]", ",\"sandboxProfile\":\"none\"", ARP_E_FIELD, "sandboxProfile"},
        {"[]", ",\"artifacts\":[\"*\"]", ARP_E_FIELD, "artifacts"},
        {"[]", ",\"artifacts\":[\"../**\"]", ARP_E_FIELD, "artifacts"},
        {"7", "", ARP_E_FIELD, "commands"},
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct run_request *r;
        struct arp_err err;
        ASSERT_INT(parse(bad[i].commands, bad[i].extra, &r, &err), bad[i].code);
        ASSERT_CONTAINS(err.detail, bad[i].field);
    }
}

static void request_takes_a_profile_by_name_or_whole(void)
{
    struct run_request *r;
    struct arp_err err;
    char sha256[SHA256_HEX_LEN + 1];
    ASSERT_INT(parse("[]", ",\"sandboxProfile\":\"strict\"", &r, &err), 0);
    ASSERT_INT(r->profile, SECCOMP_STRICT);
    ASSERT_TRUE(r->profile_json == NULL && r->profile_sha256[0] == 0);
    request_free(r);
    ASSERT_INT(parse("[]",
                   ",\"sandboxProfile\":{\"syscalls\" : [{\"name\":\"mkdir\",\"action\":\"SCMP_ACT_ERRNO\"}],"
                   "\"defaultAction\":\"SCMP_ACT_ALLOW\"}",
                   &r, &err),
        0);
    ASSERT_INT(r->profile, SECCOMP_DEFAULT);
    ASSERT_CONTAINS(r->profile_json,
        "\"syscalls\":[{\"names\":[\"mkdir\"],\"action\":\"SCMP_ACT_ERRNO\",\"errnoRet\":1,\"args\":[]}]}");
    sha256_hex_of(r->profile_json, strlen(r->profile_json), sha256);
    ASSERT_STR(r->profile_sha256, sha256);
    request_free(r);
    ASSERT_INT(parse("[]", ",\"sandboxProfile\":[1]", &r, &err), ARP_E_FIELD);
    ASSERT_CONTAINS(err.detail, "sandboxProfile");
    ASSERT_INT(
        parse("[]", ",\"sandboxProfile\":{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"flags\":[]}", &r, &err),
        ARP_E_UNKNOWN_FIELD);
    ASSERT_CONTAINS(err.detail, "sandboxProfile.flags");
}

static void request_refuses_what_can_not_be_recorded(void)
{
    struct run_request *r;
    struct arp_err err;
    struct buf b;
    buf_init(&b, 1 << 21);
    buf_append_str(&b, "[{\"argv\":[\"");
    for (int i = 0; i < 90000; i++)
        buf_append_str(&b, "\\u0001");
    buf_append_str(&b, "\"]}]");
    ASSERT_INT(parse(buf_str(&b), "", &r, &err), ARP_E_FIELD);
    ASSERT_CONTAINS(err.detail, "argv");
    buf_done(&b);
}

static void request_takes_a_shell_text_up_to_the_limit(void)
{
    struct run_request *r;
    struct arp_err err;
    for (size_t over = 0; over < 2; over++) {
        struct buf b;
        buf_init(&b, 1 << 21);
        buf_append_str(&b, "[{\"shell\":true,\"argv\":[\"");
        for (size_t i = 1; i < LIMIT_ARGV_BYTES + over; i++)
            buf_append_str(&b, "\\u0001");
        buf_append_str(&b, "\"]}]");
        ASSERT_INT(parse(buf_str(&b), "", &r, &err), over ? ARP_E_FIELD : 0);
        buf_done(&b);
        if (over)
            continue;
        ASSERT_INT(strlen(r->commands[0].text), LIMIT_ARGV_BYTES - 1);
        request_free(r);
    }
}

static void request_wants_a_chain_that_begins_with_run_started(void)
{
    struct run_request *r;
    struct arp_err err = {0};
    static const char *const events[] = {"[]", "[\"{}\"]", "[5]", "[\"{\\\"ts\\\":1}\"]"};
    for (size_t i = 0; i < 4; i++) {
        char body[1024];
        snprintf(body, sizeof(body),
            "{\"v\":1,\"runId\":\"" ID "\",\"userId\":\"" ID "\",\"projectId\":\"" ID
            "\",\"workspaceId\":\"" ID
            "\",\"engine\":\"shell\",\"timeoutMs\":1000,\"commands\":[],\"events\":%s}",
            events[i]);
        ASSERT_INT(request_parse(body, strlen(body), &r, &err), ARP_E_FIELD);
        ASSERT_CONTAINS(err.detail, "events");
    }
}

static void request_takes_a_prompt_for_an_engine(void)
{
    struct run_request *r;
    struct arp_err err;
    ASSERT_INT(
        parse_engine("codex",
            ",\"prompt\":\"do it\",\"model\":\"vendor/m-5.5:x\",\"dialect\":\"chat\",\"instructions\":\"be "
            "brief\",\"threadId\":\"01a200ad-eed8-7f40-bb1f-e881d0e5cb60\",\"limits\":{\"maxSteps\":7,"
            "\"maxTokens\":90000}",
            &r, &err),
        0);
    ASSERT_STR(r->engine, "codex");
    ASSERT_STR(r->prompt, "do it");
    ASSERT_STR(r->model, "vendor/m-5.5:x");
    ASSERT_TRUE(r->has_dialect && r->dialect == MODEL_CHAT);
    ASSERT_STR(r->instructions, "be brief");
    ASSERT_STR(r->thread_id, "01a200ad-eed8-7f40-bb1f-e881d0e5cb60");
    ASSERT_INT(r->max_steps, 7);
    ASSERT_INT(r->max_tokens, 90000);
    ASSERT_INT(r->command_count, 0);
    request_free(r);
    ASSERT_INT(
        parse_engine("auto",
            ",\"prompt\":\"p\",\"model\":null,\"dialect\":null,\"instructions\":null,\"threadId\":null,"
            "\"limits\":null,\"commands\":null",
            &r, &err),
        0);
    ASSERT_TRUE(!r->model && !r->has_dialect && !r->instructions && !r->thread_id);
    ASSERT_INT(r->max_steps, 0);
    request_free(r);
}

static void request_refuses_what_an_engine_can_not_work_from(void)
{
    static const struct {
        const char *engine, *members;
        const char *field;
    } bad[] = {
        {"shell", "", "commands"},
        {"gemini", ",\"prompt\":\"p\"", "engine"},
        {"codex", "", "prompt"},
        {"codex", ",\"prompt\":\"\"", "prompt"},
        {"codex", ",\"prompt\":\"p\",\"commands\":[]", "commands"},
        {"codex", ",\"prompt\":\"p\",\"model\":\"-c\"", "model"},
        {"codex", ",\"prompt\":\"p\",\"model\":\"a b\"", "model"},
        {"codex", ",\"prompt\":\"p\",\"model\":\"a\\\"b\"", "model"},
        {"codex", ",\"prompt\":\"p\",\"threadId\":\"--last\"", "threadId"},
        {"codex", ",\"prompt\":\"p\",\"threadId\":\"../x\"", "threadId"},
        {"codex", ",\"prompt\":\"p\",\"dialect\":\"gemini\"", "dialect"},
        {"codex", ",\"prompt\":\"p\",\"dialect\":\"smoke\"", "dialect"},
        {"codex", ",\"prompt\":\"p\",\"limits\":{\"maxSteps\":-1}", "limits.maxSteps"},
        {"codex", ",\"prompt\":\"p\",\"limits\":{\"maxTokens\":1e15}", "limits.maxTokens"},
        {"codex", ",\"prompt\":\"p\",\"limits\":{\"x\":1}", "limits.x"},
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct run_request *r;
        struct arp_err err;
        int rc = parse_engine(bad[i].engine, bad[i].members, &r, &err);
        ASSERT_TRUE(rc == ARP_E_FIELD || rc == ARP_E_UNKNOWN_FIELD);
        ASSERT_CONTAINS(err.detail, bad[i].field);
    }
}

TEST_SUITE(request_test, TEST(request_takes_argv_and_fills_defaults),
    TEST(request_turns_a_shell_text_into_sh_c), TEST(request_names_the_bad_field),
    TEST(request_takes_a_profile_by_name_or_whole), TEST(request_refuses_what_can_not_be_recorded),
    TEST(request_takes_a_shell_text_up_to_the_limit),
    TEST(request_wants_a_chain_that_begins_with_run_started), TEST(request_takes_a_prompt_for_an_engine),
    TEST(request_refuses_what_an_engine_can_not_work_from))
