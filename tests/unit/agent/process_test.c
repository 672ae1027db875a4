/*
 * Tests of agent/process.c: what a record looks like as a line.
 */
#include "agent/process.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "shared/buf.h"
#include "tests/support/suite.h"

static struct buf text;

static const char *put(const struct process_record *r)
{
    struct json j;
    buf_init(&text, 1 << 20);
    json_init(&j, &text);
    json_obj_open(&j);
    process_record_put(&j, r);
    json_obj_close(&j);
    return buf_str(&text);
}

static void exec_record_has_all_members_in_order(void)
{
    struct process_record *r = process_record_new(false, 3, 42);
    r->ppid = 41;
    r->uid = 1000;
    r->confirmed = true;
    r->exe = strdup("/bin/\xff");
    memset(r->exe_sha256, 'a', SHA256_HEX_LEN);
    r->cwd = strdup("/w");
    r->args = (struct tracee_args){.bytes = malloc(7), .len = 7, .total = 7, .readable = true};
    memcpy(r->args.bytes, "a\0\0b\nc", 7);
    memset(r->args.sha256, 'b', SHA256_HEX_LEN);
    r->scripts[0].path = strdup("./x");
    r->script_count = 1;
    r->flags = PROCESS_ARGV_CHANGED | PROCESS_UNHASHED;
    ASSERT_STR(put(r),
        "{\"commandId\":3,\"pid\":42,\"ppid\":41,\"uid\":1000,\"confirmed\":true,\"exe\":\"/bin/"
        "\xef\xbf\xbd\","
        "\"exeSha256\":\"sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\","
        "\"scripts\":[{\"path\":\"./x\",\"sha256\":null}],\"argv\":[\"a\",\"\",\"b\\nc\"],\"argvBytes\":7,"
        "\"argvTruncated\":false,\"argvSha256\":\"sha256:"
        "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\",\"cwd\":\"/w\","
        "\"flags\":[\"argv_changed\",\"unhashed\"]}");
    process_record_free(r);
    buf_done(&text);
}

static void unknown_members_are_null(void)
{
    struct process_record *r = process_record_new(false, 0, 1);
    r->args.total = 1; /* cut before the first byte */
    ASSERT_STR(put(r),
        "{\"commandId\":0,\"pid\":1,\"ppid\":0,\"uid\":0,\"confirmed\":false,\"exe\":null,\"exeSha256\":null,"
        "\"argv\":[],\"argvBytes\":1,\"argvTruncated\":true,\"argvSha256\":null,\"cwd\":null,\"flags\":[]}");
    process_record_free(r);
    buf_done(&text);
}

static void check_exit(bool has, int status, const char *want)
{
    struct process_record *r = process_record_new(true, 1, 2);
    r->exec_line = 9;
    r->has_status = has;
    r->status = status;
    ASSERT_STR(put(r), want);
    process_record_free(r);
    buf_done(&text);
}

static void exit_record_tells_code_or_signal(void)
{
#define HEAD "{\"commandId\":1,\"pid\":2,\"execSeq\":9,"
    check_exit(true, 0, HEAD "\"exitCode\":0,\"signal\":null}");
    check_exit(true, 255 << 8, HEAD "\"exitCode\":255,\"signal\":null}");
    check_exit(true, SIGKILL, HEAD "\"exitCode\":null,\"signal\":\"SIGKILL\"}");
    check_exit(true, SIGSEGV | 0x80, HEAD "\"exitCode\":null,\"signal\":\"SIGSEGV\"}"); /* with a core */
    check_exit(true, 40, HEAD "\"exitCode\":null,\"signal\":\"SIG40\"}");
    check_exit(false, 0, HEAD "\"exitCode\":null,\"signal\":null}");
}

static void all_flags_have_names_in_order(void)
{
    struct process_record *r = process_record_new(false, 0, 1);
    r->flags = (1u << PROCESS_FLAGS) - 1;
    ASSERT_CONTAINS(put(r),
        "\"flags\":[\"argv_changed\",\"path_changed\",\"memfd\",\"deleted\",\"traced\",\"unhashed\"]");
    process_record_free(r);
    buf_done(&text);
}

TEST_SUITE(process_test, TEST(exec_record_has_all_members_in_order), TEST(unknown_members_are_null),
    TEST(exit_record_tells_code_or_signal), TEST(all_flags_have_names_in_order))
