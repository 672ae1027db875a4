/*
 * What the agent's sandbox and recorder cost. PID 1 of a container with the agent's capabilities, linked with the agent's own code
 * (bench/support/testbed.h), so the path measured is the product's: launcher, recorder, capture, logs. Prints samples, one "NAME VALUE" a
 * line; the scripts bench/sandbox.sh and bench/recorder.sh make medians and ratios of them.
 * usage: sandbox_bench serve                     orders from standard input, each answered by samples and the line "done":
 *            commands N [ARGV...]                N times the command (default: true), in each form in turn; microseconds
 *            capture MIB                         one output of that size: captured, piped to cat, hashed only; MiB/s
 *            kill                                a container full of hostile processes: ms of one tree kill, survivors
 *        sandbox_bench workload ROUNDS NAME SETUP COMMAND    shell texts; untimed SETUP, then COMMAND bare, in forms and under strace;
 *            begins with the first line of standard input
 *        sandbox_bench time N ARGV...            on any machine: vfork, exec, wait; microseconds
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "agent/sandbox.h"
#include "agent/treekill.h"
#include "bench/support/testbed.h"
#include "shared/clock.h"
#include "shared/hash.h"

#define LOAD      "/opt/arp/bin/sandbox_load"
#define WORDS_MAX 16
#define WARM      5
#define COMETS    "20"

static void check_status(const struct cost *c, const char *what)
{
    if (WIFEXITED(c->status) && WEXITSTATUS(c->status) == 0)
        return;
    fprintf(stderr, "status %#x of: ", (unsigned)c->status);
    testbed_die(what, NULL);
}

static void pause_ms(long ms)
{
    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
}

/* --- commands --- */

static void bench_commands(struct testbed *t, long n, const char *const *argv)
{
    struct lane *lanes[FORMS];
    struct cost c;
    for (enum form f = 0; f < FORMS; f++)
        lanes[f] = lane_open(t, f);
    for (int i = 0; i < WARM * FORMS; i++) /* digests, pages */
        lane_run(lanes[i % FORMS], argv, &c);
    for (long i = 0; i < n; i++) {
        for (enum form f = 0; f < FORMS; f++) {
            lane_run(lanes[f], argv, &c);
            check_status(&c, argv[0]);
            printf("%s %.1f\n%s_cpu %.1f\n%s_own_cpu %.1f\n", form_names[f], c.wall_us, form_names[f],
                c.command_cpu_us, form_names[f], c.own_cpu_us);
        }
        pause_ms(3); /* with SCHED_RR nobody else runs before */
    }
    for (enum form f = 0; f < FORMS; f++)
        lane_close(lanes[f]);
}

/* --- capture --- */

static double hash_speed(long mib)
{
    static char block[256 << 10];
    char hex[SHA256_HEX_LEN + 1];
    memset(block, 'x', sizeof(block));
    int64_t start_ns = clock_mono_ns();
    cleanup_sha256 struct sha256 *h = sha256_new();
    for (long i = 0; h && i < mib * 4; i++)
        sha256_update(h, block, sizeof(block));
    if (!h)
        testbed_die("out of memory", NULL);
    sha256_hex(h, hex);
    return (double)mib * 1e9 / (double)(clock_mono_ns() - start_ns);
}

static void bench_capture(struct testbed *t, long mib)
{
    char size[24];
    char pipeline[128];
    struct cost c;
    snprintf(size, sizeof(size), "%ld", mib);
    snprintf(pipeline, sizeof(pipeline), LOAD " print %ld | cat >/dev/null", mib);
    const char *print[] = {LOAD, "print", size, NULL};
    const char *cat[] = {"/bin/sh", "-c", pipeline, NULL};
    struct lane *bare = lane_open(t, FORM_BARE);
    struct lane *boxed = lane_open(t, FORM_CONFIRMED);
    printf("sha256 %.0f\n", hash_speed(mib));
    lane_run(bare, cat, &c);
    check_status(&c, "cat");
    printf("cat %.0f\n", (double)mib * 1e6 / c.wall_us);
    lane_run(boxed, print, &c);
    check_status(&c, "print");
    if (c.out_bytes != (uint64_t)mib << 20)
        testbed_die("output was lost", NULL);
    printf("captured_output %.0f\ncaptured_output_per_own_cpu %.0f\n", (double)mib * 1e6 / c.wall_us,
        (double)mib * 1e6 / c.own_cpu_us);
    lane_close(boxed);
    lane_close(bare);
}

/* --- tree kill --- */

/* Until the number of processes stays the same: the container is full. */
static int wait_full(void)
{
    int last = 0;
    for (int same = 0; same < 5;) {
        pause_ms(50);
        int n = tree_count(SANDBOX_UID);
        same = n > 20 && n >= last - 5 ? same + 1 : 0;
        last = n > last ? n : last;
    }
    return last;
}

static void bench_kill(struct testbed *t)
{
    const char *argv[] = {LOAD, "hostile", COMETS, NULL};
    struct arp_err err;
    struct child child;
    struct lane *l = lane_open(t, FORM_CONFIRMED);
    lane_start(l, argv, &child);
    int before = wait_full();
    int64_t start_ns = clock_mono_ns();
    if (tree_kill(SANDBOX_UID, &err) != 0)
        testbed_die("tree kill", &err);
    int64_t signalled_ns = clock_mono_ns();
    int left;
    do
        left = tree_count(SANDBOX_UID);
    while (left > 0 && clock_mono_ns() - start_ns < 2000000000);
    printf("kill_processes %d\nkill_signal_ms %.2f\nkill_gone_ms %.2f\nkill_survivors %d\n", before,
        (double)(signalled_ns - start_ns) / 1e6, (double)(clock_mono_ns() - start_ns) / 1e6, left);
    reaper_forget(t->reaper, &child);
    lane_settle(l);
    lane_close(l);
}

static int serve(struct testbed *t)
{
    char line[512];
    while (fgets(line, sizeof(line), stdin)) {
        const char *words[WORDS_MAX + 1] = {NULL};
        size_t n = 0;
        for (char *save, *w = strtok_r(line, " \n", &save); w && n < WORDS_MAX;
             w = strtok_r(NULL, " \n", &save))
            words[n++] = w;
        const char *const just_true[] = {"true", NULL};
        long number = n > 1 ? strtol(words[1], NULL, 10) : 0;
        if (n > 1 && strcmp(words[0], "commands") == 0)
            bench_commands(t, number, n > 2 ? words + 2 : just_true);
        else if (n == 2 && strcmp(words[0], "capture") == 0)
            bench_capture(t, number);
        else if (n == 1 && strcmp(words[0], "kill") == 0)
            bench_kill(t);
        else
            testbed_die("what order is that?", NULL);
        puts("done");
        fflush(stdout);
    }
    return 0;
}

/* --- workloads --- */

static void print_workload(const char *name, const char *form, const struct cost *c)
{
    printf("%s.%s.wall %.0f\n%s.%s.cpu %.0f\n", name, form, c->wall_us, name, form,
        c->command_cpu_us + c->own_cpu_us);
    if (c->counts.execs > 0)
        printf("%s.execs %llu\n%s.exits %llu\n%s.unconfirmed %llu\n", name,
            (unsigned long long)c->counts.execs, name, (unsigned long long)c->counts.exits, name,
            (unsigned long long)c->counts.unconfirmed);
    fflush(stdout);
}

static int workload(struct testbed *t, long rounds, const char *name, const char *setup, const char *command)
{
    const char *before[] = {"/bin/sh", "-c", setup, NULL};
    const char *argv[] = {"/bin/sh", "-c", command, NULL};
    const char *strace[] = {"strace", "-f", "--seccomp-bpf", "-qq", "-o", "/dev/null", "-e", "trace=execve",
        "--", "/bin/sh", "-c", command, NULL};
    static const enum form forms[] = {FORM_BARE, FORM_CAPTURED, FORM_CONFIRMED};
    struct cost c;
    char go[8];
    if (!fgets(go, sizeof(go), stdin))
        testbed_die("no order to start", NULL);
    for (long i = 0; i <= rounds; i++) {
        for (size_t f = 0; f <= sizeof(forms) / sizeof(forms[0]); f++) {
            bool traced = f == sizeof(forms) / sizeof(forms[0]);
            struct lane *bare = lane_open(t, FORM_BARE);
            lane_run(bare, before, &c);
            check_status(&c, setup);
            lane_close(bare);
            struct lane *l = lane_open(t, traced ? FORM_BARE : forms[f]);
            lane_run(l, traced ? strace : argv, &c);
            check_status(&c, command);
            lane_close(l);
            if (i > 0) /* the first round warms caches */
                print_workload(name, traced ? "strace" : form_names[forms[f]], &c);
            pause_ms(100); /* the others' turn */
        }
    }
    return 0;
}

static int body(struct testbed *t, int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "serve") == 0)
        return serve(t);
    if (argc == 6 && strcmp(argv[1], "workload") == 0)
        return workload(t, strtol(argv[2], NULL, 10), argv[3], argv[4], argv[5]);
    fprintf(stderr, "usage: sandbox_bench serve | workload ROUNDS NAME SETUP COMMAND | time N ARGV...\n");
    return 2;
}

/* --- elsewhere --- */

static int run_once(char **argv, int null)
{
    int status = -1;
    pid_t pid = vfork();
    if (pid == 0) {
        dup2(null, 0);
        dup2(null, 1);
        execvp(argv[0], argv);
        _exit(127);
    }
    waitpid(pid, &status, 0);
    return status;
}

static int time_bare(long n, char **argv)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (long i = 0; null >= 0 && i < n; i++) {
        int64_t start_ns = clock_mono_ns();
        if (run_once(argv, null) != 0)
            testbed_die(argv[0], NULL);
        printf("%.1f\n", (double)(clock_mono_ns() - start_ns) / 1e3);
    }
    return 0;
}

int main(int argc, char **argv)
{
    if (argc > 3 && strcmp(argv[1], "time") == 0)
        return time_bare(strtol(argv[2], NULL, 10), argv + 3);
    return testbed_main(argc, argv, body);
}
