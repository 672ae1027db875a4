/*
 * Tests shared/err.c.
 */
#include "shared/err.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "shared/buf.h"
#include "shared/fd.h"
#include "tests/support/suite.h"

static void failure_keeps_code_errno_and_text(void)
{
    struct arp_err err;
    ASSERT_INT(arp_fail(&err, ARP_E_IO, ENOENT, "open '%s'", "/x"), ARP_E_IO);
    ASSERT_INT(err.sys_errno, ENOENT);
    ASSERT_STR(err.msg, "open '/x': No such file or directory");
    ASSERT_INT(arp_wrap(&err, "run %d", 7), ARP_E_IO);
    ASSERT_STR(err.msg, "run 7: open '/x': No such file or directory");
}

static void field_error_names_field_in_details(void)
{
    struct arp_err err;
    arp_fail_field(&err, "a\"b", "bad");
    arp_err_detail_int(&err, "limit", 5);
    ASSERT_STR(err.detail, "\"field\":\"a\\\"b\",\"limit\":5");
}

static void detail_that_does_not_fit_is_left_out_whole(void)
{
    struct arp_err err;
    char big[600];
    memset(big, 'x', sizeof(big) - 1);
    big[sizeof(big) - 1] = '\0';
    arp_fail(&err, ARP_E_INVALID, 0, "m");
    arp_err_detail_str(&err, "k", big);
    ASSERT_STR(err.detail, "");
    arp_err_detail_int(&err, "n", 1);
    ASSERT_STR(err.detail, "\"n\":1");
}

static void long_message_is_cut_not_overrun(void)
{
    struct arp_err err;
    char big[2000];
    memset(big, 'x', sizeof(big) - 1);
    big[sizeof(big) - 1] = '\0';
    arp_fail(&err, ARP_E_IO, EIO, "%s", big);
    ASSERT_INT(strlen(err.msg), ARP_ERR_MSG_MAX - 1);
    arp_wrap(&err, "%s", big);
    ASSERT_INT(strlen(err.msg), ARP_ERR_MSG_MAX - 1);
}

static void code_outside_the_table_is_internal(void)
{
    ASSERT_STR(arp_err_public_code(-1000), "internal");
    ASSERT_STR(arp_err_public_code(5), "internal");
    ASSERT_INT(arp_err_http_status(ARP_E_QUOTA), 429);
}

/* The page and the table must say the same, row by row. */
static void docs_page_lists_the_table(void)
{
    cleanup_buf struct buf page;
    struct arp_err err;
    buf_init(&page, 1 << 20);
    ASSERT_INT(file_read("docs/ERRORS.md", &page, &err), 0);
    int rows = 0;
    for (int i = 1; i <= ARP_E_COUNT; i++) {
        char row[256];
        snprintf(row, sizeof(row), "| `%s` | %d | %s |\n", arp_err_public_code(-i), arp_err_http_status(-i),
            arp_err_public_text(-i));
        ASSERT_CONTAINS(buf_str(&page), row);
        rows++;
    }
    int in_page = 0;
    for (const char *p = buf_str(&page); (p = strstr(p, "\n| `")); p++)
        in_page++;
    ASSERT_INT(in_page, rows);
}

TEST_SUITE(err_test, TEST(failure_keeps_code_errno_and_text), TEST(field_error_names_field_in_details),
    TEST(detail_that_does_not_fit_is_left_out_whole), TEST(long_message_is_cut_not_overrun),
    TEST(code_outside_the_table_is_internal), TEST(docs_page_lists_the_table))
