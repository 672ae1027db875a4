/*
 * Shim lab: see shim_lab.h.
 */
#include "tests/support/shim_lab.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/sh/protocol.h"
#include "shared/clock.h"
#include "shared/fd.h"
#include "tests/support/process.h"

#define WAIT_MS 10000
/* A test whose command does not end fails the program instead of standing still. */
#define TEST_SECONDS 60

static void must(bool good, const char *what)
{
    if (!good) {
        perror(what);
        abort();
    }
}

void shim_lab_copy(const char *to)
{
    char self[512];
    cleanup_buf struct buf bytes;
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    must(n > 0, "readlink");
    self[n] = 0;
    char *end = strstr(self, "/tests/unit/");
    must(end != NULL, "the build folder");
    snprintf(end, sizeof(self) - (size_t)(end - self), "/arp-sh");
    buf_init(&bytes, 16 << 20);
    must(file_read(self, &bytes, NULL) == 0, self);
    int fd = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0755);
    must(fd >= 0 && fd_write_all(fd, bytes.data, bytes.len, NULL) == 0 && fchmod(fd, 0755) == 0, to);
    close(fd);
}

void shim_lab_drop(const struct shim_lab *lab)
{
    if (lab->uid != geteuid())
        must(setgroups(0, NULL) == 0 && setresgid(lab->uid, lab->uid, lab->uid) == 0 &&
                 setresuid(lab->uid, lab->uid, lab->uid) == 0,
            "drop");
}

/* Somebody of the uid lives while the turn goes on. */
static void start_cli(struct shim_lab *lab)
{
    lab->cli = fork();
    must(lab->cli >= 0, "fork");
    if (lab->cli == 0) {
        shim_lab_drop(lab);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (;;)
            pause();
    }
}

void shim_lab_open(struct shim_lab *lab, const char *program, uint64_t max_lines)
{
    struct arp_err err = {0};
    alarm(TEST_SECONDS);
    static uid_t opened;
    /* One of this lab alone: what a failed test left behind is not in the way of the next. */
    uid_t own = 2000000u + 64u * (uid_t)getpid() + opened++ % 64u;
    *lab = (struct shim_lab){.uid = geteuid() == 0 ? own : geteuid()};
    lab->last = &lab->first;
    temp_make(lab->root);
    snprintf(lab->bash, sizeof(lab->bash), "%s/bash", lab->root);
    snprintf(lab->sh, sizeof(lab->sh), "%s/sh", lab->root);
    snprintf(lab->folder, sizeof(lab->folder), "%s/run", lab->root);
    shim_lab_copy(lab->bash);
    must(symlink("bash", lab->sh) == 0, "symlink");
    cleanup_fd int root = open(lab->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    must(root >= 0 && mkdirat(root, "evidence", 0700) == 0, "evidence");
    must(evdir_create(root, "44444444-8a4b-4c5d-9e6f-0a1b2c3d4e5f", &lab->dir, &err) == 0, err.msg);
    struct shim_spec spec = {.dir = &lab->dir,
        .program = program ? program : lab->bash,
        .first_id = 1,
        .max_lines = max_lines,
        .uid = (int)lab->uid,
        .folder = lab->folder};
    must(shim_start(&spec, &lab->shim, &err) == 0, err.msg);
    start_cli(lab);
}

void shim_lab_close(struct shim_lab *lab)
{
    alarm(0);
    if (lab->cli > 0) {
        kill(lab->cli, SIGKILL);
        waitpid(lab->cli, NULL, 0);
    }
    shim_stop(lab->shim);
    shim_events_free(lab->first);
    evdir_close(&lab->dir);
    temp_remove(lab->root);
}

static void take(struct shim_lab *lab)
{
    for (*lab->last = shim_take(lab->shim); *lab->last; lab->last = &(*lab->last)->next) {
        lab->begun += !(*lab->last)->finished;
        lab->ended += (*lab->last)->finished;
    }
}

static bool wait_for(struct shim_lab *lab, const size_t *count, size_t n)
{
    int64_t until = clock_mono_ns() + WAIT_MS * 1000000ll;
    for (;;) {
        take(lab);
        int64_t left = until - clock_mono_ns();
        if (*count >= n || left <= 0)
            return *count >= n;
        struct pollfd p = {.fd = shim_wake_fd(lab->shim), .events = POLLIN};
        poll(&p, 1, (int)(left / 1000000) + 1);
    }
}

bool shim_lab_wait(struct shim_lab *lab, size_t n)
{
    return wait_for(lab, &lab->ended, n);
}

bool shim_lab_wait_begun(struct shim_lab *lab, size_t n)
{
    return wait_for(lab, &lab->begun, n);
}

const struct shim_event *shim_lab_event(const struct shim_lab *lab, bool finished, size_t i)
{
    for (const struct shim_event *e = lab->first; e; e = e->next) {
        if (e->finished == finished && i-- == 0)
            return e;
    }
    return NULL;
}

void shim_job_start(const struct shim_lab *lab, const char *const *argv, struct shim_job *ret)
{
    int in[2], out[2], errs[2];
    char env[160];
    must(pipe2(in, O_CLOEXEC) == 0 && pipe2(out, O_CLOEXEC) == 0 && pipe2(errs, O_CLOEXEC) == 0, "pipe2");
    snprintf(env, sizeof(env), "%s=%s", SH_ENV, shim_socket(lab->shim));
    *ret = (struct shim_job){.pid = fork()};
    must(ret->pid >= 0, "fork");
    if (ret->pid == 0) {
        char *vars[] = {env, (char[]){"PATH=/usr/bin:/bin"}, NULL};
        dup2(in[0], 0);
        dup2(out[1], 1);
        dup2(errs[1], 2);
        must(chdir("/usr") == 0, "chdir");
        for (int sig = 1; sig < SIGSYS; sig++) /* a test in the background of a script ignores SIGINT */
            signal(sig, SIG_DFL);
        shim_lab_drop(lab);
        execve(lab->bash, (char *const *)(uintptr_t)argv, vars);
        _exit(99);
    }
    close(in[0]);
    close(out[1]);
    close(errs[1]);
    ret->in = in[1];
    ret->out = out[0];
    ret->err = errs[0];
}

/* Once more what is there. False at the end of file. */
static bool grow(int fd, char **text, size_t *len)
{
    *text = realloc(*text, *len + 65536 + 1);
    must(*text != NULL, "realloc");
    ssize_t n = read(fd, *text + *len, 65536);
    *len += n > 0 ? (size_t)n : 0;
    (*text)[*len] = 0;
    return n > 0;
}

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

void shim_job_end(struct shim_job *job)
{
    close_fd(&job->in);
    while (job->out >= 0 || job->err >= 0) {
        struct pollfd p[2] = {{.fd = job->out, .events = POLLIN}, {.fd = job->err, .events = POLLIN}};
        poll(p, 2, -1);
        if (p[0].revents && !grow(job->out, &job->out_text, &job->out_len))
            close_fd(&job->out);
        if (p[1].revents && !grow(job->err, &job->err_text, &job->err_len))
            close_fd(&job->err);
    }
    must(waitpid(job->pid, &job->status, 0) == job->pid, "waitpid");
}

void shim_job_done(struct shim_job *job)
{
    close_fd(&job->in);
    close_fd(&job->out);
    close_fd(&job->err);
    free(job->out_text);
    free(job->err_text);
}

void shim_job_run(const struct shim_lab *lab, const char *argv0, const char *script, struct shim_job *ret)
{
    const char *argv[] = {argv0, "-c", script, NULL};
    shim_job_start(lab, argv, ret);
    shim_job_end(ret);
}

int shim_lab_as_peer(const struct shim_lab *lab, int (*work)(const struct shim_lab *lab))
{
    int status;
    pid_t pid = fork();
    must(pid >= 0, "fork");
    if (pid == 0) {
        shim_lab_drop(lab);
        _exit(work(lab));
    }
    must(waitpid(pid, &status, 0) == pid, "waitpid");
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}
