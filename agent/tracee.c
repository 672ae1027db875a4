/*
 * Tracee: see tracee.h.
 */
#include "agent/tracee.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/types.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "shared/buf.h"
#include "shared/fd.h"

#define PAGE  4096u
#define CHUNK PAGE

/* linux/pidfd.h of Linux 6.15; Debian 12's headers are older. */
struct pidfd_info_v2 {
    uint64_t mask;
    uint64_t cgroupid;
    uint32_t pid, tgid, ppid;
    uint32_t ruid, rgid, euid, egid, suid, sgid, fsuid, fsgid;
    int32_t exit_code;
};
#define PIDFD_INFO_PID_BIT   (1ull << 0)
#define PIDFD_INFO_CREDS_BIT (1ull << 1)
#define PIDFD_INFO_EXIT_BIT  (1ull << 3)
#define PIDFD_GET_INFO_V2    _IOWR(0xFF, 11, struct pidfd_info_v2)

static int open_proc(pid_t pid, const char *name, int flags)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
    return open(path, flags | O_CLOEXEC);
}

static char *read_link(const char *path)
{
    char text[TRACEE_PATH_MAX + 1];
    ssize_t n = readlink(path, text, TRACEE_PATH_MAX);
    return n > 0 ? strndup(text, (size_t)n) : NULL;
}

static char *read_proc_link(pid_t pid, const char *name)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
    return read_link(path);
}

char *tracee_path_of(int fd)
{
    char path[64];
    if (fd < 0)
        return NULL;
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    return read_link(path);
}

/* --- memory of a stopped process --- */

/* A window on it: neighbouring strings come with one read. */
struct window {
    int mem_fd;
    uint64_t at;
    size_t len;
    char bytes[CHUNK];
};

/* Bytes at addr, at least one unless the address is not mapped. */
static size_t window_at(struct window *w, uint64_t addr, const char **ret)
{
    if (addr < w->at || addr >= w->at + w->len) {
        /* Up to the page's end first: the next one may not be there. */
        ssize_t n = pread(w->mem_fd, w->bytes, CHUNK, (off_t)addr);
        if (n <= 0)
            n = pread(w->mem_fd, w->bytes, PAGE - addr % PAGE, (off_t)addr);
        w->at = addr;
        w->len = n > 0 ? (size_t)n : 0;
    }
    *ret = w->bytes + (addr - w->at);
    return w->len - (size_t)(addr - w->at);
}

/* Append the string at addr with its NUL. False when it is not readable or does not fit. */
static bool read_text(struct window *w, uint64_t addr, struct buf *out)
{
    for (;;) {
        const char *p;
        size_t n = window_at(w, addr, &p);
        if (n == 0)
            return false;
        const char *end = memchr(p, 0, n);
        if (buf_append(out, p, end ? (size_t)(end - p) + 1 : n) != 0)
            return false;
        if (end)
            return true;
        addr += n;
    }
}

static void read_args(struct window *w, uint64_t argv, struct tracee_args *ret)
{
    struct buf bytes;
    uint64_t pointers[32];
    buf_init(&bytes, TRACEE_ARGV_KEEP);
    bool whole = argv == 0; /* a NULL vector is an empty one */
    for (size_t i = 0; !whole; i++) {
        size_t slot = i % 32;
        if (slot == 0 && pread(w->mem_fd, pointers, sizeof(pointers), (off_t)(argv + i * 8)) < 8) {
            whole = false;
            break;
        }
        if (pointers[slot] == 0)
            whole = true;
        else if (!read_text(w, pointers[slot], &bytes))
            break;
    }
    bytes.error = 0;
    ret->readable = whole || bytes.len > 0;
    ret->len = bytes.len;
    ret->total = bytes.len + (whole ? 0 : 1); /* cut: more than was kept, nobody counts what may be a lie */
    ret->bytes = buf_steal(&bytes);
}

static int open_fd_of(pid_t pid, int fd)
{
    char name[32];
    snprintf(name, sizeof(name), "fd/%d", fd);
    return open_proc(pid, name, O_PATH);
}

bool tracee_is_readable(pid_t pid)
{
    cleanup_fd int fd = open_proc(pid, "mem", O_RDONLY);
    return fd >= 0;
}

void tracee_asked_init(struct tracee_asked *a)
{
    *a = (struct tracee_asked){.fd_number = -1, .file_fd = -1, .base_fd = -1};
}

void tracee_read_asked(pid_t tid, const struct seccomp_data *call, struct tracee_asked *ret)
{
    bool at = call->nr == SYS_execveat;
    uint64_t path_at = call->args[at ? 1 : 0];
    uint64_t argv_at = call->args[at ? 2 : 1];
    int dir = (int)call->args[0];
    struct window w = {.mem_fd = open_proc(tid, "mem", O_RDONLY)};
    struct buf path;
    tracee_asked_init(ret);
    if (w.mem_fd < 0)
        return;
    buf_init(&path, TRACEE_PATH_MAX + 1);
    if (read_text(&w, path_at, &path))
        ret->path = buf_steal(&path);
    buf_done(&path);
    read_args(&w, argv_at, &ret->args);
    close(w.mem_fd);
    if (!ret->path)
        return;
    if (!at || dir == AT_FDCWD) {
        /* Kept, as the process may be gone when its exec is judged. */
        if (ret->path[0] != '/')
            ret->base_fd = open_proc(tid, "cwd", O_PATH | O_DIRECTORY);
        return;
    }
    if (ret->path[0] != '/')
        ret->fd_number = dir;
    if (ret->path[0] == 0)
        ret->file_fd = open_fd_of(tid, dir);
    else if (ret->path[0] != '/')
        ret->base_fd = open_fd_of(tid, dir);
}

/* What a process calls itself is not what we are. */
static const char *path_seen_by(pid_t pid, const char *path, char ret[TRACEE_PATH_MAX + 32])
{
    static const char *const own[][2] = {
        {"/proc/self/", ""}, {"/proc/thread-self/", ""}, {"/dev/fd/", "fd/"}};
    for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++) {
        size_t n = strlen(own[i][0]);
        if (strncmp(path, own[i][0], n) != 0)
            continue;
        snprintf(ret, TRACEE_PATH_MAX + 32, "/proc/%d/%s%s", (int)pid, own[i][1], path + n);
        return ret;
    }
    return path;
}

void tracee_hold(pid_t tid, struct tracee_asked *a)
{
    char own[TRACEE_PATH_MAX + 32];
    if (a->file_fd < 0 && a->path && a->path[0] && (a->path[0] == '/' || a->base_fd >= 0))
        a->file_fd = openat(a->base_fd, path_seen_by(tid, a->path, own), O_PATH | O_CLOEXEC);
}

bool tracee_has_images(void)
{
    char text[4] = "";
    cleanup_fd int fd = open("/proc/sys/kernel/randomize_va_space", O_RDONLY | O_CLOEXEC);
    return fd >= 0 && read(fd, text, sizeof(text) - 1) > 0 && text[0] != '0';
}

uint64_t tracee_image(pid_t pid)
{
    unsigned char vector[1024];
    cleanup_fd int fd = open_proc(pid, "auxv", O_RDONLY);
    ssize_t n = fd < 0 ? -1 : read(fd, vector, sizeof(vector));
    if (n <= 0)
        return 0;
    /* The kernel's copy of what it handed to the program: addresses of stack, vDSO and program, random by some 40 bits each time. FNV-1a. */
    uint64_t h = 0xcbf29ce484222325ull;
    for (ssize_t i = 0; i < n; i++)
        h = (h ^ vector[i]) * 0x100000001b3ull;
    return h ? h : 1;
}

void tracee_asked_done(struct tracee_asked *a)
{
    free(a->path);
    free(a->args.bytes);
    if (a->file_fd >= 0)
        close(a->file_fd);
    if (a->base_fd >= 0)
        close(a->base_fd);
    tracee_asked_init(a);
}

/* The directory a relative path starts from: base_fd, or *ret_cwd, which the caller closes. */
static int start_of(pid_t pid, int base_fd, const char *path, int *ret_cwd)
{
    *ret_cwd = -1;
    if (path[0] == '/')
        return AT_FDCWD;
    if (base_fd >= 0)
        return base_fd;
    *ret_cwd = open_proc(pid, "cwd", O_PATH | O_DIRECTORY);
    return *ret_cwd;
}

int tracee_stat_asked(pid_t pid, const struct tracee_asked *a, struct stat *ret)
{
    if (a->file_fd >= 0)
        return fstat(a->file_fd, ret) < 0 ? errno : 0;
    if (!a->path)
        return ENOENT;
    cleanup_fd int cwd = -1;
    char own[TRACEE_PATH_MAX + 32];
    int from = start_of(pid, a->base_fd, a->path, &cwd);
    return fstatat(from, path_seen_by(pid, a->path, own), ret, 0) < 0 ? errno : 0;
}

int tracee_open(pid_t pid, int base_fd, const char *path)
{
    struct stat st;
    char own[TRACEE_PATH_MAX + 32];
    cleanup_fd int cwd = -1;
    int from = start_of(pid, base_fd, path, &cwd);
    cleanup_fd int fd =
        openat(from, path_seen_by(pid, path, own), O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    return fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) ? fd_steal(&fd) : -1;
}

int tracee_open_asked(pid_t pid, const struct tracee_asked *a)
{
    char path[64];
    struct stat st;
    if (a->file_fd < 0)
        return a->path ? tracee_open(pid, a->base_fd, a->path) : -1;
    snprintf(path, sizeof(path), "/proc/self/fd/%d", a->file_fd);
    if (fstat(a->file_fd, &st) < 0 || !S_ISREG(st.st_mode))
        return -1;
    return open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
}

/* --- what runs --- */

/* 0 or an errno. */
static int stat_exe(pid_t pid, struct stat *ret)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/exe", (int)pid);
    return stat(path, ret) < 0 ? errno : 0;
}

int tracee_open_exe(pid_t pid)
{
    return open_proc(pid, "exe", O_RDONLY | O_NONBLOCK | O_NOCTTY);
}

/* What lies past the kept bytes is hashed and counted. */
static void hash_rest(int fd, struct tracee_args *a)
{
    char chunk[CHUNK];
    cleanup_sha256 struct sha256 *h = sha256_new();
    if (!h)
        return;
    sha256_update(h, a->bytes, a->len);
    ssize_t n;
    while (a->total <= TRACEE_ARGV_MAX && (n = read(fd, chunk, sizeof(chunk))) > 0) {
        sha256_update(h, chunk, (size_t)n);
        a->total += (uint64_t)n;
    }
    if (a->total <= TRACEE_ARGV_MAX)
        sha256_hex(h, a->sha256);
}

static void read_cmdline(pid_t pid, struct tracee_args *ret)
{
    cleanup_fd int fd = open_proc(pid, "cmdline", O_RDONLY);
    char first[CHUNK];
    ssize_t n = fd < 0 ? -1 : read(fd, first, sizeof(first));
    if (n < 0)
        return;
    ret->readable = true;
    /* Most command lines end within the first page. */
    size_t room = n < (ssize_t)sizeof(first) ? (size_t)n : TRACEE_ARGV_KEEP;
    ret->bytes = malloc(room + 1);
    if (!ret->bytes) {
        ret->readable = false;
        return;
    }
    memcpy(ret->bytes, first, (size_t)n);
    ret->len = (size_t)n;
    while (ret->len < room && (n = read(fd, ret->bytes + ret->len, room - ret->len)) > 0)
        ret->len += (size_t)n;
    ret->total = ret->len;
    if (ret->len == TRACEE_ARGV_KEEP)
        hash_rest(fd, ret);
    else
        sha256_hex_of(ret->bytes, ret->len, ret->sha256);
}

void tracee_look(pid_t pid, struct tracee_seen *ret)
{
    *ret = (struct tracee_seen){0};
    if (stat_exe(pid, &ret->exe_stat) != 0)
        ret->exe_stat = (struct stat){0};
    ret->exe = read_proc_link(pid, "exe");
    ret->cwd = read_proc_link(pid, "cwd");
    read_cmdline(pid, &ret->args);
}

void tracee_seen_done(struct tracee_seen *s)
{
    free(s->exe);
    free(s->cwd);
    free(s->args.bytes);
    *s = (struct tracee_seen){0};
}

/* --- ids and ends --- */

/* A member of /proc/PID/status as a number. */
static bool status_number(pid_t pid, const char *name, unsigned *ret)
{
    char text[1024]; /* the members looked for are among the first ten */
    cleanup_fd int fd = open_proc(pid, "status", O_RDONLY);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
    if (n <= 0)
        return false;
    text[n] = 0;
    const char *at = strstr(text, name);
    return at && sscanf(at + strlen(name), "%u", ret) == 1;
}

bool tracee_ids(pid_t pid, int pidfd, struct tracee_ids *ret)
{
    struct pidfd_info_v2 info = {.mask = PIDFD_INFO_PID_BIT | PIDFD_INFO_CREDS_BIT};
    cleanup_fd int own = pidfd < 0 ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;
    if (own >= 0)
        pidfd = own;
    if (pidfd >= 0 && ioctl(pidfd, PIDFD_GET_INFO_V2, &info) == 0 && (info.mask & PIDFD_INFO_CREDS_BIT)) {
        *ret = (struct tracee_ids){.tgid = (pid_t)info.tgid, .ppid = (pid_t)info.ppid, .uid = info.ruid};
        return true;
    }
    unsigned tgid, ppid, uid; /* before Linux 6.13, and for threads */
    if (!status_number(pid, "\nTgid:", &tgid) || !status_number(pid, "\nPPid:", &ppid) ||
        !status_number(pid, "\nUid:", &uid))
        return false;
    *ret = (struct tracee_ids){.tgid = (pid_t)tgid, .ppid = (pid_t)ppid, .uid = uid};
    return true;
}

bool tracee_is_traced(pid_t pid)
{
    unsigned tracer;
    return status_number(pid, "\nTracerPid:", &tracer) && tracer != 0;
}

bool tracee_exit_status(int pidfd, int *ret_status)
{
    struct pidfd_info_v2 info = {.mask = PIDFD_INFO_EXIT_BIT};
    if (ioctl(pidfd, PIDFD_GET_INFO_V2, &info) < 0 || !(info.mask & PIDFD_INFO_EXIT_BIT))
        return false;
    *ret_status = info.exit_code;
    return true;
}

bool tracee_tells_exit(void)
{
    /* Linux 6.13 and 6.14 know the request but not this bit, and ignore it: only their release tells them apart. */
    cleanup_fd int self = (int)syscall(SYS_pidfd_open, getpid(), 0);
    struct pidfd_info_v2 info = {.mask = PIDFD_INFO_EXIT_BIT};
    if (self < 0 || ioctl(self, PIDFD_GET_INFO_V2, &info) < 0)
        return false;
    char release[16] = {0};
    cleanup_fd int fd = open("/proc/sys/kernel/osrelease", O_RDONLY | O_CLOEXEC);
    int major, minor;
    if (fd < 0 || read(fd, release, sizeof(release) - 1) <= 0 ||
        sscanf(release, "%d.%d", &major, &minor) != 2)
        return false;
    return major > 6 || (major == 6 && minor >= 15);
}
