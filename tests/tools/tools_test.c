/*
 * Real work under the default profile: what people run in a workspace does what it does elsewhere, and its processes are in the record.
 * Each check is a script of tests/tools/checks, executed as one command of a run in the tools image (images/tools.sh). Known to be lost
 * by design, and not in the image: perf (perf_event_open) and bwrap (namespaces).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/support/docker.h"
#include "tests/support/record.h"
#include "tests/support/suite.h"

/* A configure script on a busy machine. */
#define TIMEOUT_MS "240000"

static struct stack *stack;
static struct tenant tenant;
static char image[64];

static int tear_down(void)
{
    char base[80];
    int code = stack ? stack_stop(stack) : 0;
    snprintf(base, sizeof(base), "%s-base", image);
    DOCKER("rmi", image);
    DOCKER("rmi", base);
    return code;
}

static int set_up(void)
{
    char setting[96];
    char *out = NULL;
    snprintf(image, sizeof(image), "arp-tools-test:%d", (int)getpid());
    snprintf(setting, sizeof(setting), "WORKSPACE_IMAGE=%s", image);
    int code = RUN_ARGV(NULL, &out, "tests/tools/image.sh", image, "build");
    if (code != 0)
        fprintf(stderr, "image.sh: exit %d: %s\n", code, out);
    free(out);
    stack = code == 0 ? stack_start((const char *const[]){setting, NULL}) : NULL;
    if (!stack || !stack_tenant(stack, "tools", -1, &tenant)) {
        tear_down(); /* after a failed set-up nobody else does */
        return 1;
    }
    return 0;
}

static const char *last_part(const char *path)
{
    const char *slash = path ? strrchr(path, '/') : NULL;
    return slash ? slash + 1 : path;
}

/* A program of that name was executed, was seen executing, and what became of the process is known: its end, or the next program. */
static void expect_process(const struct jsonl *processes, const char *program)
{
    for (size_t i = 0; i < processes->n; i++) {
        const cJSON *exec = processes->obj[i];
        const char *name = last_part(str_at(exec, "exe"));
        if (!name || strncmp(name, program, strlen(program)) != 0 ||
            strcmp(str_at(exec, "type"), "exec") != 0)
            continue;
        ASSERT_TRUE(cJSON_IsTrue(json_at(exec, "confirmed")));
        ASSERT_TRUE(str_at(exec, "exeSha256") != NULL);
        for (size_t k = i + 1; k < processes->n; k++) {
            const cJSON *end = processes->obj[k];
            bool exit = strcmp(str_at(end, "type"), "exit") == 0;
            if (exit ? num_at(end, "execSeq") == num_at(exec, "seq")
                     : num_at(end, "pid") == num_at(exec, "pid"))
                return;
        }
    }
    fprintf(stderr, "no process '%s' with its end in the record of %zu lines\n", program, processes->n);
    CU_FAIL("process is not recorded");
}

/* Run the check, which must succeed and have executed that program. ptrace: it traces its own processes, and the record says so. */
static void expect_works(const char *check, const char *program, bool ptrace)
{
    struct reply r = {0};
    struct record rec;
    struct jsonl processes;
    char commands[128];
    snprintf(
        commands, sizeof(commands), "[{\"argv\":[\"/checks/%s.sh\"],\"timeoutMs\":" TIMEOUT_MS "}]", check);
    ASSERT_INT(stack_run(stack, &tenant, commands, &r), 200);
    ASSERT_TRUE(record_open(stack, &tenant, reply_str(&r, "runId"), &rec));
    const cJSON *entry = rec.commands.obj[0];
    if (num_at(entry, "exitCode") != 0)
        fprintf(
            stderr, "%s: stdout: %s\nstderr: %s\n", check, str_at(entry, "stdout"), str_at(entry, "stderr"));
    ASSERT_STR(reply_str(&r, "status"), "succeeded");
    ASSERT_INT(arpctl_verify(rec.zip, keyring_file(stack), NULL), 0);
    ASSERT_TRUE((num_at(entry, "observed.ptrace") > 0) == ptrace);
    ASSERT_INT(num_at(entry, "processes.recordsDropped"), 0);
    ASSERT_TRUE(jsonl_read(rec.dir, "processes.jsonl", &processes));
    ASSERT_TRUE(jsonl_chain_ok(&processes, rec.run_id, "processes.jsonl"));
    expect_process(&processes, program);
    jsonl_done(&processes);
    record_done(&rec);
    reply_done(&r);
}

static void git_works(void)
{
    expect_works("git", "git", false);
}

static void python_works(void)
{
    expect_works("python", "python3", false);
}

static void a_package_builds_and_passes_its_tests(void)
{
    expect_works("build", "cc1", false);
}

static void cmake_works(void)
{
    expect_works("cmake", "ctest", false);
}

static void node_and_npm_work(void)
{
    expect_works("node", "node", false);
}

static void bash_works(void)
{
    expect_works("bash", "bash", false);
}

static void tar_works(void)
{
    expect_works("tar", "gzip", false);
}

static void sqlite_works(void)
{
    expect_works("sqlite", "sqlite3", false);
}

static void perl_works(void)
{
    expect_works("perl", "perl", false);
}

static void openssl_works(void)
{
    expect_works("openssl", "openssl", false);
}

static void ssh_works(void)
{
    expect_works("ssh", "ssh-agent", false);
}

static void system_tools_work(void)
{
    expect_works("system", "top", false);
}

static void valgrind_works(void)
{
    expect_works("valgrind", "valgrind", false);
}

static void sanitizers_work(void)
{
    expect_works("sanitizers", "leak", true);
}

static void gdb_works(void)
{
    expect_works("gdb", "gdb", true);
}

static void strace_works(void)
{
    expect_works("strace", "strace", true);
}

TEST_SUITE_WITH(tools_test, set_up, tear_down, TEST(git_works), TEST(python_works),
    TEST(a_package_builds_and_passes_its_tests), TEST(cmake_works), TEST(node_and_npm_work), TEST(bash_works),
    TEST(tar_works), TEST(sqlite_works), TEST(perl_works), TEST(openssl_works), TEST(ssh_works),
    TEST(system_tools_work), TEST(valgrind_works), TEST(sanitizers_work), TEST(gdb_works), TEST(strace_works))
