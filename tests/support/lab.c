/*
 * Lab: see lab.h.
 */
#include "tests/support/lab.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent/capture.h"
#include "agent/treekill.h"
#include "shared/clock.h"
#include "shared/fd.h"
#include "tests/support/process.h"
#include "tests/unit/agent/pump.h"

#define SEARCH_PATH "/usr/bin:/bin"
#define RUN_MAX_MS  60000
#define UID_FIRST   1000000u /* above what anybody has an account for */

struct lab lab;

static char var_prey[160], var_static[160], var_bare[160];
static const char *const vars[] = {
    "PATH=" SEARCH_PATH, "HOME=/tmp", "LANG=C.UTF-8", var_prey, var_static, var_bare, NULL};

void lab_sha256(const char *path, char ret_hex[SHA256_HEX_LEN + 1])
{
    cleanup_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || sha256_fd(fd, ret_hex, NULL, NULL) != 0)
        ret_hex[0] = 0;
}

/* Before the pump runs: it would take the status of a shell away from system(3). */
static int compile(const char *flags, const char *source, const char *out, char ret_hex[SHA256_HEX_LEN + 1])
{
    char cmd[512];
    char line[256];
    snprintf(cmd, sizeof(cmd), "cc -O1 -w -D_GNU_SOURCE %s -o %s tests/unit/agent/%s 1>&2 && sha256sum %s",
        flags, out, source, out);
    FILE *f = popen(cmd, "re");
    bool told = f && fgets(line, sizeof(line), f);
    if (!f || pclose(f) != 0 || !told || strlen(line) < SHA256_HEX_LEN)
        return -1;
    memcpy(ret_hex, line, SHA256_HEX_LEN);
    ret_hex[SHA256_HEX_LEN] = 0;
    return 0;
}

/* The agent has no CAP_SYS_PTRACE: with it a recorder would see what it can't see in its container. */
static int drop_ptrace(void)
{
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct sets[2];
    if (syscall(SYS_capget, &head, sets) < 0)
        return -1;
    sets[0].effective &= ~(1u << CAP_SYS_PTRACE);
    sets[0].permitted &= ~(1u << CAP_SYS_PTRACE);
    sets[0].inheritable = 0;
    return (int)syscall(SYS_capset, &head, sets);
}

int lab_set_up(void)
{
    if (geteuid() != 0) {
        printf("these tests need root\n");
        return 1;
    }
    temp_make(lab.root);
    uid_t uid = UID_FIRST + 2 * (uid_t)getpid();
    lab.ids = (struct launcher_ids){.uid = uid, .gid = uid, .own_uid = uid + 1};
    snprintf(lab.work, sizeof(lab.work), "%s/work", lab.root);
    snprintf(lab.prey, sizeof(lab.prey), "%s/prey", lab.root);
    snprintf(lab.prey_static, sizeof(lab.prey_static), "%s/prey-static", lab.root);
    snprintf(lab.bare, sizeof(lab.bare), "%s/bare", lab.root);
    snprintf(var_prey, sizeof(var_prey), "PREY=%s", lab.prey);
    snprintf(var_static, sizeof(var_static), "PREY_STATIC=%s", lab.prey_static);
    snprintf(var_bare, sizeof(var_bare), "BARE=%s", lab.bare);
    if (mkdir(lab.work, 0755) < 0 || chown(lab.work, lab.ids.uid, lab.ids.uid) < 0)
        return 1;
    if (compile("-pthread", "prey.c", lab.prey, lab.prey_sha256) ||
        compile("-pthread -static", "prey.c", lab.prey_static, lab.prey_static_sha256) ||
        compile("-static -nostdlib -ffreestanding -fno-stack-protector -fno-pie -no-pie", "prey_bare.c",
            lab.bare, lab.bare_sha256))
        return 1;
    if (drop_ptrace() < 0)
        return 1;
    lab.work_fd = open(lab.work, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    lab.cache = exehash_new();
    lab.reaper = pump_start();
    return lab.work_fd < 0 || !lab.cache || !lab.reaper;
}

int lab_tear_down(void)
{
    struct arp_err err;
    int rc = tree_kill_wait(lab.ids.uid, 5000, &err);
    temp_remove(lab.root);
    return rc;
}

void lab_launcher_box(const struct seccomp_prog *prog, struct launcher_box *ret)
{
    static const char *writable[] = {NULL, "/dev", "/no/such/directory", NULL};
    writable[0] = lab.work;
    *ret = (struct launcher_box){
        .seccomp = prog, .vars = vars, .writable = writable, .search_path = SEARCH_PATH};
}

void lab_open(struct lab_box *b, enum seccomp_profile p)
{
    struct arp_err err = {0};
    struct launcher_box box;
    int listener = -1;
    *b = (struct lab_box){0};
    ASSERT_INT(seccomp_compile(p, false, NULL, &b->prog, &err), 0);
    ASSERT_INT(launcher_start(lab.reaper, &lab.ids, &b->launcher, &err), 0);
    lab_launcher_box(b->prog, &box);
    int rc = launcher_confine(b->launcher, &box, &b->layers, &listener, &err);
    if (rc)
        printf("confine: %s\n", err.msg);
    CU_ASSERT_EQUAL_FATAL(rc, 0);
    struct recorder_spec spec = {.reaper = lab.reaper,
        .launcher = b->launcher,
        .cache = lab.cache,
        .listener = listener,
        .profile = p,
        .uid = lab.ids.uid,
        .gid = lab.ids.uid};
    CU_ASSERT_EQUAL_FATAL(recorder_start(&spec, &b->recorder, &err), 0);
}

void lab_close(struct lab_box *b)
{
    launcher_stop(b->launcher);
    recorder_stop(b->recorder);
    seccomp_prog_free(b->prog);
    *b = (struct lab_box){0};
}

/* --- a command --- */

static void take(struct lab_box *b, struct lab_run *r)
{
    struct process_record **end = &r->records;
    while (*end)
        end = &(*end)->next;
    *end = recorder_take(b->recorder);
    for (; *end; end = &(*end)->next)
        b->lines++;
}

static bool read_out(int fd, struct lab_run *r)
{
    char text[65536];
    ssize_t n = read(fd, text, sizeof(text));
    if (n > 0)
        buf_append(&r->out, text, (size_t)n);
    return n != 0;
}

/* Until its first process has ended, and then up to linger_ms until nobody holds its output any more. */
static void follow(struct lab_box *b, const struct child *child, int out_fd, int linger_ms, struct lab_run *r)
{
    int64_t until_ns = clock_mono_ns() + RUN_MAX_MS * 1000000ll;
    bool open_out = true;
    bool ended = false;
    while ((open_out || !ended) && clock_mono_ns() < until_ns) {
        struct pollfd p[3] = {{.fd = open_out ? out_fd : -1, .events = POLLIN},
            {.fd = recorder_wake_fd(b->recorder), .events = POLLIN},
            {.fd = ended ? -1 : child->done_fd, .events = POLLIN}};
        poll(p, 3, 20);
        if (p[0].revents)
            open_out = read_out(out_fd, r);
        if (p[1].revents)
            take(b, r);
        if (!ended && reaper_result(lab.reaper, child, &r->status, NULL)) {
            ended = true;
            until_ns = clock_mono_ns() + linger_ms * 1000000ll;
        }
    }
}

void lab_run(struct lab_box *b, const char *const *argv, int linger_ms, struct lab_run *ret)
{
    struct arp_err err = {0};
    struct child child;
    int out[2];
    *ret = (struct lab_run){.status = -1, .first_line = b->lines};
    buf_init(&ret->out, 64u << 20);
    cleanup_fd int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    CU_ASSERT_EQUAL_FATAL(capture_pipe(out, &err), 0);
    CU_ASSERT_EQUAL_FATAL(reaper_prepare(&child, &err), 0);
    struct launch launch = {
        .argv = argv, .cwd_fd = lab.work_fd, .in_fd = null, .out_fd = out[1], .err_fd = out[1]};
    recorder_begin(b->recorder, 7, &launch, &child);
    int rc = launcher_spawn(b->launcher, &launch, &ret->outcome, &err);
    if (rc)
        printf("spawn: %s\n", err.msg);
    CU_ASSERT_EQUAL(rc, 0);
    close(out[1]);
    if (rc == 0 && ret->outcome.stage == EXEC_STARTED)
        follow(b, &child, out[0], linger_ms, ret);
    int64_t until_ns = clock_mono_ns() + linger_ms * 1000000ll;
    while (!recorder_wait_end(b->recorder, 50) && clock_mono_ns() < until_ns)
        take(b, ret);
    CU_ASSERT_EQUAL(tree_kill_wait(lab.ids.uid, 5000, &err), 0);
    until_ns = clock_mono_ns() + 5000000000ll;
    while (!(ret->all_ended = recorder_wait_end(b->recorder, 50)) && clock_mono_ns() < until_ns)
        take(b, ret);
    recorder_finish(b->recorder, &ret->tally);
    take(b, ret);
    struct pollfd left = {.fd = out[0], .events = POLLIN};
    while (poll(&left, 1, 0) > 0 && read_out(out[0], ret))
        ;
    reaper_forget(lab.reaper, &child);
    close(out[0]);
}

void lab_sh(struct lab_box *b, const char *script, int linger_ms, struct lab_run *ret)
{
    const char *argv[] = {"sh", "-c", script, NULL};
    lab_run(b, argv, linger_ms, ret);
}

void lab_run_done(struct lab_run *r)
{
    buf_done(&r->out);
    process_records_free(r->records);
    *r = (struct lab_run){0};
}

/* --- records --- */

unsigned lab_count(const struct lab_run *r, const char *exe)
{
    unsigned n = 0;
    for (const struct process_record *p = r->records; p; p = p->next)
        n += !p->is_exit && (!exe || (p->exe && strcmp(p->exe, exe) == 0));
    return n;
}

const struct process_record *lab_find(const struct lab_run *r, const char *exe)
{
    for (const struct process_record *p = r->records; p; p = p->next) {
        if (!p->is_exit && (!exe || (p->exe && strcmp(p->exe, exe) == 0)))
            return p;
    }
    return NULL;
}

const struct process_record *lab_find_pid(
    const struct lab_run *r, pid_t pid, const char *exe, unsigned *ret_n)
{
    const struct process_record *found = NULL;
    *ret_n = 0;
    for (const struct process_record *p = r->records; p; p = p->next) {
        if (p->is_exit || p->pid != pid || (exe && (!p->exe || strcmp(p->exe, exe) != 0)))
            continue;
        found = p;
        ++*ret_n;
    }
    return found;
}

const struct process_record *lab_exit_of(const struct lab_run *r, const struct process_record *e)
{
    uint64_t line = r->first_line;
    const struct process_record *p = r->records;
    for (; p && p != e; p = p->next)
        line++;
    for (; p; p = p->next) {
        if (p->is_exit && p->exec_line == line)
            return p->pid == e->pid ? p : NULL;
    }
    return NULL;
}

const char *lab_arg(const struct process_record *r, unsigned n)
{
    for (size_t at = 0; at < r->args.len; n--) {
        if (n == 0)
            return r->args.bytes + at;
        at += strnlen(r->args.bytes + at, r->args.len - at) + 1;
    }
    return NULL;
}
