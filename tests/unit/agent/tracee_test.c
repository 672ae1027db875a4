/*
 * Tests of agent/tracee.c on processes of our own: what is read of their memory, whatever they put there.
 */
#include "agent/tracee.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/suite.h"

/* What a call of ours would look like: our own memory is as good as another's. */
static struct tracee_asked ask(const void *path, const void *argv)
{
    struct tracee_asked a;
    struct seccomp_data call = {
        .nr = SYS_execve, .args = {(uint64_t)(uintptr_t)path, (uint64_t)(uintptr_t)argv}};
    tracee_read_asked(getpid(), &call, &a);
    return a;
}

/* size bytes at the end of a page behind which nothing is mapped. */
static char *at_the_edge(size_t size)
{
    char *page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    munmap(page + 4096, 4096);
    return page + 4096 - size;
}

static void path_and_arguments_are_read(void)
{
    const char *argv[] = {"a", "", "\xff", NULL};
    struct tracee_asked a = ask("/bin/x", argv);
    ASSERT_STR(a.path, "/bin/x");
    CU_ASSERT(a.args.readable);
    ASSERT_INT(a.args.total, 5);
    ASSERT_INT(memcmp(a.args.bytes, "a\0\0\xff", 5), 0);
    CU_ASSERT(a.fd_number == -1 && a.file_fd == -1 && a.base_fd == -1);
    tracee_asked_done(&a);
    a = ask("bin/x", NULL); /* relative: from where it stands; a NULL vector is an empty one */
    CU_ASSERT(a.base_fd >= 0 && a.args.readable && a.args.total == 0);
    tracee_asked_done(&a);
    tracee_asked_done(&a); /* twice is once */
}

static void text_that_ends_with_its_page_is_read(void)
{
    char *path = at_the_edge(7);
    const char **argv = (const char **)(void *)at_the_edge(2 * sizeof(char *));
    memcpy(path, "/bin/x", 7);
    argv[0] = path;
    argv[1] = NULL;
    struct tracee_asked a = ask(path, argv);
    ASSERT_STR(a.path, "/bin/x");
    ASSERT_INT(a.args.total, 7);
    tracee_asked_done(&a);
}

static void what_can_not_be_read_is_unknown(void)
{
    char *path = at_the_edge(6);
    const char **argv = (const char **)(void *)at_the_edge(2 * sizeof(char *));
    memcpy(path, "/bin/x", 6); /* no end */
    argv[0] = "a";
    argv[1] = path;
    struct tracee_asked a = ask(path, argv);
    CU_ASSERT(a.path == NULL);
    ASSERT_INT(a.args.len, 2 + 6 * (a.args.len > 2));
    CU_ASSERT(a.args.total > a.args.len); /* cut */
    tracee_asked_done(&a);
    a = ask((void *)1, (void *)1);
    CU_ASSERT(a.path == NULL && !a.args.readable);
    tracee_asked_done(&a);
}

static void long_ones_are_cut(void)
{
    size_t size = TRACEE_ARGV_KEEP + 100;
    char *text = malloc(size);
    memset(text, 'x', size);
    text[size - 1] = 0;
    const char *argv[] = {text, text, NULL};
    struct tracee_asked a = ask(text, argv);
    CU_ASSERT(a.path == NULL); /* no path is that long */
    CU_ASSERT(a.args.len <= TRACEE_ARGV_KEEP && a.args.total > a.args.len);
    tracee_asked_done(&a);
    text[TRACEE_PATH_MAX] = 0;
    a = ask(text, NULL);
    CU_ASSERT(a.path && strlen(a.path) == TRACEE_PATH_MAX);
    tracee_asked_done(&a);
    const char **many = calloc(200001, sizeof(*many));
    for (int i = 0; i < 200000; i++)
        many[i] = "";
    a = ask("/x", many);
    CU_ASSERT(a.args.len <= TRACEE_ARGV_KEEP && a.args.total > a.args.len);
    tracee_asked_done(&a);
    free(many);
    free(text);
}

static void names_of_oneself_are_the_processs_own(void)
{
    struct stat want, got;
    struct tracee_asked a;
    int hold[2];
    char exe[64];
    static char own[] = "/proc/self/exe";
    CU_ASSERT_EQUAL_FATAL(pipe2(hold, O_CLOEXEC), 0);
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(hold[0], 0);
        execl("/bin/cat", "cat", NULL);
        _exit(1);
    }
    close(hold[0]);
    stat("/bin/cat", &want);
    snprintf(exe, sizeof(exe), "/proc/%d/exe", pid);
    for (int i = 0; i < 2000 && (stat(exe, &got) < 0 || got.st_ino != want.st_ino); i++)
        usleep(1000);
    tracee_asked_init(&a);
    a.path = strdup(own);
    ASSERT_INT(tracee_stat_asked(pid, &a, &got), 0);
    ASSERT_INT(got.st_ino, want.st_ino);
    tracee_hold(pid, &a);
    CU_ASSERT(a.file_fd >= 0 && fstat(a.file_fd, &got) == 0 && got.st_ino == want.st_ino);
    tracee_asked_done(&a);
    close(hold[1]);
    waitpid(pid, NULL, 0);
}

static void every_exec_makes_a_new_image(void)
{
    uint64_t images[20];
    int hold[2];
    CU_ASSERT(tracee_has_images());
    uint64_t own = tracee_image(getpid());
    CU_ASSERT(own != 0 && own == tracee_image(getpid()));
    for (int i = 0; i < 20; i++) {
        char exe[64], link[64] = "";
        CU_ASSERT_EQUAL_FATAL(pipe2(hold, O_CLOEXEC), 0);
        fflush(stdout);
        pid_t pid = fork();
        if (pid == 0) {
            dup2(hold[0], 0);
            execl("/bin/cat", "cat", NULL);
            _exit(1);
        }
        close(hold[0]);
        snprintf(exe, sizeof(exe), "/proc/%d/exe", pid);
        for (int k = 0; k < 2000 && !strstr(link, "/cat"); k++) {
            usleep(1000);
            CU_ASSERT_FATAL(readlink(exe, link, sizeof(link) - 1) > 0);
        }
        usleep(5000);
        images[i] = tracee_image(pid);
        CU_ASSERT(images[i] != 0 && images[i] != own);
        for (int k = 0; k < i; k++)
            CU_ASSERT(images[k] != images[i]);
        close(hold[1]);
        waitpid(pid, NULL, 0);
    }
}

static void end_is_told_after_the_fact(void)
{
    int status = -1;
    CU_ASSERT(tracee_tells_exit());
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0)
        _exit(42);
    int fd = (int)syscall(SYS_pidfd_open, pid, 0);
    waitpid(pid, NULL, 0);
    CU_ASSERT(tracee_exit_status(fd, &status));
    ASSERT_INT(status, 42 << 8);
    struct tracee_ids ids;
    CU_ASSERT(!tracee_ids(pid, -1, &ids));
    ASSERT_INT(tracee_image(pid), 0);
    close(fd);
}

static void strange_names_do_not_hide_ids(void)
{
    struct tracee_ids ids;
    prctl(PR_SET_NAME, "\nPPid:\t1\nUid:", 0, 0, 0);
    CU_ASSERT(tracee_ids(getpid(), -1, &ids));
    ASSERT_INT(ids.ppid, getppid());
    ASSERT_INT(ids.tgid, getpid());
    CU_ASSERT(!tracee_is_traced(getpid()));
}

TEST_SUITE(tracee_test, TEST(path_and_arguments_are_read), TEST(text_that_ends_with_its_page_is_read),
    TEST(what_can_not_be_read_is_unknown), TEST(long_ones_are_cut),
    TEST(names_of_oneself_are_the_processs_own), TEST(every_exec_makes_a_new_image),
    TEST(end_is_told_after_the_fact), TEST(strange_names_do_not_hide_ids))
