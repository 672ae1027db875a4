/*
 * Tests shared/json.c, shared/buf.c and shared/utf8.c.
 */
#include "shared/json.h"

#include <string.h>

#include "shared/limits.h"
#include "shared/utf8.h"
#include "tests/support/suite.h"

static void writer_escapes_to_one_clean_line(void)
{
    cleanup_buf struct buf b;
    struct json j;
    buf_init(&b, 1000);
    json_init(&j, &b);
    json_obj_open(&j);
    json_kstrn(&j, "s", "a\0\n\"\\\x01\x7f\xc3\xa9\xff\xed\xa0\x80", 13);
    json_kint(&j, "i", -9007199254740993);
    json_kuint(&j, "u", 18446744073709551615ull);
    json_key(&j, "a");
    json_arr_open(&j);
    json_bool(&j, true);
    json_null(&j);
    json_str(&j, NULL);
    json_arr_close(&j);
    json_kraw(&j, "r", "{\"x\":1}");
    json_kraw(&j, "e", "");
    json_obj_close(&j);
    ASSERT_STR(buf_str(&b), "{\"s\":"
                            "\"a\\u0000\\n\\\"\\\\\\u0001\\u007f\xc3\xa9\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"
                            "\xef\xbf\xbd\",\"i\":-9007199254740993,"
                            "\"u\":18446744073709551615,\"a\":[true,null,null],\"r\":{\"x\":1},\"e\":null}");
}

static void parsed_values_are_written_as_they_were(void)
{
    static const char *const rows[] = {"{\"b\":1,\"a\":[true,false,null,{}],\"c\":{\"x\":\"\\n\\\"\"}}",
        "0.1", "0.7", "1e+300", "-2.5", "9007199254740992", "-3", "1e-07", "3000000000", "9007199254740991",
        "9223372036854775808", "-9223372036854775808", "100000000000000000000", "1e+21", "[]", "\"\"",
        "123456.78901234567"};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        cleanup_buf struct buf b;
        cleanup_cjson cJSON *v = NULL;
        struct json j;
        buf_init(&b, 1000);
        json_init(&j, &b);
        ASSERT_INT(json_parse(rows[i], strlen(rows[i]), &v, NULL), 0);
        json_value(&j, v);
        ASSERT_STR(buf_str(&b), rows[i]);
    }
}

static void buffer_refuses_past_its_maximum_and_stays_failed(void)
{
    cleanup_buf struct buf b;
    struct arp_err err;
    buf_init(&b, 4);
    ASSERT_INT(buf_append_str(&b, "abcd"), 0);
    ASSERT_INT(buf_append_char(&b, 'e'), ARP_E_TOO_LARGE);
    ASSERT_INT(buf_append(&b, "", 0), ARP_E_TOO_LARGE);
    ASSERT_INT(buf_error(&b, &err), ARP_E_TOO_LARGE);
    ASSERT_STR(buf_str(&b), "abcd");
    buf_reset(&b);
    ASSERT_INT(buf_printf(&b, "%s", "xy"), 0);
    ASSERT_STR(buf_str(&b), "xy");
}

static void cut_never_splits_a_character(void)
{
    const char *s = "ab\xe2\x82\xac"
                    "c"; /* ab€c */
    ASSERT_INT(utf8_cut(s, 6, 6), 6);
    ASSERT_INT(utf8_cut(s, 6, 5), 5);
    ASSERT_INT(utf8_cut(s, 6, 4), 2);
    ASSERT_INT(utf8_cut(s, 6, 3), 2);
    ASSERT_INT(utf8_cut(s, 6, 2), 2);
    /* Invalid bytes are no sequence: cut anywhere. */
    ASSERT_INT(utf8_cut("\xff\xff\xff\xff", 4, 3), 3);
}

static void validation_knows_the_edges(void)
{
    static const struct {
        const char *bytes;
        bool ok;
    } rows[] = {{"\xc0\x80", false}, {"\xc2\x80", true}, {"\xe0\x9f\xbf", false}, {"\xe0\xa0\x80", true},
        {"\xed\x9f\xbf", true}, {"\xed\xa0\x80", false}, {"\xf0\x8f\xbf\xbf", false},
        {"\xf0\x90\x80\x80", true}, {"\xf4\x8f\xbf\xbf", true}, {"\xf4\x90\x80\x80", false},
        {"\xf5\x80\x80\x80", false}, {"\xe2\x82", false}, {"12345678\xff", false}, {"plain", true}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        ASSERT_INT(utf8_valid(rows[i].bytes, strlen(rows[i].bytes)), rows[i].ok);
}

static void printable_is_space_to_tilde(void)
{
    ASSERT_TRUE(ascii_printable("") && ascii_printable(" az~"));
    ASSERT_TRUE(!ascii_printable("a\tb") && !ascii_printable("a\x7f") && !ascii_printable("\xc3\xa9"));
}

static void parser_refuses(const char *text, size_t len, int code)
{
    cJSON *v = NULL;
    struct arp_err err = {0};
    ASSERT_INT(json_parse(text, len, &v, &err), code);
    CU_ASSERT_PTR_NULL(v);
}

static void parser_refuses_what_is_not_one_clean_value(void)
{
    static const struct {
        const char *text;
        int code;
    } rows[] = {{"", ARP_E_JSON}, {"{", ARP_E_JSON}, {"{} x", ARP_E_JSON}, {"{\"a\":1,\"a\":2}", ARP_E_JSON},
        {"[{\"k\":{\"b\":1,\"b\":1}}]", ARP_E_JSON}, {"\"\\u0000\"", ARP_E_JSON}, {"\"\xff\"", ARP_E_UTF8},
        {"nul", ARP_E_JSON}, {"{'a':1}", ARP_E_JSON}, {"01", ARP_E_JSON}, {"-.5", ARP_E_JSON},
        {"1.", ARP_E_JSON}, {"1e999", ARP_E_JSON}, {"1e-9999", ARP_E_JSON}, {"[1e]", ARP_E_JSON},
        {"+1", ARP_E_JSON}, {"\"a\nb\"", ARP_E_JSON}, {"[1,\v2]", ARP_E_JSON}, {"\xef\xbb\xbf{}", ARP_E_JSON},
        {"1-2", ARP_E_JSON}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        parser_refuses(rows[i].text, strlen(rows[i].text), rows[i].code);
    parser_refuses("1\0", 2, ARP_E_JSON);
    char deep[2 * LIMIT_JSON_DEPTH + 3];
    memset(deep, '[', LIMIT_JSON_DEPTH + 1);
    memset(deep + LIMIT_JSON_DEPTH + 1, ']', LIMIT_JSON_DEPTH + 1);
    parser_refuses(deep, 2 * LIMIT_JSON_DEPTH + 2, ARP_E_JSON);
}

static void parser_takes_every_kind_of_number(void)
{
    static const struct {
        const char *text;
        double value;
    } rows[] = {{"0", 0}, {"-0", 0}, {"10", 10}, {"-1.25", -1.25}, {"1e3", 1000}, {"1E+2", 100},
        {"5e-1", 0.5}, {"9007199254740993", 9007199254740992.0}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        cleanup_cjson cJSON *v = NULL;
        ASSERT_INT(json_parse(rows[i].text, strlen(rows[i].text), &v, NULL), 0);
        ASSERT_TRUE(cJSON_IsNumber(v) && v->valuedouble == rows[i].value);
    }
}

static void line_parser_accepts_escaped_nul_only(void)
{
    cleanup_cjson cJSON *v = NULL;
    struct arp_err err;
    ASSERT_INT(json_parse_line("{\"s\":\"a\\u0000b\"}", 16, &v, &err), 0);
    ASSERT_STR(json_get_str(v, "s"), "a");
    cJSON *w = NULL;
    ASSERT_INT(json_parse_line("{\"s\":\"\0\"}", 9, &w, &err), ARP_E_JSON);
}

static int check(const char *text, struct arp_err *err)
{
    static const struct json_field fields[] = {
        {"name", JSON_STRING, true}, {"n", JSON_INT, false}, {"list", JSON_ARRAY, false}};
    cleanup_cjson cJSON *v = NULL;
    if (json_parse(text, strlen(text), &v, err))
        return err->code;
    return json_check_object(v, fields, 3, "", err);
}

static void a_count_is_from_1_to_its_maximum_or_left_out(void)
{
    static const struct {
        const char *text;
        int code;
        int64_t n;
    } rows[] = {{"{}", 0, 7}, {"{\"n\":null}", 0, 7}, {"{\"n\":1}", 0, 1}, {"{\"n\":9}", 0, 9},
        {"{\"n\":0}", ARP_E_FIELD, 7}, {"{\"n\":-1}", ARP_E_FIELD, 7}, {"{\"n\":10}", ARP_E_FIELD, 7}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        cleanup_cjson cJSON *v = NULL;
        struct arp_err err = {0};
        int64_t n = 7;
        ASSERT_INT(json_parse(rows[i].text, strlen(rows[i].text), &v, &err), 0);
        ASSERT_INT(json_count_member(v, "limits", "n", 9, &n, &err), rows[i].code);
        ASSERT_INT(n, rows[i].n);
        ASSERT_STR(err.detail, rows[i].code ? "\"field\":\"limits.n\"" : "");
    }
}

static void object_check_names_the_field(void)
{
    struct arp_err err;
    ASSERT_INT(check("{\"name\":\"x\",\"n\":null}", &err), 0);
    ASSERT_INT(check("{\"name\":\"x\",\"zzz\":1}", &err), ARP_E_UNKNOWN_FIELD);
    ASSERT_STR(err.detail, "\"field\":\"zzz\"");
    ASSERT_INT(check("{\"n\":1}", &err), ARP_E_FIELD);
    ASSERT_STR(err.detail, "\"field\":\"name\"");
    ASSERT_INT(check("{\"name\":null}", &err), ARP_E_FIELD);
    ASSERT_INT(check("{\"name\":\"x\",\"n\":1.5}", &err), ARP_E_FIELD);
    ASSERT_INT(check("{\"name\":\"x\",\"n\":1e300}", &err), ARP_E_FIELD);
    ASSERT_INT(check("{\"name\":\"x\",\"list\":{}}", &err), ARP_E_FIELD);
    ASSERT_INT(check("[]", &err), ARP_E_FIELD);
}

TEST_SUITE(json_test, TEST(writer_escapes_to_one_clean_line), TEST(parsed_values_are_written_as_they_were),
    TEST(buffer_refuses_past_its_maximum_and_stays_failed), TEST(cut_never_splits_a_character),
    TEST(validation_knows_the_edges), TEST(parser_refuses_what_is_not_one_clean_value),
    TEST(parser_takes_every_kind_of_number), TEST(line_parser_accepts_escaped_nul_only),
    TEST(object_check_names_the_field), TEST(a_count_is_from_1_to_its_maximum_or_left_out),
    TEST(printable_is_space_to_tilde))
