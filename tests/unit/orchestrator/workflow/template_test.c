/*
 * Tests orchestrator/workflow/template.c.
 */
#include "orchestrator/workflow/template.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "tests/support/suite.h"

static struct arp_err err;

/* What each reference stands for shows the reference. */
static const char *shown(void *ctx, const struct template_ref *ref)
{
    static char text[128];
    static const char *const names[] = {"input", "text", "diff", "status"};
    (void)ctx;
    snprintf(text, sizeof(text), "<%s:%s>", names[ref->value], ref->step);
    return text;
}

static const char *fixed(void *ctx, const struct template_ref *ref)
{
    (void)ref;
    return ctx;
}

static int count_refs(void *ctx, const struct template_ref *ref, struct arp_err *e)
{
    (void)ref;
    (void)e;
    ++*(int *)ctx;
    return 0;
}

static int refuse(void *ctx, const struct template_ref *ref, struct arp_err *e)
{
    (void)ctx;
    return arp_fail(e, ARP_E_NOT_FOUND, 0, "no %s", ref->step);
}

static void render(const char *text, const char *want)
{
    cleanup_buf struct buf out;
    buf_init(&out, 1 << 20);
    ASSERT_INT(template_render(text, shown, NULL, &out, &err), 0);
    ASSERT_STR(buf_str(&out), want);
}

static void references_are_replaced_where_they_stand(void)
{
    render("", "");
    render("plain { } }} {} text", "plain { } }} {} text");
    render("{{input}}", "<input:>");
    render("a{{input}}b{{ input }}c", "a<input:>b<input:>c");
    render("{{steps.build.finalText}}{{steps.b-1_X.diff}}", "<text:build><diff:b-1_X>");
    render("{{   steps.build.status   }}", "<status:build>");
    render("{{input}}}}", "<input:>}}");
    render("{ {{input}} }", "{ <input:> }");
    render("\n{{input}}\n", "\n<input:>\n");
    render("ü{{input}}🙂", "ü<input:>🙂");
}

static void four_braces_stand_for_two(void)
{
    render("{{{{", "{{");
    render("{{{{input}}", "{{input}}");
    render("{{{{{{input}}", "{{<input:>");
    render("{{{{{{{{", "{{{{");
    render("a{{{{b}}}}c", "a{{b}}}}c");
}

static void anything_else_is_refused_with_its_place(void)
{
    static const struct {
        const char *text;
        const char *place;
    } rows[] = {{"{{", "\"place\":0"}, {"abc {{", "\"place\":4"}, {"{{input", "\"place\":0"},
        {"{{input}", "\"place\":0"}, {"{{input} }", "\"place\":0"}, {"{{input}} {{", "\"place\":10"},
        {"{{}}", "\"place\":0"}, {"{{ }}", "\"place\":0"}, {"{{{input}}}", "\"place\":0"},
        {"{{INPUT}}", "\"place\":0"}, {"{{inputs}}", "\"place\":0"}, {"{{in put}}", "\"place\":0"},
        {"{{\tinput}}", "\"place\":0"}, {"{{input\n}}", "\"place\":0"}, {"{{{{}}{{x}}", "\"place\":6"},
        {"{{steps}}", "\"place\":0"}, {"{{steps.}}", "\"place\":0"}, {"{{steps.a}}", "\"place\":0"},
        {"{{steps.a.}}", "\"place\":0"}, {"{{steps..status}}", "\"place\":0"},
        {"{{steps.a.stat}}", "\"place\":0"}, {"{{steps.a.status.x}}", "\"place\":0"},
        {"{{steps.a.statusx}}", "\"place\":0"}, {"{{steps.a b.status}}", "\"place\":0"},
        {"{{steps. a.status}}", "\"place\":0"}, {"{{steps.a.status }", "\"place\":0"},
        {"{{steps.ü.status}}", "\"place\":0"}, {"{{steps.a.runId}}", "\"place\":0"},
        {"{{ {{input}} }}", "\"place\":0"}, {"{{input}}{{#if x}}", "\"place\":9"},
        {"{{__proto__}}", "\"place\":0"}, {"{{steps.../../x.diff}}", "\"place\":0"}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        cleanup_buf struct buf out;
        int refs = 0;
        buf_init(&out, 1000);
        err = (struct arp_err){0};
        ASSERT_INT(template_check(rows[i].text, count_refs, &refs, &err), ARP_E_FIELD);
        ASSERT_STR(err.detail, rows[i].place);
        ASSERT_INT(template_render(rows[i].text, shown, NULL, &out, &err), ARP_E_FIELD);
    }
}

static void keys_of_steps_have_their_length(void)
{
    char text[128];
    cleanup_buf struct buf out;
    buf_init(&out, 1000);
    snprintf(text, sizeof(text), "{{steps.%.*s.diff}}", LIMIT_STEP_KEY,
        "kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk");
    ASSERT_INT(template_render(text, shown, NULL, &out, &err), 0);
    ASSERT_INT(out.len, strlen("<diff:>") + LIMIT_STEP_KEY);
    snprintf(text, sizeof(text), "{{steps.%.*s.diff}}", LIMIT_STEP_KEY + 1,
        "kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk");
    ASSERT_INT(template_render(text, shown, NULL, &out, &err), ARP_E_FIELD);
}

static void values_are_not_read_again(void)
{
    char one[] = "{{steps.a.diff}} {{{{ {{";
    char rest[] = "put}}";
    cleanup_buf struct buf out;
    buf_init(&out, 1000);
    ASSERT_INT(template_render("[{{input}}]", fixed, one, &out, &err), 0);
    ASSERT_STR(buf_str(&out), "[{{steps.a.diff}} {{{{ {{]");
    buf_reset(&out);
    ASSERT_INT(template_render("{{{{in{{input}}", fixed, rest, &out, &err), 0);
    ASSERT_STR(buf_str(&out), "{{input}}");
}

static void no_value_is_the_empty_text(void)
{
    cleanup_buf struct buf out;
    buf_init(&out, 1000);
    ASSERT_INT(template_render("[{{steps.a.diff}}]", fixed, NULL, &out, &err), 0);
    ASSERT_STR(buf_str(&out), "[]");
}

static void the_output_is_bounded(void)
{
    char value[1001];
    char text[9 * 1000 + 1] = "";
    memset(value, 'v', 1000);
    value[1000] = '\0';
    for (int i = 0; i < 1000; i++)
        memcpy(text + 9 * i, "{{input}}", 10);
    cleanup_buf struct buf exact;
    buf_init(&exact, 1000 * 1000);
    ASSERT_INT(template_render(text, fixed, value, &exact, &err), 0);
    ASSERT_INT(exact.len, 1000 * 1000);
    cleanup_buf struct buf small;
    buf_init(&small, 1000 * 1000 - 1);
    ASSERT_INT(template_render(text, fixed, value, &small, &err), ARP_E_TOO_LARGE);
    ASSERT_TRUE(small.len < small.max && small.cap <= small.max + 1);
}

static void a_refused_reference_says_where_it_stands(void)
{
    err = (struct arp_err){0};
    ASSERT_INT(template_check("ab{{steps.x.diff}}", refuse, NULL, &err), ARP_E_NOT_FOUND);
    ASSERT_STR(err.detail, "\"place\":2");
    ASSERT_CONTAINS(err.msg, "no x");
    int refs = 0;
    ASSERT_INT(template_check("{{input}}{{{{input}}{{steps.a.diff}}", count_refs, &refs, &err), 0);
    ASSERT_INT(refs, 2);
}

/* Every text of these few bytes, up to 7 of them: it is taken or refused, and what is taken comes out. */
static void every_short_text_has_an_answer(void)
{
    static const char bytes[] = "{} i";
    char text[8];
    for (unsigned long n = 0; n < 1ul << 14; n++) {
        for (int i = 0; i < 7; i++)
            text[i] = bytes[n >> (2 * i) & 3];
        text[7] = '\0';
        cleanup_buf struct buf out;
        buf_init(&out, 64);
        int refs = 0;
        int rc = template_check(text, count_refs, &refs, &err);
        ASSERT_INT(refs, 0);
        ASSERT_INT(template_render(text, fixed, NULL, &out, &err), rc);
        bool braces = strstr(text, "{{") != NULL;
        if (!braces)
            ASSERT_STR(buf_str(&out), text);
        if (rc == 0 && braces)
            ASSERT_TRUE(strstr(text, "{{{{") != NULL && out.len < 7);
    }
}

TEST_SUITE(template_test, TEST(references_are_replaced_where_they_stand), TEST(four_braces_stand_for_two),
    TEST(anything_else_is_refused_with_its_place), TEST(keys_of_steps_have_their_length),
    TEST(values_are_not_read_again), TEST(no_value_is_the_empty_text), TEST(the_output_is_bounded),
    TEST(a_refused_reference_says_where_it_stands), TEST(every_short_text_has_an_answer))
