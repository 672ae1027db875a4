/*
 * Tests of agent/script.c: what the kernel makes of a #! line, compared with what a program that is started so says it got.
 */
#include "agent/script.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shared/buf.h"
#include "tests/support/process.h"
#include "tests/support/suite.h"

static char root[64];
static struct exehash *cache;

static int set_up(void)
{
    temp_make(root);
    cache = exehash_new();
    return chdir(root) != 0 || !cache;
}

static int tear_down(void)
{
    exehash_free(cache);
    temp_remove(root);
    return 0;
}

static void put(const char *name, const char *text, size_t len)
{
    int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0755);
    CU_ASSERT_FATAL(fd >= 0 && write(fd, text, len) == (ssize_t)len);
    close(fd);
}

/* Arguments that the kernel gives: those in /proc/self/cmdline of a process started so. -1 when it can't be started. */
static ssize_t ask_kernel(const char *path, char *const *argv, char *ret, size_t size)
{
    int out[2];
    size_t len = 0;
    ssize_t n;
    CU_ASSERT_EQUAL_FATAL(pipe2(out, O_CLOEXEC), 0);
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(out[1], 1);
        execv(path, argv);
        _exit(99);
    }
    close(out[1]);
    while ((n = read(out[0], ret + len, size - len)) > 0)
        len += (size_t)n;
    close(out[0]);
    int status;
    waitpid(pid, &status, 0);
    return status == 0 ? (ssize_t)len : -1;
}

/* Follow name with these arguments; compare with the kernel, whose interpreter is a script-proof teller: "/bin/cat". */
static void check(const char *name, const char *line, size_t len, bool runs)
{
    static char tail[] = "/proc/self/cmdline";
    char path[64];
    static char zero[] = "zero";
    char *argv[] = {zero, tail, NULL};
    char got[8192];
    struct stat exe;
    struct tracee_asked asked;
    struct script_chain chain = {.pid = getpid(), .cache = cache};
    struct tracee_args expected = {0};
    snprintf(path, sizeof(path), "./%s", name);
    put(name, line, len);
    ssize_t n = ask_kernel(path, argv, got, sizeof(got));
    ASSERT_INT(n >= 0, runs);
    stat("/bin/cat", &exe);
    tracee_asked_init(&asked);
    asked.path = path;
    char args[64] = "zero";
    memcpy(args + 5, tail, sizeof(tail));
    asked.args = (struct tracee_args){
        .bytes = args, .len = 5 + sizeof(tail), .total = 5 + sizeof(tail), .readable = true};
    ASSERT_INT(script_follow(&chain, &asked, &exe, NULL), runs);
    if (runs) {
        script_expect(&chain, &asked, &expected);
        /* cat prints the script first, then its own command line */
        CU_ASSERT_FATAL((size_t)n >= expected.len);
        CU_ASSERT(memcmp(got + n - expected.len, expected.bytes, expected.len) == 0);
        CU_ASSERT((size_t)n == expected.len + len || strstr(line, "-u") != NULL);
        free(expected.bytes);
    }
    script_chain_done(&chain);
}

#define CHECK(name, line, runs) check(name, line, sizeof(line) - 1, runs)

static void lines_are_read_as_the_kernel_does(void)
{
    CHECK("plain", "#!/bin/cat\n", true);
    CHECK("no-newline", "#!/bin/cat", true);
    CHECK("blanks", "#! \t /bin/cat \t \n", true);
    CHECK("argument", "#!/bin/cat -u\n", true);
    CHECK("argument-blanks", "#!/bin/cat \t -u \t\nx\n", true);
    CHECK("tab", "#!/bin/cat\t-u\n", true);
    CHECK("zero", "#!/bin/cat\0-u\n", true);
    CHECK("zero-in-argument", "#!/bin/cat -u\0 x\n", true);
    CHECK("empty", "#!\n", false);
    CHECK("only-blanks", "#!   \n", false);
    CHECK("short", "#!", false);
    CHECK("not-first", " #!/bin/cat\n", false);
    CHECK("carriage-return", "#!/bin/cat\r\n", false);
}

/* 256 bytes is what the kernel looks at: an interpreter's name that does not end within them is refused, an argument is cut. */
static void long_lines_are_cut_as_the_kernel_does(void)
{
    char line[600] = "#!/bin/cat -";
    memset(line + strlen(line), 'u', 500);
    line[512] = '\n';
    check("long-argument", line, 513, true);
    memset(line, 'x', 512);
    memcpy(line, "#!/", 3);
    check("long-name", line, 513, false);
    for (size_t pad = 240; pad < 262; pad++) { /* the name ends before, at and behind the edge */
        char text[300];
        memset(text, '/', sizeof(text));
        memcpy(text, "#!", 2);
        memcpy(text + pad - 7, "bin/cat", 7);
        text[pad] = '\n';
        char name[32];
        snprintf(name, sizeof(name), "edge-%zu", pad);
        check(name, text, pad + 1, pad < 256);
    }
}

static void chain_ends_at_a_program(void)
{
    struct script_chain chain = {.pid = getpid(), .cache = cache};
    struct tracee_asked asked;
    static char a[] = "./a", none[] = "./none";
    put("c", "#!/bin/cat\n", 11);
    put("b", "#!./c\n", 6);
    put("a", "#!./b\n", 6);
    put("none", "#!./missing\n", 12);
    tracee_asked_init(&asked);
    asked.path = a;
    CU_ASSERT(script_follow(&chain, &asked, NULL, NULL));
    ASSERT_INT(chain.count, 3);
    script_chain_done(&chain);
    asked.path = none;
    CU_ASSERT(!script_follow(&chain, &asked, NULL, NULL));
    ASSERT_INT(chain.count, 0);
    put("loop", "#!./loop\n", 9);
    static char loop[] = "./loop";
    asked.path = loop;
    CU_ASSERT(!script_follow(&chain, &asked, NULL, NULL));
}

TEST_SUITE_WITH(script_test, set_up, tear_down, TEST(lines_are_read_as_the_kernel_does),
    TEST(long_lines_are_cut_as_the_kernel_does), TEST(chain_ends_at_a_program))
