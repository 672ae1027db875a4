/*
 * Tests of agent/shim.c with the real arp-sh: what the CLI sees and what the record says are what the shell did.
 */
#include "agent/shim.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shared/clock.h"
#include "shared/fd.h"
#include "tests/support/shim_lab.h"
#include "tests/support/suite.h"

static void assert_digest(const struct capture_stream *s, const char *text, size_t len)
{
    char hex[SHA256_HEX_LEN + 1];
    sha256_hex_of(text, len, hex);
    ASSERT_STR(s->sha256, hex);
    ASSERT_INT(s->bytes, len);
}

static long long blob_size(const struct shim_lab *lab, const char *hex)
{
    char name[SHA256_HEX_LEN + 8];
    struct stat st;
    snprintf(name, sizeof(name), "sha256-%s", hex);
    return fstatat(lab->dir.blobs_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 ? st.st_size : -1;
}

/* Dead, though nobody may have asked for its status yet. */
static bool is_dead(pid_t pid)
{
    for (int i = 0; i < 1000; i++) {
        char path[32], text[512] = "";
        snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        ssize_t n = fd >= 0 ? read(fd, text, sizeof(text) - 1) : 0;
        if (fd >= 0)
            close(fd);
        if (n <= 0 || strstr(text, ") Z"))
            return true;
        usleep(20000);
    }
    return false;
}

static int64_t now_ms(void)
{
    return clock_mono_ns() / 1000000;
}

static void streams_exit_code_and_words_are_recorded(void)
{
    struct shim_lab lab;
    struct shim_job job;
    static const char *const script = "echo out; echo err >&2; exit 7";
    shim_lab_open(&lab, NULL, 10);
    shim_job_run(&lab, lab.bash, script, &job);
    ASSERT_STR(job.out_text, "out\n");
    ASSERT_STR(job.err_text, "err\n");
    ASSERT_INT(WEXITSTATUS(job.status), 7);
    /* The record stood before the CLI saw the end. */
    ASSERT_TRUE(shim_lab_wait(&lab, 1));
    const struct shim_event *begin = lab.first, *end = lab.first->next;
    ASSERT_TRUE(!begin->finished && end->finished && !end->next);
    ASSERT_INT(begin->id, 1);
    ASSERT_INT(end->id, 1);
    ASSERT_TRUE(begin->pid > 0 && begin->pid != job.pid && end->pid == begin->pid);
    ASSERT_STR(begin->command.text, script);
    ASSERT_TRUE(begin->command.shell);
    ASSERT_INT(begin->command.argc, 3);
    ASSERT_STR(begin->command.argv[0], "/bin/bash");
    ASSERT_STR(begin->cwd, "/usr");
    ASSERT_STR(end->ts, begin->ts);
    ASSERT_INT(end->exit_code, 7);
    ASSERT_INT(end->signal, 0);
    ASSERT_STR(end->error, "");
    ASSERT_TRUE(!end->abandoned && !end->incomplete && end->io.ended);
    ASSERT_TRUE(end->io.usage.ru_maxrss > 0);
    assert_digest(&end->io.out, "out\n", 4);
    assert_digest(&end->io.err, "err\n", 4);
    ASSERT_INT(blob_size(&lab, end->io.out.blob_sha256), 4);
    struct cmd_rec rec;
    char name[SIGNAL_NAME_MAX];
    shim_event_rec(end, name, &rec);
    ASSERT_STR(rec.origin, "shim");
    ASSERT_INT(rec.pid, begin->pid);
    ASSERT_INT(rec.exit_code, 7);
    ASSERT_TRUE(!rec.signal && !rec.tally && !rec.error);
    shim_job_done(&job);
    shim_lab_close(&lab);
}

static void the_shell_gets_what_it_was_called_with(void)
{
    struct shim_lab lab;
    struct shim_job job;
    shim_lab_open(&lab, NULL, 10);
    const char *script[] = {"sh", "-s", "a b", NULL};
    shim_job_start(&lab, script, &job);
    ASSERT_INT(write(job.in, "echo $0 $1\n", 11), 11);
    shim_job_end(&job);
    ASSERT_STR(job.out_text, "/bin/sh a b\n");
    shim_job_done(&job);
    const char *login[] = {"-bash", "-c", "shopt -q login_shell && echo login; echo $X", NULL};
    shim_job_start(&lab, login, &job);
    shim_job_end(&job);
    ASSERT_STR(job.out_text, "login\n\n");
    shim_job_done(&job);
    /* Who opens its own streams by name may. */
    shim_job_run(&lab, "sh", "echo 1 >/dev/stdout; echo 2 >/dev/stderr", &job);
    ASSERT_STR(job.out_text, "1\n");
    ASSERT_STR(job.err_text, "2\n");
    shim_job_done(&job);
    ASSERT_TRUE(shim_lab_wait(&lab, 3));
    ASSERT_STR(shim_lab_event(&lab, false, 0)->command.text, "/bin/sh -s 'a b'");
    ASSERT_TRUE(!shim_lab_event(&lab, false, 0)->command.shell);
    ASSERT_STR(shim_lab_event(&lab, false, 1)->command.argv[0], "-bash");
    shim_lab_close(&lab);
}

/* Descriptors that the CLI closed are closed for the shell, and not in the way. */
static void closed_descriptors_stay_closed(void)
{
    struct shim_lab lab;
    struct shim_job job;
    shim_lab_open(&lab, NULL, 10);
    char script[256];
    snprintf(script, sizeof(script), "exec <&-; exec %s -c '[ -e /proc/self/fd/0 ] && echo open; echo ok'",
        lab.bash);
    const char *argv[] = {"sh", "-c", script, NULL};
    shim_job_start(&lab, argv, &job);
    shim_job_end(&job);
    ASSERT_STR(job.out_text, "ok\n");
    shim_job_done(&job);
    shim_lab_close(&lab);
}

static void exit_codes_and_signals_pass_through(void)
{
    static const int codes[] = {0, 1, 126, 127, 255};
    static const int signals[] = {SIGTERM, SIGKILL, SIGSEGV, SIGHUP};
    struct shim_lab lab;
    struct shim_job job;
    char script[64];
    shim_lab_open(&lab, NULL, 20);
    for (size_t i = 0; i < 5; i++) {
        snprintf(script, sizeof(script), "exit %d", codes[i]);
        shim_job_run(&lab, lab.sh, script, &job);
        ASSERT_TRUE(WIFEXITED(job.status));
        ASSERT_INT(WEXITSTATUS(job.status), codes[i]);
        shim_job_done(&job);
        ASSERT_TRUE(shim_lab_wait(&lab, i + 1));
        ASSERT_INT(shim_lab_event(&lab, true, i)->exit_code, codes[i]);
    }
    for (size_t i = 0; i < 4; i++) {
        snprintf(script, sizeof(script), "echo before; kill -%d $$", signals[i]);
        shim_job_run(&lab, lab.sh, script, &job);
        ASSERT_TRUE(WIFSIGNALED(job.status));
        ASSERT_INT(WTERMSIG(job.status), signals[i]);
        ASSERT_STR(job.out_text, "before\n");
        shim_job_done(&job);
        ASSERT_TRUE(shim_lab_wait(&lab, 6 + i));
        ASSERT_INT(shim_lab_event(&lab, true, 5 + i)->exit_code, 128 + signals[i]);
        ASSERT_INT(shim_lab_event(&lab, true, 5 + i)->signal, signals[i]);
    }
    shim_lab_close(&lab);
}

static void large_output_arrives_whole(void)
{
    static const size_t size = 10 << 20;
    struct shim_lab lab;
    struct shim_job job;
    shim_lab_open(&lab, NULL, 10);
    shim_job_run(&lab, lab.bash, "head -c 10485760 /dev/urandom | tee /dev/stderr", &job);
    ASSERT_INT(WEXITSTATUS(job.status), 0);
    ASSERT_INT(job.out_len, size);
    ASSERT_INT(job.err_len, size);
    ASSERT_TRUE(memcmp(job.out_text, job.err_text, size) == 0);
    ASSERT_TRUE(shim_lab_wait(&lab, 1));
    const struct shim_event *e = shim_lab_event(&lab, true, 0);
    assert_digest(&e->io.out, job.out_text, size);
    assert_digest(&e->io.err, job.out_text, size);
    ASSERT_INT(blob_size(&lab, e->io.out.blob_sha256), size);
    shim_job_done(&job);
    shim_lab_close(&lab);
}

/* More than every pipe holds waits for a CLI that takes its time, and nothing is cut off. */
static void a_slow_reader_gets_everything(void)
{
    struct shim_lab lab;
    struct shim_job job;
    const char *argv[] = {"sh", "-c", "head -c 100000 /dev/zero; printf end", NULL};
    shim_lab_open(&lab, NULL, 10);
    shim_job_start(&lab, argv, &job);
    usleep(700000); /* the shell may have ended long ago */
    shim_job_end(&job);
    ASSERT_INT(job.out_len, 100003);
    ASSERT_STR(job.out_text + 100000, "end");
    ASSERT_INT(WEXITSTATUS(job.status), 0);
    shim_job_done(&job);
    shim_lab_close(&lab);
}

static void twenty_commands_at_once_are_told_apart(void)
{
    struct shim_lab lab;
    struct shim_job jobs[20];
    char scripts[20][96];
    bool seen[21] = {false};
    shim_lab_open(&lab, NULL, 100);
    for (int i = 0; i < 20; i++) {
        snprintf(
            scripts[i], sizeof(scripts[i]), "for k in $(seq 50); do echo line %d $k; done; exit %d", i, i);
        const char *argv[] = {"bash", "-c", scripts[i], NULL};
        shim_job_start(&lab, argv, &jobs[i]);
    }
    for (int i = 0; i < 20; i++)
        shim_job_end(&jobs[i]);
    ASSERT_TRUE(shim_lab_wait(&lab, 20));
    for (size_t k = 0; k < 20; k++) {
        const struct shim_event *e = shim_lab_event(&lab, true, k);
        int i = e->exit_code;
        ASSERT_TRUE(i >= 0 && i < 20 && e->id >= 1 && e->id <= 20 && !seen[e->id]);
        seen[e->id] = true;
        ASSERT_STR(e->command.text, scripts[i]);
        ASSERT_INT(WEXITSTATUS(jobs[i].status), i);
        assert_digest(&e->io.out, jobs[i].out_text, jobs[i].out_len);
        ASSERT_INT(shim_lab_event(&lab, false, k)->id, k + 1); /* ids in order of start */
    }
    for (int i = 0; i < 20; i++)
        shim_job_done(&jobs[i]);
    shim_lab_close(&lab);
}

/* Start a command that sleeps, and wait for its pid. */
static pid_t start_sleeper(struct shim_lab *lab, struct shim_job *job)
{
    const char *argv[] = {"bash", "-c", "echo on; exec sleep 100", NULL};
    char word[3];
    shim_job_start(lab, argv, job);
    ASSERT_INT(read(job->out, word, 3), 3);
    ASSERT_TRUE(shim_lab_wait_begun(lab, 1));
    return shim_lab_event(lab, false, 0)->pid;
}

static void a_killed_shim_takes_its_shell_along(void)
{
    struct shim_lab lab;
    struct shim_job job;
    shim_lab_open(&lab, NULL, 10);
    pid_t shell = start_sleeper(&lab, &job);
    kill(job.pid, SIGKILL);
    shim_job_end(&job);
    ASSERT_INT(WTERMSIG(job.status), SIGKILL);
    ASSERT_TRUE(shim_lab_wait(&lab, 1));
    const struct shim_event *e = shim_lab_event(&lab, true, 0);
    ASSERT_INT(e->exit_code, -1);
    ASSERT_STR(e->error, "shell shim was killed");
    ASSERT_TRUE(!e->abandoned);
    assert_digest(&e->io.out, "on\n", 3);
    ASSERT_TRUE(is_dead(shell));
    shim_job_done(&job);
    shim_lab_close(&lab);
}

/* Descriptors in all epoll sets of this process. */
static size_t watched(void)
{
    size_t n = 0;
    char path[64], target[64], line[256];
    for (int fd = 3; fd < 256; fd++) {
        snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        ssize_t len = readlink(path, target, sizeof(target) - 1);
        if (len < 0 || strncmp(target, "anon_inode:[eventpoll]", (size_t)len) != 0)
            continue;
        snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
        FILE *f = fopen(path, "re");
        while (f && fgets(line, sizeof(line), f))
            n += strncmp(line, "tfd:", 4) == 0;
        if (f)
            fclose(f);
    }
    return n;
}

/* How many are watched, once they are so few: a command is told of a moment before all of it is let go. After ten seconds, what there is. */
static size_t watched_at_last(size_t few)
{
    int64_t until = clock_mono_ns() + 10000000000;
    size_t n;
    while ((n = watched()) > few && clock_mono_ns() < until)
        usleep(1000);
    return n;
}

/* The agent forks helpers while commands run: until its exec such a child has a copy of each pipe. */
static void what_is_over_is_watched_no_more_though_a_fork_has_a_copy(void)
{
    struct shim_lab lab;
    struct shim_job job;
    shim_lab_open(&lab, NULL, 10);
    size_t before = watched();
    pid_t shell = start_sleeper(&lab, &job);
    ASSERT_TRUE(watched() > before);
    pid_t copy = fork();
    if (copy == 0) {
        pause();
        _exit(0);
    }
    kill(shell, SIGKILL);
    ASSERT_TRUE(shim_lab_wait(&lab, 1));
    size_t after = watched_at_last(before);
    kill(copy, SIGKILL);
    waitpid(copy, NULL, 0);
    ASSERT_INT(after, before);
    shim_job_end(&job);
    shim_job_done(&job);
    shim_lab_close(&lab);
}

static void a_killed_shell_ends_the_command(void)
{
    struct shim_lab lab;
    struct shim_job job;
    shim_lab_open(&lab, NULL, 10);
    kill(start_sleeper(&lab, &job), SIGKILL);
    shim_job_end(&job);
    ASSERT_INT(WTERMSIG(job.status), SIGKILL);
    ASSERT_TRUE(shim_lab_wait(&lab, 1));
    ASSERT_INT(shim_lab_event(&lab, true, 0)->exit_code, 128 + SIGKILL);
    shim_job_done(&job);
    shim_lab_close(&lab);
}

static void signals_go_to_the_shell(void)
{
    static const int signals[] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1};
    struct shim_lab lab;
    shim_lab_open(&lab, NULL, 10);
    for (size_t i = 0; i < 5; i++) {
        struct shim_job job;
        char script[128], word[3];
        snprintf(script, sizeof(script), "trap 'echo got; exit 3' %d; echo on; while :; do sleep 0.02; done",
            signals[i]);
        const char *argv[] = {"bash", "-c", script, NULL};
        shim_job_start(&lab, argv, &job);
        ASSERT_INT(read(job.out, word, 3), 3);
        kill(job.pid, signals[i]);
        shim_job_end(&job);
        ASSERT_INT(WEXITSTATUS(job.status), 3);
        ASSERT_STR(job.out_text, "got\n");
        shim_job_done(&job);
    }
    shim_lab_close(&lab);
}

/* The CLI gets its answer, the record gets the rest. */
static void a_background_process_holds_up_the_record_only(void)
{
    struct shim_lab lab;
    struct shim_job job;
    char fifo[96], script[192];
    shim_lab_open(&lab, NULL, 10);
    snprintf(fifo, sizeof(fifo), "%s/fifo", lab.root);
    ASSERT_INT(mkfifo(fifo, 0600), 0);
    ASSERT_INT(chown(fifo, lab.uid, lab.uid), 0);
    cleanup_fd int word = open(fifo, O_RDWR | O_CLOEXEC);
    snprintf(script, sizeof(script), "(read -r x <%s; echo late) & echo now; exit 4", fifo);
    int64_t start = now_ms();
    shim_job_run(&lab, lab.bash, script, &job);
    int64_t took_ms = now_ms() - start;
    ASSERT_STR(job.out_text, "now\n");
    ASSERT_INT(WEXITSTATUS(job.status), 4);
    ASSERT_TRUE(shim_lab_wait_begun(&lab, 1));
    ASSERT_INT(lab.ended, 0);
    usleep(300000); /* of which the command knows nothing */
    ASSERT_INT(write(word, "\n", 1), 1);
    ASSERT_TRUE(shim_lab_wait(&lab, 1));
    const struct shim_event *e = shim_lab_event(&lab, true, 0);
    assert_digest(&e->io.out, "now\nlate\n", 9);
    ASSERT_INT(e->exit_code, 4);
    ASSERT_TRUE(e->duration_ms <= took_ms + 1);
    shim_job_done(&job);
    shim_job_run(&lab, lab.bash, "sleep 30 & echo $!", &job);
    ASSERT_INT(WEXITSTATUS(job.status), 0);
    shim_close(lab.shim); /* the turn is over before it ends */
    ASSERT_TRUE(shim_lab_wait(&lab, 2));
    e = shim_lab_event(&lab, true, 1);
    ASSERT_INT(e->exit_code, 0);
    ASSERT_TRUE(!e->abandoned);
    kill((pid_t)strtol(job.out_text, NULL, 10), SIGKILL);
    shim_job_done(&job);
    shim_lab_close(&lab);
}

static void output_nobody_reads_is_recorded(void)
{
    struct shim_lab lab;
    struct shim_job job;
    const char *argv[] = {"sh", "-c", "head -c 300000 /dev/zero; echo $? >&2", NULL};
    shim_lab_open(&lab, NULL, 10);
    shim_job_start(&lab, argv, &job);
    close(job.out);
    job.out = -1;
    shim_job_end(&job);
    ASSERT_STR(job.err_text, "0\n");
    ASSERT_INT(WEXITSTATUS(job.status), 0);
    ASSERT_TRUE(shim_lab_wait(&lab, 1));
    char *zeros = calloc(1, 300000);
    assert_digest(&shim_lab_event(&lab, true, 0)->io.out, zeros, 300000);
    free(zeros);
    shim_job_done(&job);
    shim_lab_close(&lab);
}

/* A shell that the shell of a command starts by its name is a command too. */
static void nested_shells_are_commands_of_their_own(void)
{
    struct shim_lab lab;
    struct shim_job job;
    char script[160];
    shim_lab_open(&lab, NULL, 10);
    snprintf(script, sizeof(script), "echo a; %s -c 'echo b; exit 5'; echo $?", lab.sh);
    shim_job_run(&lab, lab.bash, script, &job);
    ASSERT_STR(job.out_text, "a\nb\n5\n");
    ASSERT_TRUE(shim_lab_wait(&lab, 2));
    ASSERT_STR(shim_lab_event(&lab, true, 0)->command.text, "echo b; exit 5");
    ASSERT_INT(shim_lab_event(&lab, true, 0)->id, 2);
    assert_digest(&shim_lab_event(&lab, true, 1)->io.out, "a\nb\n5\n", 6);
    shim_job_done(&job);
    shim_lab_close(&lab);
}

static void without_a_server_nothing_runs(void)
{
    struct shim_lab lab;
    struct shim_job job;
    char script[128];
    struct stat st;
    shim_lab_open(&lab, NULL, 10);
    shim_close(lab.shim);
    snprintf(script, sizeof(script), "echo run >/tmp/arp-shim-ran-%d", (int)getpid());
    shim_job_run(&lab, lab.bash, script, &job);
    ASSERT_INT(WEXITSTATUS(job.status), 126);
    ASSERT_CONTAINS(job.err_text, "arp-sh: no agent records commands here now");
    ASSERT_CONTAINS(job.err_text, "the command was not run");
    ASSERT_INT(stat(script + 10, &st), -1);
    shim_job_done(&job);
    shim_lab_close(&lab);
}

static void commands_past_the_limits_are_refused(void)
{
    struct shim_lab lab;
    struct shim_job job;
    shim_lab_open(&lab, NULL, 2);
    for (int i = 0; i < 3; i++) {
        shim_job_run(&lab, lab.bash, "echo hi", &job);
        ASSERT_INT(WEXITSTATUS(job.status), i < 2 ? 0 : 126);
        shim_job_done(&job);
    }
    shim_close(lab.shim);
    ASSERT_TRUE(shim_lab_wait(&lab, 2));
    ASSERT_INT(lab.begun, 2);
    shim_lab_close(&lab);
    char *long_word = malloc(LIMIT_ARGV_BYTES + 1);
    memset(long_word, 'x', LIMIT_ARGV_BYTES);
    long_word[LIMIT_ARGV_BYTES] = 0;
    memcpy(long_word, ": ", 2);
    shim_lab_open(&lab, NULL, 10);
    shim_job_run(&lab, lab.bash, long_word, &job);
    ASSERT_INT(WEXITSTATUS(job.status), 126);
    ASSERT_CONTAINS(job.err_text, "can't be recorded");
    shim_job_done(&job);
    long_word[LIMIT_ARGV_BYTES - 32] = 0;
    shim_job_run(&lab, lab.bash, long_word, &job);
    ASSERT_INT(WEXITSTATUS(job.status), 0);
    shim_job_done(&job);
    free(long_word);
    shim_lab_close(&lab);
}

static void more_open_commands_than_allowed_are_refused(void)
{
    struct shim_lab lab;
    struct shim_job jobs[SHIM_OPEN_MAX], job;
    const char *argv[] = {"sh", "-c", "read x; exit 9", NULL};
    shim_lab_open(&lab, NULL, 100);
    for (int i = 0; i < SHIM_OPEN_MAX; i++)
        shim_job_start(&lab, argv, &jobs[i]);
    ASSERT_TRUE(shim_lab_wait_begun(&lab, SHIM_OPEN_MAX));
    shim_job_run(&lab, lab.sh, "echo hi", &job);
    ASSERT_INT(WEXITSTATUS(job.status), 126);
    ASSERT_CONTAINS(job.err_text, "too many commands");
    shim_job_done(&job);
    for (int i = 0; i < SHIM_OPEN_MAX; i++) {
        shim_job_end(&jobs[i]);
        ASSERT_INT(WEXITSTATUS(jobs[i].status), 9);
        shim_job_done(&jobs[i]);
    }
    shim_job_run(&lab, lab.sh, "echo hi", &job);
    ASSERT_INT(WEXITSTATUS(job.status), 0);
    shim_job_done(&job);
    shim_lab_close(&lab);
}

/* A run thread that is busy holds new commands up; it loses none. */
static void commands_wait_for_the_run_thread(void)
{
    struct shim_lab lab;
    struct shim_job job;
    const char *argv[] = {"sh", "-c", ":", NULL};
    shim_lab_open(&lab, NULL, 100);
    for (int i = 0; i < 32; i++) { /* 64 events, which nobody takes */
        shim_job_run(&lab, lab.sh, ":", &job);
        shim_job_done(&job);
    }
    shim_job_start(&lab, argv, &job);
    usleep(300000);
    ASSERT_INT(waitpid(job.pid, NULL, WNOHANG), 0);
    ASSERT_TRUE(shim_lab_wait(&lab, 32));
    shim_job_end(&job);
    ASSERT_INT(WEXITSTATUS(job.status), 0);
    ASSERT_TRUE(shim_lab_wait(&lab, 33));
    shim_job_done(&job);
    shim_lab_close(&lab);
}

static void an_open_command_is_abandoned_with_the_turn(void)
{
    struct shim_lab lab;
    struct shim_job job;
    shim_lab_open(&lab, NULL, 10);
    pid_t shell = start_sleeper(&lab, &job);
    shim_close(lab.shim);
    ASSERT_TRUE(shim_lab_wait(&lab, 1));
    const struct shim_event *e = shim_lab_event(&lab, true, 0);
    ASSERT_TRUE(e->abandoned);
    ASSERT_INT(e->exit_code, -1);
    ASSERT_STR(e->error, "");
    assert_digest(&e->io.out, "on\n", 3);
    shim_job_end(&job); /* what is not recorded does not go on */
    ASSERT_INT(WEXITSTATUS(job.status), 126);
    ASSERT_CONTAINS(job.err_text, "the agent is gone; the command was ended");
    ASSERT_TRUE(is_dead(shell));
    shim_job_done(&job);
    shim_lab_close(&lab);
}

/* As the kill of the whole tree does it: the hang-up comes before shim_close. */
static void a_command_that_dies_with_its_cli_is_abandoned(void)
{
    struct shim_lab lab;
    struct shim_job job;
    shim_lab_open(&lab, NULL, 10);
    if (lab.uid != geteuid()) { /* else this process, which goes on, is of the uid */
        pid_t shell = start_sleeper(&lab, &job);
        kill(lab.cli, SIGKILL);
        kill(job.pid, SIGKILL);
        kill(shell, SIGKILL);
        waitpid(lab.cli, NULL, 0);
        lab.cli = 0;
        shim_job_end(&job);
        ASSERT_TRUE(shim_lab_wait(&lab, 1));
        ASSERT_TRUE(shim_lab_event(&lab, true, 0)->abandoned);
        shim_job_done(&job);
    }
    shim_lab_close(&lab);
}

static void copy_file(const char *from, const char *to)
{
    struct arp_err err;
    cleanup_buf struct buf bytes;
    buf_init(&bytes, 16u << 20);
    cleanup_fd int fd = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    ASSERT_INT(file_read(from, &bytes, &err), 0);
    ASSERT_INT(fd_write_all(fd, bytes.data, bytes.len, &err), 0);
}

static void the_probe_compares_the_login_shell(void)
{
    struct shim_lab lab;
    struct arp_err err;
    char copy[96];
    shim_lab_open(&lab, NULL, 10);
    ASSERT_INT(shim_probe("/bin/bash", 0, &err), 0); /* root's shell on Debian */
    snprintf(copy, sizeof(copy), "%s/copy", lab.root);
    copy_file("/bin/bash", copy);
    ASSERT_INT(shim_probe(copy, 0, &err), 0); /* another file of the same bytes */
    ASSERT_INT(shim_probe(lab.bash, 0, &err), ARP_E_UNSUPPORTED);
    ASSERT_CONTAINS(err.msg, "is not the shell shim");
    ASSERT_INT(shim_probe("/nowhere/bash", 0, &err), ARP_E_UNSUPPORTED);
    ASSERT_INT(shim_probe(lab.bash, 987654321, &err), ARP_E_UNSUPPORTED);
    ASSERT_CONTAINS(err.msg, "no entry of uid 987654321");
    shim_lab_close(&lab);
}

TEST_SUITE(shim_test, TEST(streams_exit_code_and_words_are_recorded),
    TEST(the_shell_gets_what_it_was_called_with), TEST(closed_descriptors_stay_closed),
    TEST(exit_codes_and_signals_pass_through), TEST(large_output_arrives_whole),
    TEST(a_slow_reader_gets_everything), TEST(twenty_commands_at_once_are_told_apart),
    TEST(a_killed_shim_takes_its_shell_along), TEST(a_killed_shell_ends_the_command),
    TEST(what_is_over_is_watched_no_more_though_a_fork_has_a_copy), TEST(signals_go_to_the_shell),
    TEST(a_background_process_holds_up_the_record_only), TEST(output_nobody_reads_is_recorded),
    TEST(nested_shells_are_commands_of_their_own), TEST(without_a_server_nothing_runs),
    TEST(commands_past_the_limits_are_refused), TEST(more_open_commands_than_allowed_are_refused),
    TEST(commands_wait_for_the_run_thread), TEST(an_open_command_is_abandoned_with_the_turn),
    TEST(a_command_that_dies_with_its_cli_is_abandoned), TEST(the_probe_compares_the_login_shell))
