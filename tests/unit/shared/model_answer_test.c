/*
 * Tests shared/model_answer.c and the dialects' readers: samples as the providers send them, whole, byte by byte and split at every position.
 */
#include "shared/model_answer.h"

#include <stdlib.h>
#include <string.h>

#include "shared/buf.h"
#include "shared/sse.h"
#include "tests/support/suite.h"

static int log_event(void *ctx, const struct model_event *e, struct arp_err *err)
{
    struct buf *log = ctx;
    (void)err;
    if (e->kind == MODEL_TOOL_CALL)
        buf_printf(log, "C(%s,%s,", e->id, e->name);
    else
        buf_append_str(log, e->kind == MODEL_TEXT ? "T(" : "E(");
    buf_append(log, e->text, e->len);
    return buf_append_str(log, ") ");
}

enum pieces { WHOLE, SPLIT, BYTES };

/* Read the answer; everything it gave, as one text. */
static void read_answer(
    enum model_dialect d, const char *bytes, size_t len, enum pieces how, size_t split, struct buf *log)
{
    static const char *const finishes[] = {"unfinished", "stopped", "tools", "length", "failed"};
    struct model_answer *a = NULL;
    struct arp_err err;
    ASSERT_INT(model_answer_new(d, log_event, log, &a, &err), 0);
    int rc = 0;
    for (size_t at = 0; at < len && rc == 0;) {
        size_t n = how == BYTES ? 1 : how == SPLIT && at < split ? split : len - at;
        rc = model_answer_feed(a, bytes + at, n, &err);
        at += n;
    }
    enum model_finish finish;
    struct model_usage u;
    int end = model_answer_end(a, &finish, &u, &err);
    if (rc)
        ASSERT_INT(end, rc);
    if (end)
        buf_printf(log, "error %s", arp_err_public_code(end));
    else if (u.known)
        buf_printf(log, "%s %d/%d/%d/%d", finishes[finish], (int)u.input, (int)u.cached_input, (int)u.output,
            (int)u.reasoning);
    else
        buf_printf(log, "%s -", finishes[finish]);
    model_answer_free(a);
}

static void gives(enum model_dialect d, const char *text, const char *want)
{
    size_t len = strlen(text);
    cleanup_buf struct buf log;
    buf_init(&log, 1 << 20);
    read_answer(d, text, len, WHOLE, 0, &log);
    ASSERT_STR(buf_str(&log), want);
    buf_reset(&log);
    read_answer(d, text, len, BYTES, 0, &log);
    ASSERT_STR(buf_str(&log), want);
    for (size_t i = 1; i < len; i++) {
        buf_reset(&log);
        read_answer(d, text, len, SPLIT, i, &log);
        if (strcmp(buf_str(&log), want) != 0) {
            ASSERT_STR(buf_str(&log), want);
            return;
        }
    }
}

#define EV(name, data) "event: " name "\r\ndata: " data "\r\n\r\n"
#define DATA(data)     "data: " data "\n\n"

/* --- Responses --- */

#define R_CREATED                                                                                            \
    EV("response.created", "{\"type\":\"response.created\",\"response\":{\"id\":\"resp_1\",\"status\":\"in_" \
                           "progress\",\"output\":[]}}")
#define R_DELTA(t)                                                                                           \
    EV("response.output_text.delta",                                                                         \
        "{\"type\":\"response.output_text.delta\",\"item_id\":\"msg_1\",\"delta\":\"" t "\"}")
#define R_MESSAGE                                                                                            \
    EV("response.output_item.done",                                                                          \
        "{\"type\":\"response.output_item.done\",\"output_index\":0,\"item\":{\"type\":"                     \
        "\"message\",\"id\":\"msg_1\",\"role\":\"assistant\",\"content\":[{\"type\":"                        \
        "\"output_text\",\"text\":\"Gr\xc3\xbc\xc3\x9f"                                                      \
        "e\"}]}}")
#define R_CALL                                                                                               \
    EV("response.function_call_arguments.delta",                                                             \
        "{\"type\":\"response.function_call_arguments.delta\",\"delta\":\"{\"}")                             \
    EV("response.output_item.done",                                                                          \
        "{\"type\":\"response.output_item.done\",\"item\":{\"type\":\"function_call\",\"id\":"               \
        "\"fc_1\",\"call_id\":\"call_1\",\"name\":\"shell\",\"arguments\":\"{\\\"command\\\":"               \
        "\\\"ls\\\"}\",\"status\":\"completed\"}}")
#define R_USAGE                                                                                              \
    "\"usage\":{\"input_tokens\":120,\"input_tokens_details\":{\"cached_tokens\":100},\"output_tokens\":15," \
    "\"output_tokens_details\":{\"reasoning_tokens\":5},\"total_tokens\":135}"
#define R_COMPLETED                                                                                          \
    EV("response.completed",                                                                                 \
        "{\"type\":\"response.completed\",\"response\":{\"id\":\"resp_1\",\"status\":\"completed\"," R_USAGE \
        "}}")

static void responses_text_calls_usage(void)
{
    gives(MODEL_RESPONSES,
        ": hello\r\n\r\n" R_CREATED R_DELTA("Gr\xc3\xbc") R_DELTA("\\u00dfe") R_MESSAGE R_CALL R_COMPLETED,
        "T(Gr\xc3\xbc) T(\xc3\x9f"
        "e) C(call_1,shell,{\"command\":\"ls\"}) tools 120/100/15/5");
}

static void responses_without_deltas_show_the_whole_item(void)
{
    gives(MODEL_RESPONSES, R_CREATED R_MESSAGE R_COMPLETED,
        "T(Gr\xc3\xbc\xc3\x9f"
        "e) stopped 120/100/15/5");
    /* One whose items come with its end only. */
    gives(MODEL_RESPONSES,
        DATA("{\"type\":\"response.completed\",\"response\":{\"id\":\"r\",\"output\":[{\"type\":\"custom_"
             "tool_call\",\"call_id\":\"c\",\"name\":"
             "\"apply_patch\",\"input\":\"*** Begin Patch\"}]}}"),
        "C(c,apply_patch,*** Begin Patch) tools -");
}

static void responses_other_items(void)
{
    gives(MODEL_RESPONSES,
        DATA("{\"type\":\"response.output_item.done\",\"item\":{\"type\":\"local_shell_call\",\"call_id\":"
             "\"c\",\"action\":{\"type\":\"exec\","
             "\"command\":[\"ls\"]}}}") DATA("{\"type\":\"response.output_item.done\",\"item\":{\"type\":"
                                             "\"web_search_call\",\"id\":\"w\"}}")
            DATA("{\"type\":\"response.output_item.done\",\"item\":{\"type\":\"reasoning\",\"summary\":[]}}")
                DATA("{\"type\":\"response.future.event\",\"x\":[1]}") R_COMPLETED,
        "C(c,local_shell,{\"type\":\"exec\",\"command\":[\"ls\"]}) tools 120/100/15/5");
}

static void responses_ends(void)
{
    gives(MODEL_RESPONSES, R_CREATED R_DELTA("x"), "T(x) unfinished -");
    gives(MODEL_RESPONSES, R_CREATED R_CALL, "C(call_1,shell,{\"command\":\"ls\"}) unfinished -");
    gives(MODEL_RESPONSES,
        DATA("{\"type\":\"response.incomplete\",\"response\":{\"incomplete_details\":{\"reason\":\"max_"
             "output_tokens\"}," R_USAGE "}}"),
        "length 120/100/15/5");
    gives(MODEL_RESPONSES,
        DATA("{\"type\":\"response.incomplete\",\"response\":{\"incomplete_details\":{\"reason\":\"content_"
             "filter\"}}}"),
        "E(content_filter) failed -");
    gives(MODEL_RESPONSES,
        DATA("{\"type\":\"response.failed\",\"response\":{\"id\":\"r\",\"error\":{\"code\":\"server_error\","
             "\"message\":\"oh\"}}}"),
        "E(oh) failed -");
    gives(MODEL_RESPONSES, DATA("{\"type\":\"error\",\"code\":\"x\",\"message\":\"flat\"}"),
        "E(flat) failed -");
    gives(MODEL_RESPONSES, DATA("{\"type\":\"error\",\"error\":{\"message\":\"deep\"}}") R_COMPLETED,
        "E(deep) failed 120/100/15/5");
    gives(MODEL_RESPONSES, DATA("{\"error\":{\"message\":\"bare\"}}"), "E(bare) failed -");
}

static void responses_unstreamed(void)
{
    gives(MODEL_RESPONSES,
        "{\"id\":\"resp_2\",\"status\":\"completed\",\"error\":null,\"output\":[{\"type\":\"message\","
        "\"content\":[{\"type\":\"output_text\","
        "\"text\":\"a\"},{\"type\":\"refusal\",\"refusal\":\"b\"}]},{\"type\":\"function_call\",\"call_id\":"
        "\"c\",\"name\":\"n\",\"arguments\":\"{}\"}]," R_USAGE "}",
        "T(a) T(b) C(c,n,{}) tools 120/100/15/5");
    gives(MODEL_RESPONSES, "{\"error\":{\"message\":\"no such model\"}}", "E(no such model) failed -");
    gives(MODEL_RESPONSES, "{}", "unfinished -");
    gives(MODEL_RESPONSES, "", "unfinished -");
}

/* --- Chat --- */

#define C_DELTA(delta, reason)                                                                               \
    DATA("{\"id\":\"chatcmpl-1\",\"choices\":[{\"index\":0,\"delta\":" delta ",\"finish_reason\":" reason    \
         "}],\"usage\":null}")
#define C_USAGE                                                                                              \
    DATA("{\"id\":\"chatcmpl-1\",\"choices\":[],\"usage\":{\"prompt_tokens\":20,\"completion_tokens\":9,"    \
         "\"prompt_tokens_details\":{\"cached_tokens\":4},\"completion_tokens_details\":{\"reasoning_"       \
         "tokens\":2}}}")
#define C_DONE "data: [DONE]\n\n"

static void chat_text_and_usage(void)
{
    gives(MODEL_CHAT,
        C_DELTA("{\"role\":\"assistant\",\"content\":\"\"}", "null") C_DELTA("{\"content\":\"Hel\"}", "null")
            C_DELTA("{\"content\":\"lo\"}", "null") C_DELTA("{}", "\"stop\"") C_USAGE C_DONE,
        "T(Hel) T(lo) stopped 20/4/9/2");
}

static void chat_calls_are_assembled_by_index(void)
{
    gives(MODEL_CHAT,
        C_DELTA("{\"tool_calls\":[{\"index\":0,\"id\":\"a\",\"type\":\"function\",\"function\":{\"name\":"
                "\"shell\",\"arguments\":\"\"}}]}",
            "null") C_DELTA("{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"{\\\"com\"}}]}",
            "null") C_DELTA("{\"tool_calls\":[{\"index\":1,\"id\":\"b\",\"function\":{\"name\":\"read_file\","
                            "\"arguments\":\"{\"}}]}",
            "null") C_DELTA("{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"mand\\\":1}\"}},{"
                            "\"index\":1,\"function\":{\"arguments\":\"}\"}}]}",
            "null") C_DELTA("{}", "\"tool_calls\"") C_USAGE C_DONE,
        "C(a,shell,{\"command\":1}) C(b,read_file,{}) tools 20/4/9/2");
    /* Two calls that both claim index 0; and without any index. */
    gives(MODEL_CHAT,
        C_DELTA("{\"tool_calls\":[{\"index\":0,\"id\":\"a\",\"function\":{\"name\":\"x\",\"arguments\":\"{}"
                "\"}}]}",
            "null") C_DELTA("{\"tool_calls\":[{\"index\":0,\"id\":\"b\",\"function\":{\"name\":\"y\","
                            "\"arguments\":\"{}\"}}]}",
            "\"tool_calls\"") C_DONE,
        "C(a,x,{}) C(b,y,{}) tools -");
    gives(MODEL_CHAT,
        C_DELTA("{\"tool_calls\":[{\"id\":\"a\",\"function\":{\"name\":\"x\",\"arguments\":\"{\"}}]}", "null")
            C_DELTA("{\"tool_calls\":[{\"function\":{\"arguments\":\"}\"}}]}", "null")
                C_DELTA("{\"tool_calls\":[{\"id\":\"b\",\"function\":{\"name\":\"y\"}}]}", "\"tool_calls\""),
        "C(a,x,{}) C(b,y,{}) tools -");
    /* Both claim index 0 and come in pieces, the later ones without an id or with it each time. */
#define C_PIECE(id, arguments)                                                                               \
    C_DELTA("{\"tool_calls\":[{\"index\":0," id "\"function\":{\"arguments\":\"" arguments "\"}}]}", "null")
    gives(MODEL_CHAT,
        C_PIECE("\"id\":\"a\",", "") C_PIECE("", "{1}") C_PIECE("\"id\":\"b\",", "") C_PIECE("", "{2}")
            C_DELTA("{}", "\"tool_calls\""),
        "C(a,,{1}) C(b,,{2}) tools -");
    gives(MODEL_CHAT,
        C_PIECE("\"id\":\"a\",", "") C_PIECE("\"id\":\"b\",", "{") C_PIECE("\"id\":\"b\",", "}")
            C_DELTA("{}", "\"tool_calls\""),
        "C(a,,{}) C(b,,{}) tools -");
}

static void chat_ends(void)
{
    gives(MODEL_CHAT, C_DELTA("{\"content\":\"x\"}", "null"), "T(x) unfinished -");
    /* What was cut was not asked for. */
    gives(MODEL_CHAT,
        C_DELTA(
            "{\"tool_calls\":[{\"index\":0,\"id\":\"a\",\"function\":{\"name\":\"x\",\"arguments\":\"{\"}}]}",
            "null"),
        "unfinished -");
    gives(MODEL_CHAT, C_DELTA("{\"content\":\"x\"}", "\"length\"") C_DONE, "T(x) length -");
    gives(MODEL_CHAT, C_DELTA("{\"content\":\"x\"}", "null") C_DONE, "T(x) stopped -");
    gives(MODEL_CHAT, C_DELTA("{}", "\"content_filter\"") C_DONE, "E(content_filter) failed -");
    gives(MODEL_CHAT, DATA("{\"error\":{\"message\":\"overloaded\",\"code\":502}}") C_DONE,
        "E(overloaded) failed -");
    gives(MODEL_CHAT, DATA("{\"error\":\"plain\"}"), "E(plain) failed -");
    /* Others than the first choice are not looked at. */
    gives(MODEL_CHAT,
        DATA("{\"choices\":[{\"index\":1,\"delta\":{\"content\":\"x\"},\"finish_reason\":\"stop\"}]}"),
        "unfinished -");
}

static void chat_unstreamed(void)
{
    gives(MODEL_CHAT,
        "{\"id\":\"c\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"hi\","
        "\"tool_calls\":[{\"id\":\"a\",\"type\":"
        "\"function\",\"function\":{\"name\":\"x\",\"arguments\":\"{}\"}},{\"id\":\"b\",\"type\":"
        "\"function\",\"function\":{\"name\":\"y\",\"arguments\":"
        "\"{}\"}}]},\"finish_reason\":\"tool_calls\"}],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":"
        "2}}",
        "T(hi) C(a,x,{}) C(b,y,{}) tools 1/0/2/0");
}

/* --- Messages --- */

#define M_START                                                                                              \
    EV("message_start",                                                                                      \
        "{\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"role\":\"assistant\",\"usage\":{"       \
        "\"input_tokens\":10,\"cache_creation_input_tokens\":3,\"cache_read_input_tokens\":7,"               \
        "\"output_tokens\":1}}}")
#define M_TEXT                                                                                               \
    EV("content_block_start", "{\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":"   \
                              "\"text\",\"text\":\"\"}}")                                                    \
    EV("ping", "{\"type\":\"ping\"}")                                                                        \
    EV("content_block_delta", "{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_"    \
                              "delta\",\"text\":\"Hi\"}}")                                                   \
    EV("content_block_stop", "{\"type\":\"content_block_stop\",\"index\":0}")
#define M_CALL                                                                                               \
    EV("content_block_start",                                                                                \
        "{\"type\":\"content_block_start\",\"index\":1,\"content_block\":{\"type\":\"tool_use\",\"id\":"     \
        "\"toolu_1\",\"name\":\"Bash\",\"input\":{}}}")                                                      \
    EV("content_block_delta", "{\"type\":\"content_block_delta\",\"index\":1,\"delta\":{\"type\":\"input_"   \
                              "json_delta\",\"partial_json\":\"\"}}")                                        \
    EV("content_block_delta", "{\"type\":\"content_block_delta\",\"index\":1,\"delta\":{\"type\":\"input_"   \
                              "json_delta\",\"partial_json\":\"{\\\"a\"}}")                                  \
    EV("content_block_delta", "{\"type\":\"content_block_delta\",\"index\":1,\"delta\":{\"type\":\"input_"   \
                              "json_delta\",\"partial_json\":\"\\\":1}\"}}")
#define M_CALL_STOP EV("content_block_stop", "{\"type\":\"content_block_stop\",\"index\":1}")
#define M_DELTA(reason)                                                                                      \
    EV("message_delta", "{\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"" reason                   \
                        "\"},\"usage\":{\"output_tokens\":25}}")
#define M_STOP EV("message_stop", "{\"type\":\"message_stop\"}")

static void messages_text_calls_usage(void)
{
    gives(MODEL_MESSAGES, M_START M_TEXT M_CALL M_CALL_STOP M_DELTA("tool_use") M_STOP,
        "T(Hi) C(toolu_1,Bash,{\"a\":1}) tools 20/7/25/0");
    gives(MODEL_MESSAGES, M_START M_TEXT M_DELTA("end_turn") M_STOP, "T(Hi) stopped 20/7/25/0");
}

static void messages_reasoning_and_hosted_tools_are_passed_over(void)
{
    gives(MODEL_MESSAGES,
        M_START DATA("{\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"thinking\","
                     "\"thinking\":\"\"}}") DATA("{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{"
                                                 "\"type\":\"thinking_delta\",\"thinking\":\"hm\"}}")
            DATA("{\"type\":\"content_block_start\",\"index\":1,\"content_block\":{\"type\":\"server_tool_"
                 "use\",\"id\":\"s\",\"name\":\"web_search\"}}")
                DATA("{\"type\":\"content_block_delta\",\"index\":1,\"delta\":{\"type\":\"input_json_delta\","
                     "\"partial_json\":\"{}\"}}") DATA("{\"type\":\"content_block_stop\",\"index\":1}")
                    M_DELTA("end_turn") M_STOP,
        "stopped 20/7/25/0");
}

static void messages_ends(void)
{
    gives(MODEL_MESSAGES, M_START M_CALL, "unfinished 20/7/1/0");
    gives(MODEL_MESSAGES, M_START M_CALL M_CALL_STOP M_DELTA("tool_use"),
        "C(toolu_1,Bash,{\"a\":1}) unfinished 20/7/25/0");
    gives(MODEL_MESSAGES, M_START M_DELTA("max_tokens") M_STOP, "length 20/7/25/0");
    gives(MODEL_MESSAGES,
        M_START EV("error",
            "{\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}"),
        "E(Overloaded) failed 20/7/1/0");
    /* A block whose end did not come, in a message that ended. */
    gives(MODEL_MESSAGES, M_START M_CALL M_DELTA("tool_use") M_STOP,
        "C(toolu_1,Bash,{\"a\":1}) tools 20/7/25/0");
}

static void messages_unstreamed(void)
{
    gives(MODEL_MESSAGES,
        "{\"id\":\"m\",\"type\":\"message\",\"content\":[{\"type\":\"thinking\",\"thinking\":\"x\"},{"
        "\"type\":\"text\",\"text\":\"a\"},{\"type\":"
        "\"tool_use\",\"id\":\"t\",\"name\":\"Bash\",\"input\":{\"command\":\"ls\",\"n\":9007199254740991}}],"
        "\"stop_reason\":\"tool_"
        "use\",\"usage\":{\"input_tokens\":5,"
        "\"output_tokens\":6}}",
        "T(a) C(t,Bash,{\"command\":\"ls\",\"n\":9007199254740991}) tools 5/0/6/0");
    gives(MODEL_MESSAGES, "{\"type\":\"error\",\"error\":{\"message\":\"bad\"}}", "E(bad) failed -");
}

/* --- Gemini --- */

#define G_PART(part)                                                                                         \
    "{\"candidates\":[{\"content\":{\"parts\":[" part                                                        \
    "],\"role\":\"model\"},\"index\":0}],\"responseId\":\"g1\"}"
#define G_END(reason)                                                                                        \
    "{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"\"}]},\"finishReason\":\"" reason                 \
    "\"}],\"usageMetadata\":{"                                                                               \
    "\"promptTokenCount\":30,\"candidatesTokenCount\":8,\"cachedContentTokenCount\":12,"                     \
    "\"thoughtsTokenCount\":4}}"

static void gemini_text_calls_usage(void)
{
    gives(MODEL_GEMINI,
        DATA(G_PART("{\"text\":\"thinking\",\"thought\":true}")) DATA(G_PART("{\"text\":\"Hi\"}"))
            DATA(G_PART("{\"functionCall\":{\"name\":\"run_shell_command\",\"args\":{\"command\":\"ls\"}}},{"
                        "\"functionCall\":{\"id\":\"i\",\"name\":\"n\"}}")) DATA(G_END("STOP")),
        "T(Hi) C(run_shell_command,run_shell_command,{\"command\":\"ls\"}) C(i,n,{}) tools 30/12/12/4");
}

static void gemini_ends(void)
{
    gives(MODEL_GEMINI, DATA(G_PART("{\"text\":\"Hi\"}")), "T(Hi) unfinished -");
    gives(MODEL_GEMINI, DATA(G_END("MAX_TOKENS")), "length 30/12/12/4");
    gives(MODEL_GEMINI, DATA(G_END("SAFETY")), "E(SAFETY) failed 30/12/12/4");
    gives(MODEL_GEMINI, DATA("{\"promptFeedback\":{\"blockReason\":\"OTHER\"}}"), "E(OTHER) failed -");
    gives(MODEL_GEMINI, DATA("{\"error\":{\"code\":503,\"message\":\"busy\"}}"), "E(busy) failed -");
}

static void gemini_unstreamed(void)
{
    gives(MODEL_GEMINI, G_END("STOP"), "stopped 30/12/12/4");
    gives(MODEL_GEMINI, "[" G_PART("{\"text\":\"a\"}") ",\n" G_PART("{\"text\":\"b\"}") "," G_END("STOP") "]",
        "T(a) T(b) stopped 30/12/12/4");
}

/* Whatever a head says or does not say. */
static void first_byte_tells_documents_from_events(void)
{
    gives(MODEL_GEMINI, " \r\n\t" G_END("STOP"), "stopped 30/12/12/4");
    gives(MODEL_GEMINI, "\xef\xbb\xbf" G_END("STOP"), "stopped 30/12/12/4");
    gives(MODEL_GEMINI, "\xef\xbb\xbf\r\n\r\n" DATA(G_END("STOP")), "stopped 30/12/12/4");
    gives(MODEL_GEMINI, ": {\n" DATA(G_END("STOP")), "stopped 30/12/12/4");
    gives(MODEL_GEMINI, " \n", "unfinished -");
}

/* --- hostile --- */

static void what_is_no_json_fails_and_goes_on_failing(void)
{
    for (int d = 0; d < MODEL_DIALECTS; d++) {
        enum model_dialect dialect = (enum model_dialect)d;
        gives(dialect, DATA("{\"a\":") DATA("{}"), "error invalid_json");
        gives(dialect, DATA("\xff"), "error invalid_utf8");
        gives(dialect, "{<html>", "error invalid_json");
        gives(dialect, "<html>\n\n", "unfinished -");
        gives(dialect, "data:\n\n" DATA("[]") DATA("7") DATA("null") DATA("\"x\""), "unfinished -");
        gives(dialect, "[]", "unfinished -");
        gives(dialect, "7", "unfinished -");
    }
}

/* Members of every wrong kind: nothing is read into them. */
static void wrong_kinds_are_passed_over(void)
{
    static const char *const values[] = {
        "null", "7", "-1", "\"x\"", "[]", "{}", "[{}]", "[[7]]", "true", "1e300"};
    static const char *const shapes[] = {"{\"type\":\"response.completed\",\"response\":%s}",
        "{\"type\":\"response.output_item.done\",\"item\":%s}",
        "{\"type\":\"response.output_text.delta\",\"delta\":%s}", "{\"choices\":%s}",
        "{\"choices\":[{\"delta\":%s}]}", "{\"choices\":[{\"delta\":{\"tool_calls\":%s}}]}",
        "{\"choices\":[{\"delta\":{\"tool_calls\":[{\"function\":%s,\"index\":0}]}}]}",
        "{\"type\":\"content_block_start\",\"content_block\":%s,\"index\":0}",
        "{\"type\":\"content_block_delta\",\"delta\":%s,\"index\":0}",
        "{\"type\":\"message_start\",\"message\":%s}", "{\"type\":%s}", "{\"candidates\":%s}",
        "{\"candidates\":[{\"content\":{\"parts\":%s}}]}",
        "{\"candidates\":[{\"content\":{\"parts\":[{\"functionCall\":%s}]}}]}", "{\"usage\":%s}",
        "{\"usageMetadata\":%s}", "{\"id\":%s}"};
    for (int d = 0; d < MODEL_DIALECTS; d++) {
        for (size_t s = 0; s < sizeof(shapes) / sizeof(shapes[0]); s++) {
            for (size_t v = 0; v < sizeof(values) / sizeof(values[0]); v++) {
                char doc[300], event[320];
                const char *hole = strstr(shapes[s], "%s");
                snprintf(
                    doc, sizeof(doc), "%.*s%s%s", (int)(hole - shapes[s]), shapes[s], values[v], hole + 2);
                snprintf(event, sizeof(event), "data: %s\n\n", doc);
                cleanup_buf struct buf log;
                buf_init(&log, 1000);
                read_answer((enum model_dialect)d, event, strlen(event), WHOLE, 0, &log);
                ASSERT_TRUE(!strstr(buf_str(&log), "error "));
                read_answer((enum model_dialect)d, doc, strlen(doc), WHOLE, 0, &log);
                ASSERT_TRUE(!strstr(buf_str(&log), "error "));
            }
        }
    }
}

static void bounds_hold(void)
{
    struct model_answer *a = NULL;
    struct arp_err err;
    cleanup_buf struct buf log;
    static char blank[65536];
    memset(blank, ' ', sizeof(blank));
    buf_init(&log, 1 << 20);
    ASSERT_INT(model_answer_new(MODEL_CHAT, log_event, &log, &a, &err), 0);
    int rc = model_answer_feed(a, "{", 1, &err);
    for (int i = 0; i < 300 && rc == 0; i++)
        rc = model_answer_feed(a, blank, sizeof(blank), &err);
    ASSERT_INT(rc, ARP_E_TOO_LARGE);
    ASSERT_INT(model_answer_feed(a, "x", 1, &err), ARP_E_TOO_LARGE);
    model_answer_free(a);
    /* More calls than anyone asks for at once. */
    ASSERT_INT(model_answer_new(MODEL_CHAT, log_event, &log, &a, &err), 0);
    rc = 0;
    for (int i = 0; i < 300 && rc == 0; i++) {
        char event[200];
        snprintf(event, sizeof(event),
            "data: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":%d,\"id\":\"i\"}]}}]}\n\n", i);
        rc = model_answer_feed(a, event, strlen(event), &err);
    }
    ASSERT_INT(rc, ARP_E_TOO_LARGE);
    model_answer_free(a);
    model_answer_free(NULL);
}

static unsigned state = 1;

static unsigned next_random(void)
{
    state = state * 1103515245u + 12345u;
    return state >> 16;
}

/* Change, cut out or repeat some bytes. */
static size_t damage(char *bytes, size_t len)
{
    static const char spice[] = "{}[]\",:\\\n\r0-9eu\xff\x80 ";
    for (unsigned n = 1 + next_random() % 4; n > 0; n--) {
        size_t at = next_random() % len, some = next_random() % 40;
        switch (next_random() % 3) {
        case 0:
            bytes[at] = spice[next_random() % (sizeof(spice) - 1)];
            break;
        case 1:
            some = some < len - at ? some : len - at - 1;
            memmove(bytes + at, bytes + at + some, len - at - some);
            len -= some;
            break;
        default:
            some = some < at ? some : at;
            memmove(bytes + at - some, bytes + at, len - at < some ? len - at : some);
        }
    }
    return len;
}

static int take_none(void *ctx, const struct model_event *e, struct arp_err *err)
{
    (void)ctx;
    (void)e;
    (void)err;
    return 0;
}

/* 48 calls of a mebibyte each: none is too long, but who reads them holds them all. */
static int feed_large_calls(enum model_dialect d, const char *head, const char *before, const char *after)
{
    struct model_answer *a = NULL;
    struct arp_err err = {0};
    cleanup_buf struct buf event;
    char *arguments = malloc((1u << 20) + 1);
    memset(arguments, 'x', 1u << 20);
    arguments[1u << 20] = '\0';
    buf_init(&event, 2u << 20);
    ASSERT_INT(model_answer_new(d, take_none, NULL, &a, &err), 0);
    int rc = 0;
    for (int i = 0; i < 48 && rc == 0; i++) {
        buf_reset(&event);
        buf_printf(&event, "%s%d%s", head, i, before);
        buf_append_str(&event, arguments);
        buf_append_str(&event, after);
        rc = model_answer_feed(a, event.data, event.len, &err);
    }
    model_answer_free(a);
    free(arguments);
    return rc;
}

static void calls_are_bounded_together(void)
{
    static const char chat[] = "data: {\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":";
    static const char item[] = "data: {\"type\":\"response.output_item.done\",\"item\":{\"type\":"
                               "\"function_call\",\"name\":\"f\",\"call_id\":\"c";
    ASSERT_INT(feed_large_calls(MODEL_CHAT, chat, ",\"function\":{\"arguments\":\"", "\"}}]}}]}\n\n"),
        ARP_E_TOO_LARGE);
    ASSERT_INT(feed_large_calls(MODEL_CHAT, chat, ",\"id\":\"", "\"}]}}]}\n\n"), ARP_E_TOO_LARGE);
    ASSERT_INT(feed_large_calls(MODEL_RESPONSES, item, "\",\"arguments\":\"", "\"}}\n\n"), ARP_E_TOO_LARGE);
}

static void damaged_answers_do_no_harm(void)
{
    static const char *const samples[MODEL_DIALECTS] = {R_CREATED R_DELTA("x") R_MESSAGE R_CALL R_COMPLETED,
        C_DELTA("{\"content\":\"Hel\"}", "null") C_DELTA(
            "{\"tool_calls\":[{\"index\":0,\"id\":\"a\",\"function\":{\"name\":\"x\",\"arguments\":\"{\"}}]}",
            "null") C_DELTA("{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"}\"}}]}", "null")
            C_DELTA("{}", "\"tool_calls\"") C_USAGE C_DONE,
        M_START M_TEXT M_CALL M_CALL_STOP M_DELTA("tool_use") M_STOP,
        DATA(G_PART("{\"text\":\"Hi\"}"))
            DATA(G_PART("{\"functionCall\":{\"id\":\"i\",\"name\":\"n\",\"args\":{\"a\":[1]}}}"))
                DATA(G_END("STOP"))};
    for (int round = 0; round < 4000; round++) {
        int d = round % MODEL_DIALECTS;
        char *bytes = strdup(samples[d]);
        size_t len = damage(bytes, strlen(bytes));
        cleanup_buf struct buf log, again;
        buf_init(&log, 1 << 20);
        buf_init(&again, 1 << 20);
        read_answer((enum model_dialect)d, bytes, len, WHOLE, 0, &log);
        read_answer((enum model_dialect)d, bytes, len, BYTES, 0, &again);
        ASSERT_STR(buf_str(&log), buf_str(&again));
        free(bytes);
    }
}

static int refuse(void *ctx, const struct model_event *e, struct arp_err *err)
{
    (void)ctx, (void)e;
    return arp_fail(err, ARP_E_CONFLICT, 0, "enough");
}

static void listeners_refusal_is_sticky(void)
{
    struct model_answer *a = NULL;
    struct arp_err err;
    enum model_finish finish;
    struct model_usage u;
    ASSERT_INT(model_answer_new(MODEL_RESPONSES, refuse, NULL, &a, &err), 0);
    const char *text = R_DELTA("x");
    ASSERT_INT(model_answer_feed(a, text, strlen(text), &err), ARP_E_CONFLICT);
    err.msg[0] = '\0';
    ASSERT_INT(model_answer_end(a, &finish, &u, &err), ARP_E_CONFLICT);
    ASSERT_STR(err.msg, "enough");
    model_answer_free(a);
}

TEST_SUITE(model_answer_test, TEST(responses_text_calls_usage),
    TEST(responses_without_deltas_show_the_whole_item), TEST(responses_other_items), TEST(responses_ends),
    TEST(responses_unstreamed), TEST(chat_text_and_usage), TEST(chat_calls_are_assembled_by_index),
    TEST(chat_ends), TEST(chat_unstreamed), TEST(messages_text_calls_usage),
    TEST(messages_reasoning_and_hosted_tools_are_passed_over), TEST(messages_ends), TEST(messages_unstreamed),
    TEST(gemini_text_calls_usage), TEST(gemini_ends), TEST(gemini_unstreamed),
    TEST(first_byte_tells_documents_from_events), TEST(what_is_no_json_fails_and_goes_on_failing),
    TEST(wrong_kinds_are_passed_over), TEST(bounds_hold), TEST(calls_are_bounded_together),
    TEST(damaged_answers_do_no_harm), TEST(listeners_refusal_is_sticky))
