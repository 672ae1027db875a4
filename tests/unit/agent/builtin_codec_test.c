/*
 * Tests agent/builtin_codec.c.
 */
#include "agent/builtin_codec.h"

#include <stdlib.h>
#include <string.h>

#include "shared/hash.h"
#include "tests/support/suite.h"

static void add(
    struct builtin_talk *t, enum builtin_item_kind kind, const char *id, const char *name, const char *text)
{
    ASSERT_INT(builtin_talk_add(t, kind, id, name, text, strlen(text), NULL), 0);
}

static void fill(struct builtin_talk *t)
{
    add(t, BUILTIN_USER, NULL, NULL, "Do it.");
    add(t, BUILTIN_ASSISTANT, NULL, NULL, "I look.");
    add(t, BUILTIN_CALL, "a", "shell", "{\"command\":\"ls\"}");
    add(t, BUILTIN_CALL, "b", "read_file", "{}");
    ASSERT_INT(builtin_talk_add(t, BUILTIN_RESULT, "a", NULL, "x\0\xff", 3, NULL), 0);
    add(t, BUILTIN_RESULT, "b", NULL, "y");
    add(t, BUILTIN_CALL, "c", "shell", "{}");
    add(t, BUILTIN_RESULT, "c", NULL, "z");
    add(t, BUILTIN_ASSISTANT, NULL, NULL, "Done.");
}

static void is_written(enum model_dialect d, const char *model, const char *want)
{
    struct builtin_talk t = {0};
    cleanup_buf struct buf b;
    cleanup_cjson cJSON *tools = NULL;
    static const char schema[] =
        "[{\"name\":\"n\",\"description\":\"d\",\"parameters\":{\"type\":\"object\"}}]";
    buf_init(&b, 10000);
    ASSERT_INT(json_parse(schema, strlen(schema), &tools, NULL), 0);
    fill(&t);
    struct builtin_request r = {.dialect = d, .model = model, .system = "You.", .tools = tools, .talk = &t};
    ASSERT_INT(builtin_request_write(&r, &b, NULL), 0);
    ASSERT_STR(buf_str(&b), want);
    builtin_talk_done(&t);
}

static void talk_is_written_for_responses(void)
{
    is_written(MODEL_RESPONSES, "m",
        "{\"model\":\"m\",\"instructions\":\"You.\",\"tools\":[{\"type\":\"function\",\"name\":\"n\","
        "\"description\":\"d\",\"parameters\":{\"type\":\"object\"},"
        "\"strict\":false}],\"input\":[{\"type\":\"message\",\"role\":\"user\",\"content\":[{\"type\":"
        "\"input_text\",\"text\":\"Do it.\"}]},"
        "{\"type\":\"message\",\"role\":\"assistant\",\"content\":[{\"type\":\"output_text\",\"text\":\"I "
        "look.\"}]},"
        "{\"type\":\"function_call\",\"call_id\":\"a\",\"name\":\"shell\",\"arguments\":\"{\\\"command\\\":"
        "\\\"ls\\\"}\"},"
        "{\"type\":\"function_call\",\"call_id\":\"b\",\"name\":\"read_file\",\"arguments\":\"{}\"},"
        "{\"type\":\"function_call_output\",\"call_id\":\"a\",\"output\":\"x\\u0000\xef\xbf\xbd\"},"
        "{\"type\":\"function_call_output\",\"call_id\":\"b\",\"output\":\"y\"},"
        "{\"type\":\"function_call\",\"call_id\":\"c\",\"name\":\"shell\",\"arguments\":\"{}\"},"
        "{\"type\":\"function_call_output\",\"call_id\":\"c\",\"output\":\"z\"},"
        "{\"type\":\"message\",\"role\":\"assistant\",\"content\":[{\"type\":\"output_text\",\"text\":\"Done."
        "\"}]}],\"store\":false,\"stream\":true}");
    ASSERT_STR(builtin_request_path(MODEL_RESPONSES), "/v1/responses");
}

static void talk_is_written_for_chat(void)
{
    is_written(MODEL_CHAT, NULL,
        "{\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"n\",\"description\":\"d\","
        "\"parameters\":{\"type\":\"object\"},\"strict\":false}}],"
        "\"messages\":[{\"role\":\"system\",\"content\":\"You.\"},{\"role\":\"user\",\"content\":\"Do it.\"},"
        "{\"role\":\"assistant\",\"content\":\"I "
        "look.\",\"tool_calls\":[{\"id\":\"a\",\"type\":\"function\",\"function\":{\"name\":\"shell\","
        "\"arguments\":"
        "\"{\\\"command\\\":\\\"ls\\\"}\"}},{\"id\":\"b\",\"type\":\"function\",\"function\":{\"name\":"
        "\"read_file\",\"arguments\":\"{}\"}}]},"
        "{\"role\":\"tool\",\"tool_call_id\":\"a\",\"content\":\"x\\u0000\xef\xbf\xbd\"},{\"role\":\"tool\","
        "\"tool_call_id\":\"b\",\"content\":\"y\"},"
        "{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":\"c\",\"type\":\"function\","
        "\"function\":{\"name\":\"shell\",\"arguments\":\"{}\"}}]},"
        "{\"role\":\"tool\",\"tool_call_id\":\"c\",\"content\":\"z\"},{\"role\":\"assistant\",\"content\":"
        "\"Done.\"}],\"stream\":true,\"stream_options\":{"
        "\"include_usage\":true}}");
    ASSERT_STR(builtin_request_path(MODEL_CHAT), "/v1/chat/completions");
}

static void talk_is_kept_and_read_back(void)
{
    struct builtin_talk t = {0}, back = {0};
    cleanup_buf struct buf b, again;
    buf_init(&b, 10000);
    buf_init(&again, 10000);
    fill(&t);
    t.items[4].elided = true;
    ASSERT_INT(builtin_talk_save(&t, &b, NULL), 0);
    ASSERT_INT(builtin_talk_load(&back, b.data, b.len, NULL), 0);
    ASSERT_INT(back.count, t.count);
    ASSERT_TRUE(back.items[4].elided && !back.items[5].elided);
    ASSERT_STR(back.items[4].text, "x\xef\xbf\xbd\xef\xbf\xbd");
    back.items[4].elided = true;
    ASSERT_INT(builtin_talk_save(&back, &again, NULL), 0);
    ASSERT_CONTAINS(again.data, "{\"kind\":\"call\",\"id\":\"c\",\"name\":\"shell\",\"text\":\"{}\"}\n{"
                                "\"kind\":\"result\",\"id\":\"c\",\"text\":\"z\"}\n");
    builtin_talk_done(&t);
    builtin_talk_done(&back);
}

static void kept_talk_is_read_as_hostile(void)
{
    static const struct {
        const char *lines;
        int code;
    } rows[] = {{"", 0}, {"{\"kind\":\"user\",\"text\":\"x\"}", 0}, {"\n", ARP_E_JSON}, {"{}", ARP_E_FIELD},
        {"[]", ARP_E_FIELD}, {"{\"kind\":\"user\",\"text\":7}", ARP_E_FIELD},
        {"{\"kind\":\"system\",\"text\":\"x\"}", ARP_E_FIELD},
        {"{\"kind\":\"user\",\"text\":\"x\",\"more\":1}", ARP_E_UNKNOWN_FIELD},
        {"{\"kind\":\"call\",\"text\":\"{}\"}", ARP_E_FIELD},
        {"{\"kind\":\"call\",\"id\":\"a\",\"text\":\"{}\"}", ARP_E_FIELD},
        {"{\"kind\":\"result\",\"text\":\"x\"}", ARP_E_FIELD},
        {"{\"kind\":\"user\",\"id\":\"a\",\"text\":\"x\"}", ARP_E_FIELD},
        {"{\"kind\":\"result\",\"id\":\"a\",\"name\":\"n\",\"text\":\"x\"}", ARP_E_FIELD},
        {"{\"kind\":\"user\",\"text\":\"x\"}\n{\"kind\"", ARP_E_JSON},
        {"{\"kind\":\"user\",\"text\":\"\xff\"}", ARP_E_UTF8}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct builtin_talk t = {0};
        struct arp_err err;
        ASSERT_INT(builtin_talk_load(&t, rows[i].lines, strlen(rows[i].lines), &err), rows[i].code);
        builtin_talk_done(&t);
    }
    struct builtin_talk t = {0};
    struct arp_err err;
    cleanup_buf struct buf many;
    buf_init(&many, 1 << 20);
    for (unsigned i = 0; i <= BUILTIN_TALK_ITEMS; i++)
        buf_append_str(&many, "{\"kind\":\"user\",\"text\":\"\"}\n");
    ASSERT_INT(builtin_talk_load(&t, many.data, many.len, &err), ARP_E_TOO_LARGE);
    builtin_talk_done(&t);
}

static void talk_has_a_maximum(void)
{
    struct builtin_talk t = {0};
    size_t half = BUILTIN_TALK_BYTES / 2 + 1;
    char *text = calloc(1, half);
    ASSERT_INT(builtin_talk_add(&t, BUILTIN_USER, NULL, NULL, text, half, NULL), 0);
    ASSERT_INT(builtin_talk_add(&t, BUILTIN_USER, NULL, NULL, text, half, NULL), ARP_E_TOO_LARGE);
    ASSERT_INT(t.count, 1);
    free(text);
    builtin_talk_done(&t);
}

static void elision_takes_the_oldest_outputs_and_spares_the_rest(void)
{
    struct builtin_talk t = {0};
    char big[3001], hex[SHA256_HEX_LEN + 1], want[200];
    size_t freed = 0;
    memset(big, 'x', 3000);
    big[3000] = '\0';
    sha256_hex_of(big, 3000, hex);
    add(&t, BUILTIN_USER, NULL, NULL, big);
    for (int i = 0; i < 8; i++) {
        add(&t, BUILTIN_CALL, "c", "shell", big);
        add(&t, BUILTIN_RESULT, "c", NULL, i == 0 ? "short" : big);
    }
    ASSERT_INT(t.count, 17);
    size_t before = t.bytes;
    /* The first that is long is enough. */
    ASSERT_INT(builtin_talk_elide(&t, false, 1, &freed, NULL), 0);
    snprintf(want, sizeof(want), "[elided 3000 bytes sha256 %s]", hex);
    ASSERT_STR(t.items[4].text, want);
    ASSERT_STR(t.items[2].text, "short");
    ASSERT_INT(t.items[6].len, 3000);
    ASSERT_INT(freed, 3000 - strlen(want));
    ASSERT_INT(t.bytes, before - freed);
    /* Hard: arguments too, but neither the prompt nor the last ten. */
    ASSERT_INT(builtin_talk_elide(&t, true, 0, &freed, NULL), 0);
    snprintf(want, sizeof(want), "{\"elided\":\"3000 bytes sha256 %s\"}", hex);
    ASSERT_STR(t.items[1].text, want);
    ASSERT_INT(t.items[0].len, 3000);
    ASSERT_TRUE(t.items[6].elided);
    for (size_t i = 7; i < 17; i++)
        ASSERT_TRUE(!t.items[i].elided);
    /* Once is all. */
    ASSERT_INT(builtin_talk_elide(&t, true, 0, &freed, NULL), 0);
    ASSERT_INT(freed, 0);
    builtin_talk_done(&t);
}

TEST_SUITE(builtin_codec_test, TEST(talk_is_written_for_responses), TEST(talk_is_written_for_chat),
    TEST(talk_is_kept_and_read_back), TEST(kept_talk_is_read_as_hostile), TEST(talk_has_a_maximum),
    TEST(elision_takes_the_oldest_outputs_and_spares_the_rest))
