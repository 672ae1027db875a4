/*
 * Tests of agent/launcher.c with agent/launcher_proc.c and agent/landlock.c: what a command finds, what it can't do, and what is refused when a
 * layer can't be had.
 */
#include "agent/launcher.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/landlock.h"
#include "agent/sandbox.h"
#include "agent/treekill.h"
#include "shared/clock.h"
#include "shared/limits.h"
#include "tests/support/lab.h"

static struct lab_box box;
static struct lab_run run;

static void run_argv(const char *const *argv)
{
    lab_run(&box, argv, 1000, &run);
}

#define RUN(...) run_argv((const char *const[]){__VA_ARGS__, NULL})

static void launcher_reads_its_layers_back(void)
{
    lab_open(&box, SECCOMP_DEFAULT);
    const struct sandbox_layers *l = &box.layers;
    CU_ASSERT(l->uid && l->capabilities && l->bounding_set && l->no_new_privs && l->rlimits && l->seccomp);
    CU_ASSERT(l->cap_effective == 0 && l->cap_bounding == 0);
    ASSERT_INT(l->seccomp_mode, SECCOMP_MODE_FILTER);
    ASSERT_INT(l->landlock_abi, landlock_abi());
    ASSERT_INT(l->landlock, landlock_abi() > 0);
    ASSERT_INT(l->launcher_uid, lab.ids.own_uid);
    CU_ASSERT(launcher_alive(box.launcher));
    lab_close(&box);
}

/* What it reads back is what every command has. */
static void commands_have_every_layer(void)
{
    lab_open(&box, SECCOMP_DEFAULT);
    RUN("grep", "-E", "^(Uid|Gid|Groups|Cap|NoNewPrivs|Seccomp)", "/proc/self/status");
    const char *out = buf_str(&run.out);
    char want[128];
    unsigned u = lab.ids.uid;
    snprintf(
        want, sizeof(want), "Uid:\t%u\t%u\t%u\t%u\nGid:\t%u\t%u\t%u\t%u\nGroups:\t", u, u, u, u, u, u, u, u);
    ASSERT_CONTAINS(out, want);
    static const char *const caps[] = {"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"};
    for (size_t i = 0; i < sizeof(caps) / sizeof(caps[0]); i++) {
        snprintf(want, sizeof(want), "%s:\t0000000000000000\n", caps[i]);
        ASSERT_CONTAINS(out, want);
    }
    ASSERT_CONTAINS(out, "NoNewPrivs:\t1\nSeccomp:\t2\n");
    lab_run_done(&run);
    lab_close(&box);
}

static void commands_start_as_after_login(void)
{
    char want[256];
    signal(SIGUSR1, SIG_IGN); /* not what they get */
    int leak = open("/etc/passwd", O_RDONLY);
    lab_open(&box, SECCOMP_DEFAULT);
    for (int i = 0; i < 2; i++) {
        RUN(lab.prey, "state");
        const char *out = buf_str(&run.out);
        CU_ASSERT(strstr(out, "blocked") == NULL);
        CU_ASSERT(strstr(out, "handled") == NULL);
        ASSERT_CONTAINS(
            out, "fd 0\nfd 1\nfd 2\nenv PATH=/usr/bin:/bin\nenv HOME=/tmp\nenv LANG=C.UTF-8\nenv PREY=");
        CU_ASSERT(strstr(out, "env USER=") == NULL);
        snprintf(want, sizeof(want), "BARE=%s\nlimit 0 0 0\nlimit 1 %u %u\nlimit 2 %llu %llu\n", lab.bare,
            SANDBOX_NOFILE, SANDBOX_NOFILE, SANDBOX_FSIZE, SANDBOX_FSIZE);
        ASSERT_CONTAINS(out, want);
        snprintf(want, sizeof(want), "umask 22\nsession 1\nleader 1\ncwd %s\n", lab.work);
        ASSERT_CONTAINS(out, want);
        lab_run_done(&run);
    }
    lab_close(&box);
    close(leak);
    signal(SIGUSR1, SIG_DFL);
}

static void check_stage(const char *name, enum exec_stage stage, int sys_errno)
{
    RUN(name, "x");
    ASSERT_INT(run.outcome.stage, stage);
    ASSERT_INT(run.outcome.sys_errno, sys_errno);
    ASSERT_INT(lab_count(&run, NULL), 0);
    lab_run_done(&run);
}

static void launcher_tells_why_a_program_did_not_start(void)
{
    char path[256];
    lab_open(&box, SECCOMP_DEFAULT);
    check_stage("no-such-program", EXEC_FAILED, ENOENT);
    check_stage("/no/such/program", EXEC_FAILED, ENOENT);
    check_stage("/etc/passwd", EXEC_FAILED, EACCES);
    check_stage("/tmp", EXEC_FAILED, EACCES);
    check_stage("/etc/passwd/x", EXEC_FAILED, ENOTDIR);
    snprintf(path, sizeof(path), "%s/text", lab.work);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0755);
    ASSERT_INT(write(fd, "text\n", 5), 5);
    fchmod(fd, 0755);
    close(fd);
    check_stage("./text", EXEC_FAILED, ENOEXEC);
    unlink(path);
    RUN("true"); /* and it still starts others */
    ASSERT_INT(run.status, 0);
    lab_run_done(&run);
    lab_close(&box);
}

static void launcher_refuses_a_directory_it_may_not_enter(void)
{
    struct arp_err err = {0};
    struct exec_outcome outcome;
    char path[256];
    lab_open(&box, SECCOMP_DEFAULT);
    snprintf(path, sizeof(path), "%s/closed", lab.root);
    ASSERT_INT(mkdir(path, 0700), 0);
    int dir = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    const char *argv[] = {"true", NULL};
    struct launch launch = {.argv = argv, .cwd_fd = dir, .in_fd = null, .out_fd = null, .err_fd = null};
    ASSERT_INT(launcher_spawn(box.launcher, &launch, &outcome, &err), 0);
    ASSERT_INT(outcome.stage, EXEC_SETUP);
    ASSERT_INT(outcome.sys_errno, EACCES);
    ASSERT_STR(outcome.step, "working directory");
    close(dir);
    close(null);
    lab_close(&box);
}

static void launcher_passes_the_longest_command(void)
{
    const char *argv[LIMIT_ARGV_ITEMS + 1] = {"sh", "-c", "echo $#; test ${#1} = 60", "x"};
    char word[61];
    memset(word, 'y', 60);
    word[60] = 0;
    for (size_t i = 4; i < LIMIT_ARGV_ITEMS; i++)
        argv[i] = word;
    lab_open(&box, SECCOMP_DEFAULT);
    run_argv(argv);
    ASSERT_STR(buf_str(&run.out), "1020\n");
    ASSERT_INT(run.status, 0);
    lab_run_done(&run);
    lab_close(&box);
}

/* --- refusals --- */

/* Confine with these programs; the launcher's answer must be an error that names text. */
static void expect_refusal(const struct launcher_box *b, int code, const char *text)
{
    struct arp_err err = {0};
    struct launcher *l = NULL;
    struct sandbox_layers layers;
    int listener = -1;
    ASSERT_INT(launcher_start(lab.reaper, &lab.ids, &l, &err), 0);
    ASSERT_INT(launcher_confine(l, b, &layers, &listener, &err), code);
    ASSERT_CONTAINS(err.msg, text);
    ASSERT_INT(listener, -1);
    launcher_stop(l);
}

static void launcher_refuses_programs_the_kernel_refuses(void)
{
    struct arp_err err = {0};
    struct seccomp_prog *prog;
    struct launcher_box b;
    ASSERT_INT(seccomp_compile(SECCOMP_DEFAULT, false, NULL, &prog, &err), 0);
    lab_launcher_box(prog, &b);
    struct seccomp_prog broken = *prog;
    b.seccomp = &broken;
    broken.args.len = 0; /* no listener */
    expect_refusal(&b, ARP_E_UNSUPPORTED, "load seccomp programs");
    struct sock_filter nonsense[2] = {{.code = 0xffff}, {.code = 0xffff}};
    broken = *prog;
    broken.policy = (struct sock_fprog){.len = 2, .filter = nonsense};
    expect_refusal(&b, ARP_E_UNSUPPORTED, "load seccomp programs");
    seccomp_prog_free(prog);
}

static void launcher_refuses_more_than_fits_its_message(void)
{
    static const char *many[LAUNCHER_VARS_MAX + 2];
    struct arp_err err = {0};
    struct seccomp_prog *prog;
    struct launcher_box b;
    ASSERT_INT(seccomp_compile(SECCOMP_DEFAULT, false, NULL, &prog, &err), 0);
    lab_launcher_box(prog, &b);
    for (size_t i = 0; i <= LAUNCHER_VARS_MAX; i++)
        many[i] = "A=b";
    b.vars = many;
    expect_refusal(&b, ARP_E_IO, "the launcher is gone"); /* it takes no half message */
    seccomp_prog_free(prog);
}

static int without_setpcap(void)
{
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct sets[2];
    struct arp_err err = {0};
    struct launcher *l = NULL;
    if (syscall(SYS_capget, &head, sets) < 0)
        return 1;
    sets[0].effective &= ~(1u << CAP_SETPCAP);
    sets[0].permitted &= ~(1u << CAP_SETPCAP);
    if (syscall(SYS_capset, &head, sets) < 0)
        return 2;
    struct reaper *r = reaper_new();
    int rc = launcher_start(r, &lab.ids, &l, &err);
    return rc == ARP_E_IO && strstr(err.msg, "bounding set") ? 0 : 3;
}

static void launcher_needs_setpcap(void)
{
    struct child c;
    struct arp_err err = {0};
    pid_t pid;
    int status = -1;
    fflush(stdout);
    CU_ASSERT_EQUAL_FATAL(reaper_fork(lab.reaper, &c, &pid, &err), 0);
    if (pid == 0)
        _exit(without_setpcap());
    CU_ASSERT(reaper_wait(lab.reaper, &c, 10000));
    reaper_result(lab.reaper, &c, &status, NULL);
    ASSERT_INT(status, 0);
    reaper_forget(lab.reaper, &c);
}

/* Bytes that are no set-up: the process ends, nothing is confined, nothing runs. */
static void launcher_process_ends_on_a_bogus_message(void)
{
    struct launcher_setup heads[] = {{.policy_len = 5000}, {.policy_len = 10, .vars = 1},
        {.vars = LAUNCHER_VARS_MAX + 1}, {.dirs = 1}, {0}};
    for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
        int pair[2], status = -1;
        struct child c;
        struct arp_err err = {0};
        pid_t pid;
        CU_ASSERT_EQUAL_FATAL(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
        fflush(stdout);
        CU_ASSERT_EQUAL_FATAL(reaper_fork(lab.reaper, &c, &pid, &err), 0);
        if (pid == 0) {
            int page = memfd_create("page", 0);
            if (ftruncate(page, LAUNCHER_PAGE) < 0)
                _exit(99);
            dup2(pair[1], 0);
            dup2(page, 1);
            close(pair[0]);
            _exit(launcher_proc_main());
        }
        close(pair[1]);
        char message[sizeof(struct launcher_setup) + 8] = {0};
        memcpy(message, &heads[i], sizeof(heads[i]));
        /* the last one is complete, but for two bytes too many */
        ASSERT_INT(send(pair[0], message, i == 4 ? sizeof(message) : sizeof(heads[i]), MSG_NOSIGNAL),
            i == 4 ? sizeof(message) : sizeof(heads[i]));
        CU_ASSERT(reaper_wait(lab.reaper, &c, 10000));
        reaper_result(lab.reaper, &c, &status, NULL);
        ASSERT_INT(status, 1 << 8);
        char answer[8];
        ASSERT_INT(recv(pair[0], answer, sizeof(answer), 0), 0);
        reaper_forget(lab.reaper, &c);
        close(pair[0]);
    }
}

static void launcher_that_was_killed_is_told(void)
{
    struct arp_err err = {0};
    struct exec_outcome outcome;
    const char *argv[] = {"true", NULL};
    lab_open(&box, SECCOMP_DEFAULT);
    pid_t pid = launcher_pid(box.launcher);
    CU_ASSERT_FATAL(pid > 0);
    kill(pid, SIGKILL);
    int64_t until = clock_mono_ns() + 5000000000ll;
    while (launcher_alive(box.launcher) && clock_mono_ns() < until)
        usleep(1000);
    CU_ASSERT(!launcher_alive(box.launcher));
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    struct launch launch = {
        .argv = argv, .cwd_fd = lab.work_fd, .in_fd = null, .out_fd = null, .err_fd = null};
    ASSERT_INT(launcher_spawn(box.launcher, &launch, &outcome, &err), ARP_E_IO);
    ASSERT_CONTAINS(err.msg, "the launcher is gone");
    close(null);
    lab_close(&box);
    lab_open(&box, SECCOMP_DEFAULT); /* and the next one works */
    RUN("true");
    ASSERT_INT(run.status, 0);
    lab_run_done(&run);
    lab_close(&box);
}

/* --- what commands can't do --- */

static void commands_can_not_reach_launcher_or_agent(void)
{
    lab_open(&box, SECCOMP_DEFAULT);
    pid_t targets[] = {launcher_pid(box.launcher), getpid()};
    for (int i = 0; i < 2; i++) {
        char pid[16];
        CU_ASSERT_FATAL(targets[i] > 0);
        snprintf(pid, sizeof(pid), "%d", targets[i]);
        RUN(lab.prey, "attack", pid);
        ASSERT_INT(run.status, 0);
        unsigned told = 0;
        for (char *line = strtok(run.out.data, "\n"); line; line = strtok(NULL, "\n")) {
            char name[32];
            int sys_errno;
            CU_ASSERT_EQUAL_FATAL(sscanf(line, "%31s %d", name, &sys_errno), 2);
            told++;
            if (sys_errno != EPERM && sys_errno != EACCES)
                printf("target %d: %s -> %d\n", i, name, sys_errno);
            CU_ASSERT(sys_errno == EPERM || sys_errno == EACCES);
        }
        ASSERT_INT(told, 17);
        CU_ASSERT(launcher_alive(box.launcher));
        lab_run_done(&run);
    }
    lab_sh(&box, "kill -9 -1; kill -9 0", 500, &run);
    CU_ASSERT(launcher_alive(box.launcher));
    lab_run_done(&run);
    RUN("true");
    ASSERT_INT(run.status, 0);
    lab_run_done(&run);
    lab_close(&box);
}

static void commands_write_where_they_may_only(void)
{
    char open_dir[128], want[1200];
    lab_open(&box, SECCOMP_DEFAULT);
    if (landlock_abi() == 0) {
        lab_close(&box);
        return;
    }
    /* Everybody's by its mode. */
    snprintf(open_dir, sizeof(open_dir), "%s/open", lab.root);
    ASSERT_INT(mkdir(open_dir, 0777), 0);
    ASSERT_INT(chmod(open_dir, 0777), 0);
    char outside[160];
    snprintf(outside, sizeof(outside), "%s/x", open_dir);
    RUN(lab.prey, "write", outside, "inside", "/dev/null", "/proc/self/oom_score_adj", "/proc/self/mem",
        "/proc/self/comm", "/tmp/arp-lab-x");
    snprintf(want, sizeof(want),
        "write %s 13\nwrite inside 0\nwrite /dev/null 0\nwrite /proc/self/oom_score_adj 13\nwrite "
        "/proc/self/mem 13\n"
        "write /proc/self/comm 13\nwrite /tmp/arp-lab-x 13\n",
        outside);
    ASSERT_STR(buf_str(&run.out), want);
    lab_run_done(&run);
    /* within and between writable directories, not out of them */
    snprintf(want, sizeof(want),
        "mkdir a b && echo 1 > a/f && mv a/f b/f && cat b/f && ln b/f a/g && mv b/f /dev/shm/arp-lab-$$ && "
        "mv /dev/shm/arp-lab-$$ b/f && echo ok;"
        "mv b/f %s/f 2>/dev/null; ln b/f %s/g 2>/dev/null; ln -s x %s/s 2>/dev/null; mkdir %s/d 2>/dev/null; "
        "ls -A %s; rm -r a b inside",
        open_dir, open_dir, open_dir, open_dir, open_dir);
    lab_sh(&box, want, 500, &run);
    ASSERT_STR(buf_str(&run.out), "1\nok\n");
    lab_run_done(&run);
    lab_close(&box);
}

static void commands_can_not_escape_the_oom_score(void)
{
    lab_open(&box, SECCOMP_DEFAULT);
    lab_sh(&box,
        "cat /proc/self/oom_score_adj; echo 0 > /proc/self/oom_score_adj; cat /proc/self/oom_score_adj", 500,
        &run);
    CU_ASSERT(strncmp(buf_str(&run.out), SANDBOX_OOM_SCORE "\n", 4) == 0);
    const char *last = strrchr(buf_str(&run.out), '\n') - 3;
    ASSERT_STR(last, SANDBOX_OOM_SCORE "\n");
    lab_run_done(&run);
    lab_close(&box);
}

LAB_SUITE(launcher_test, TEST(launcher_reads_its_layers_back), TEST(commands_have_every_layer),
    TEST(commands_start_as_after_login), TEST(launcher_tells_why_a_program_did_not_start),
    TEST(launcher_refuses_a_directory_it_may_not_enter), TEST(launcher_passes_the_longest_command),
    TEST(launcher_refuses_programs_the_kernel_refuses), TEST(launcher_refuses_more_than_fits_its_message),
    TEST(launcher_needs_setpcap), TEST(launcher_process_ends_on_a_bogus_message),
    TEST(launcher_that_was_killed_is_told), TEST(commands_can_not_reach_launcher_or_agent),
    TEST(commands_write_where_they_may_only), TEST(commands_can_not_escape_the_oom_score))
