/*
 * Tests shared/model_canonical.c.
 */
#include "shared/model_canonical.h"

#include <string.h>

#include "tests/support/suite.h"

static void what_differs_each_time_is_replaced(void)
{
    static const char *const rows[][2] = {
        {"thread 01a200ad-eed8-7f40-bb1f-e881d0e5cb60.", "thread <uuid>."},
        {"01A200AD-EED8-7F40-BB1F-E881D0E5CB60", "<uuid>"},
        {"01a200ad-eed8-7f40-bb1f-e881d0e5cb60a", "01a200ad-eed8-7f40-bb1f-e881d0e5cb60a"},
        {"x01a200ad-eed8-7f40-bb1f-e881d0e5cb60", "x01a200ad-eed8-7f40-bb1f-e881d0e5cb60"},
        {"<current_date>2026-11-22</current_date>", "<current_date><time></current_date>"},
        {"at 2026-11-22T13:42:53Z, 2026-11-22T13:42:53.123456+01:00 2026-11-22 13:42 -",
            "at <time>, <time> <time> -"},
        {"2026-11-22T13:42:53-0100x", "<time>x"},
        {"2026-11-22Tx", "<time>Tx"},
        {"2026-11-222", "2026-11-222"},
        {"12026-11-22", "12026-11-22"},
        {"13:42:53", "<time>"},
        {"13:42:53:1", "13:42:53:1"},
        {"13:42:531", "13:42:531"},
        {"Chunk ID: 0a1b2c\nWall time: 0.0512 seconds\nrest", "Chunk ID: <id>\nWall time: <n> seconds\nrest"},
        {"Process Group PGID: 4711", "Process Group PGID: <n>"},
        {"3 passed in 0.12s", "3 passed in <n>s"},
        {"in 0.12sec", "in 0.12sec"},
        {"begin 5s", "begin 5s"},
        {"Wall time: x seconds", "Wall time: x seconds"},
        {"Chunk ID: ", "Chunk ID: "},
        {"", ""},
        {"plain", "plain"},
        {"gr\xc3\xbcn 2026-11-22", "gr\xc3\xbcn <time>"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        cleanup_buf struct buf b;
        buf_init(&b, 1000);
        model_canonical_text(rows[i][0], &b);
        ASSERT_STR(buf_str(&b), rows[i][1]);
    }
}

static void digest_of(const char *text, bool shape, char ret[SHA256_HEX_LEN + 1])
{
    cleanup_cjson cJSON *doc = NULL;
    struct arp_err err;
    ASSERT_INT(json_parse(text, strlen(text), &doc, &err), 0);
    char other[SHA256_HEX_LEN + 1];
    ASSERT_INT(model_canonical_digests(doc, shape ? other : ret, shape ? ret : other, &err), 0);
}

static void is_digest_of_text(const char *doc, bool shape, const char *canonical)
{
    char got[SHA256_HEX_LEN + 1], want[SHA256_HEX_LEN + 1];
    digest_of(doc, shape, got);
    sha256_hex_of(canonical, strlen(canonical), want);
    ASSERT_STR(got, want);
}

static void document_is_written_as_the_format_says(void)
{
    is_digest_of_text(
        "{\"b\":1.50,\"a\":[true,null,\"13:42:53\"],\"model\":\"m-2026-11-22\",\"user\":\"u\",\"id\":\"x\"}",
        false, "{\"a\":[true,null,\"<time>\"],\"b\":1.5,\"model\":\"m-2026-11-22\"}");
    is_digest_of_text("{\"prompt_cache_key\":\"k\",\"client_metadata\":{},\"metadata\":{},\"safety_"
                      "identifier\":\"s\",\"x\":{\"user\":\"kept\"}}",
        false, "{\"x\":{\"user\":\"kept\"}}");
    is_digest_of_text("{\"input\":[{\"id\":\"rs_1\",\"encrypted_content\":\"zzz\",\"type\":\"reasoning\"},{"
                      "\"signature\":\"s\"}]}",
        false, "{\"input\":[{\"type\":\"reasoning\"},{}]}");
    /* A tool's own names are no names of ours. */
    is_digest_of_text("{\"tools\":[{\"parameters\":{\"properties\":{\"id\":{\"type\":\"string\"}},\"id\":"
                      "\"x\"}}],\"messages\":[{\"input\":{\"id\":\"7\"}}]}",
        false,
        "{\"messages\":[{\"input\":{\"id\":\"7\"}}],\"tools\":[{\"parameters\":{\"id\":\"x\",\"properties\":{"
        "\"id\":{\"type\":\"string\"}}}}]}");
}

static void shape_has_no_results_of_tools(void)
{
    is_digest_of_text("{\"input\":[{\"type\":\"function_call_output\",\"call_id\":\"c\",\"output\":\"x\"},{"
                      "\"type\":\"message\",\"output\":\"y\"}]}",
        true,
        "{\"input\":[{\"call_id\":\"c\",\"output\":null,\"type\":\"function_call_output\"},{\"output\":\"y\","
        "\"type\":\"message\"}]}");
    is_digest_of_text("{\"messages\":[{\"role\":\"tool\",\"tool_call_id\":\"c\",\"content\":\"x\"},{\"role\":"
                      "\"user\",\"content\":\"y\"}]}",
        true,
        "{\"messages\":[{\"content\":null,\"role\":\"tool\",\"tool_call_id\":\"c\"},{\"content\":\"y\","
        "\"role\":\"user\"}]}");
    is_digest_of_text("{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"tool_result\",\"tool_use_"
                      "id\":\"c\",\"content\":[{\"text\":\"x\"}],\"is_error\":true}]}]}",
        true,
        "{\"messages\":[{\"content\":[{\"content\":null,\"is_error\":null,\"tool_use_id\":\"c\",\"type\":"
        "\"tool_result\"}],\"role\":\"user\"}]}");
    is_digest_of_text("{\"contents\":[{\"parts\":[{\"functionResponse\":{\"id\":\"1\",\"name\":\"n\","
                      "\"response\":{\"output\":\"x\"}}}]}]}",
        true, "{\"contents\":[{\"parts\":[{\"functionResponse\":{\"name\":\"n\",\"response\":null}}]}]}");
    /* What a model writes as arguments is no result, whatever it looks like. */
    is_digest_of_text("{\"messages\":[{\"input\":{\"type\":\"tool_result\",\"content\":\"x\"}}]}", true,
        "{\"messages\":[{\"input\":{\"content\":\"x\",\"type\":\"tool_result\"}}]}");
}

/* Both digests are of one walk: what is left out of the shape must not be missing in the full form, nor anything behind it in either. */
static void full_form_has_the_results_of_tools(void)
{
    static const char doc[] =
        "{\"messages\":[{\"content\":[{\"type\":\"tool_result\",\"content\":[{\"type\":\"tool_result\","
        "\"content\":"
        "\"13:42:53\",\"id\":\"i\"}],\"is_error\":true,\"z\":1}],\"role\":\"user\"},{\"role\":\"tool\","
        "\"content\":\"\"}],\"z\":2}";
    is_digest_of_text(doc, false,
        "{\"messages\":[{\"content\":[{\"content\":[{\"content\":\"<time>\",\"type\":\"tool_result\"}],"
        "\"is_error\":true,\"type\":\"tool_result\",\"z\":1}],\"role\":\"user\"},{\"content\":\"\",\"role\":"
        "\"tool\"}],\"z\":2}");
    is_digest_of_text(doc, true,
        "{\"messages\":[{\"content\":[{\"content\":null,\"is_error\":null,\"type\":\"tool_result\",\"z\":1}],"
        "\"role\":\"user\"},{\"content\":null,\"role\":\"tool\"}],\"z\":2}");
}

static void digests_differ_where_requests_do(void)
{
    static const char *const docs[] = {"{\"input\":\"a\"}", "{\"input\":\"b\"}", "{\"input\":[\"a\"]}",
        "{\"input\":1}", "{\"inputs\":\"a\"}", "{\"input\":\"a\",\"x\":null}",
        "{\"input\":\"<time>\",\"model\":\"2026-11-22\"}", "{\"input\":\"<time>\",\"model\":\"2026-11-23\"}"};
    size_t n = sizeof(docs) / sizeof(docs[0]);
    for (size_t i = 0; i < n; i++) {
        for (size_t k = i + 1; k < n; k++) {
            char a[SHA256_HEX_LEN + 1], b[SHA256_HEX_LEN + 1];
            digest_of(docs[i], false, a);
            digest_of(docs[k], false, b);
            ASSERT_TRUE(strcmp(a, b) != 0);
        }
    }
}

/* Larger than what is hashed at once. */
static void large_document_is_hashed_whole(void)
{
    cleanup_buf struct buf doc, want;
    char got[SHA256_HEX_LEN + 1], hex[SHA256_HEX_LEN + 1];
    buf_init(&doc, 1 << 22);
    buf_init(&want, 1 << 22);
    buf_append_str(&doc, "{ \"input\": [0");
    buf_append_str(&want, "{\"input\":[0");
    for (int i = 0; i < 20000; i++) {
        buf_printf(&doc, ", {\"b\":%d, \"a\":\"13:42:%02d\"}", i, i % 60);
        buf_printf(&want, ",{\"a\":\"<time>\",\"b\":%d}", i);
    }
    buf_append_str(&doc, "]}");
    buf_append_str(&want, "]}");
    digest_of(doc.data, false, got);
    sha256_hex_of(want.data, want.len, hex);
    ASSERT_STR(got, hex);
}

TEST_SUITE(model_canonical_test, TEST(what_differs_each_time_is_replaced),
    TEST(document_is_written_as_the_format_says), TEST(shape_has_no_results_of_tools),
    TEST(full_form_has_the_results_of_tools), TEST(digests_differ_where_requests_do),
    TEST(large_document_is_hashed_whole))
