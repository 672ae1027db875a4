/*
 * Outputs: see outputs.h.
 */
#include "agent/outputs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/pathset.h"
#include "shared/clock.h"
#include "shared/fd.h"
#include "shared/json.h"
#include "shared/limits.h"
#include "shared/utf8.h"

#define HASH_CHUNK (256u << 10)
/* Names between two looks at the clock. */
#define IDLE_NAMES 4096

struct manifest {
    const struct outputs_spec *spec;
    struct pathset paths;
    uint64_t names; /* looked at */
    uint64_t total; /* entries found, also those not listed */
    uint64_t listed;
    uint64_t hashed_bytes;
    char *chunk;
    struct buf path; /* of the name at hand, relative to the repository */
};

/* How an entry that the walk could not go on from is remembered, beside the DT_ types. */
enum { DIR_TOO_DEEP = 200, DIR_UNREADABLE };

static void idle(const struct manifest *m)
{
    m->spec->idle.call(m->spec->idle.ctx);
}

static void found(struct manifest *m, unsigned char type)
{
    m->total++;
    if (m->path.error == 0)
        pathset_put(&m->paths, buf_str(&m->path), type);
}

static unsigned char type_of(int dir_fd, const struct dirent *e)
{
    struct stat st;
    if (e->d_type != DT_UNKNOWN)
        return e->d_type;
    return fstatat(dir_fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 ? (unsigned char)IFTODT(st.st_mode)
                                                                     : DT_UNKNOWN;
}

static void walk(struct manifest *m, int dir_fd, int depth);

/* The directory m->path names. */
static void enter(struct manifest *m, int dir_fd, const char *name, int depth)
{
    if (depth == OUTPUTS_DEPTH_MAX) {
        found(m, DIR_TOO_DEEP);
        return;
    }
    int sub = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (sub < 0)
        found(m, DIR_UNREADABLE);
    else
        walk(m, sub, depth + 1);
}

/* Count what is below; takes over dir_fd. Names come as the file system gives them: holding and sorting them would cost memory without end. */
static void walk(struct manifest *m, int dir_fd, int depth)
{
    DIR *dir = fdopendir(dir_fd);
    if (!dir) {
        close(dir_fd);
        found(m, DIR_UNREADABLE);
        return;
    }
    struct dirent *e = NULL;
    while (m->names < OUTPUTS_NAMES_MAX && (errno = 0, e = readdir(dir))) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        if (m->names++ % IDLE_NAMES == 0)
            idle(m);
        size_t len = m->path.len;
        int error = m->path.error; /* set: the directory's own path is too long */
        buf_append_char(&m->path, '/');
        buf_append_str(&m->path, e->d_name);
        unsigned char type = type_of(dirfd(dir), e);
        if (type == DT_DIR)
            enter(m, dirfd(dir), e->d_name, depth);
        else
            found(m, type);
        m->path.error = error;
        m->path.len = len;
        m->path.data[len] = 0;
    }
    if (!e && errno)
        found(m, DIR_UNREADABLE);
    closedir(dir);
}

/* True when another of the directories holds this one, or is the same and was first. */
static bool is_covered(const struct outputs_spec *s, size_t i)
{
    for (size_t k = 0; k < s->dir_count; k++) {
        size_t n = strlen(s->dirs[k]);
        if (k != i && strncmp(s->dirs[i], s->dirs[k], n) == 0 &&
            (s->dirs[i][n] == '/' || (s->dirs[i][n] == 0 && k < i)))
            return true;
    }
    return false;
}

static void walk_all(struct manifest *m)
{
    const struct outputs_spec *s = m->spec;
    for (size_t i = 0; i < s->dir_count && s->repo_fd >= 0; i++) {
        if (is_covered(s, i))
            continue;
        buf_reset(&m->path);
        buf_append_str(&m->path, s->dirs[i]);
        struct arp_err why;
        int fd = fd_open_beneath(s->repo_fd, s->dirs[i], O_RDONLY | O_DIRECTORY, 0, &why);
        if (fd >= 0)
            walk(m, fd, 0);
        else if (why.sys_errno != ENOENT && why.sys_errno != ENOTDIR && why.sys_errno != ELOOP)
            found(m, DIR_UNREADABLE); /* it need not exist, and a link in its place is not followed */
    }
    pathset_sort(&m->paths);
}

static const char *type_name(mode_t mode)
{
    if (S_ISREG(mode))
        return "file";
    if (S_ISLNK(mode))
        return "symlink";
    if (S_ISFIFO(mode))
        return "fifo";
    if (S_ISSOCK(mode))
        return "socket";
    if (S_ISDIR(mode))
        return "directory";
    return S_ISCHR(mode) || S_ISBLK(mode) ? "device" : "unknown";
}

static bool same_file(const struct stat *a, const struct stat *b)
{
    return a->st_size == b->st_size && a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
           a->st_mtim.tv_nsec == b->st_mtim.tv_nsec && a->st_ctim.tv_sec == b->st_ctim.tv_sec &&
           a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

/* Digest of an opened regular file, of exactly st->st_size bytes. NULL, or why there is none. Its processes are dead, but the file system may
 * be shared with somebody: what did not stand still has no digest. */
static const char *hash_file(
    struct manifest *m, int fd, const struct stat *st, char ret_hex[SHA256_HEX_LEN + 1])
{
    uint64_t size = (uint64_t)st->st_size;
    if (m->hashed_bytes > OUTPUTS_HASH_MAX || size > OUTPUTS_HASH_MAX - m->hashed_bytes)
        return "not hashed: over the run's limit";
    cleanup_sha256 struct sha256 *h = sha256_new();
    uint64_t at = 0;
    ssize_t n = 1;
    while (h && n > 0 && at <= size) { /* one read past the end: nothing must be there */
        if (at % (64 * HASH_CHUNK) == 0)
            idle(m);
        n = pread(fd, m->chunk, HASH_CHUNK, (off_t)at);
        if (n > 0)
            sha256_update(h, m->chunk, (size_t)n);
        at += n > 0 ? (uint64_t)n : 0;
        m->hashed_bytes += n > 0 ? (uint64_t)n : 0;
    }
    struct stat after;
    if (!h || n < 0 || fstat(fd, &after) < 0)
        return "could not be read";
    if (at != size || !same_file(st, &after))
        return "changed while it was read";
    sha256_hex(h, ret_hex);
    return NULL;
}

/* A path that is not UTF-8: every byte outside a valid sequence as \xHH, every backslash doubled; the exact bytes in pathBase64. */
static void put_path(struct json *j, const char *path)
{
    size_t len = strlen(path);
    if (utf8_valid(path, len)) {
        json_kstr(j, "path", path);
        return;
    }
    cleanup_buf struct buf text;
    buf_init(&text, 4 * PATH_MAX);
    for (size_t i = 0; i < len;) {
        size_t n = utf8_seq((const unsigned char *)path + i, len - i);
        if (n == 0)
            buf_printf(&text, "\\x%02x", (unsigned char)path[i]);
        else if (path[i] == '\\')
            buf_append_str(&text, "\\\\");
        else
            buf_append(&text, path + i, n);
        i += n ? n : 1;
    }
    json_kstr(j, "path", buf_str(&text));
    buf_reset(&text);
    base64_encode(path, len, &text);
    json_kstr(j, "pathBase64", buf_str(&text));
}

/* Look at a kept path again. Returns a descriptor to read when it is a file that can be read, -1 otherwise; *st is zeroed when there is nothing. */
static int look(
    const struct manifest *m, const struct path_item *item, struct stat *st, const char **ret_error)
{
    *st = (struct stat){0};
    *ret_error = NULL;
    if (item->type == DT_REG) {
        cleanup_fd int fd = fd_open_beneath(
            m->spec->repo_fd, item->path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_NOFOLLOW, 0, NULL);
        if (fd >= 0 && fstat(fd, st) == 0 && S_ISREG(st->st_mode))
            return fd_steal(&fd);
    }
    cleanup_fd int fd = fd_open_beneath(m->spec->repo_fd, item->path, O_PATH | O_NOFOLLOW, 0, NULL);
    if (fd < 0 || fstat(fd, st) < 0 || item->type == DT_REG)
        *ret_error = "could not be opened";
    else if (item->type == DIR_TOO_DEEP)
        *ret_error = "too deep";
    else if (item->type == DIR_UNREADABLE)
        *ret_error = "could not be read whole";
    return -1;
}

static void put_artifact(struct manifest *m, struct json *j, const struct path_item *item)
{
    char text[SHA256_HEX_LEN + 8];
    char hex[SHA256_HEX_LEN + 1] = "";
    const char *error;
    struct stat st;
    cleanup_fd int fd = look(m, item, &st, &error);
    if (fd >= 0)
        error = hash_file(m, fd, &st, hex);
    json_obj_open(j);
    put_path(j, item->path);
    json_kstr(j, "type", type_name(st.st_mode));
    json_kuint(j, "sizeBytes", S_ISREG(st.st_mode) ? (uint64_t)st.st_size : 0);
    json_kdigest(j, "checksum", hex);
    snprintf(text, sizeof(text), "%04o", (unsigned)st.st_mode & 07777);
    json_kstr(j, "mode", text);
    if (error)
        json_kstr(j, "error", error);
    json_obj_close(j);
}

static void put_list(struct manifest *m, struct json *j)
{
    json_arr_open(j);
    for (size_t i = 0; i < m->paths.count && j->out->len < j->out->max - 2 * OUTPUTS_ENTRY_MAX; i++) {
        put_artifact(m, j, &m->paths.items[i]);
        m->listed++;
    }
    json_arr_close(j);
}

static int put_manifest(struct manifest *m, struct buf *out, struct arp_err *err)
{
    const struct outputs_spec *s = m->spec;
    char now[CLOCK_ISO_LEN + 1];
    struct json j;
    clock_iso_now(now);
    json_init(&j, out);
    json_obj_open(&j);
    json_kstr(&j, "runId", s->run_id);
    json_kstr(&j, "createdAt", now);
    json_kstr(&j, "gitCommit", s->git_commit[0] ? s->git_commit : NULL);
    json_key(&j, "diffSummary");
    json_obj_open(&j);
    json_kuint(&j, "filesChanged", s->diff->files_changed);
    json_kuint(&j, "insertions", s->diff->insertions);
    json_kuint(&j, "deletions", s->diff->deletions);
    json_obj_close(&j);
    json_key(&j, "artifacts");
    put_list(m, &j);
    json_kuint(&j, "artifactsTotal", m->total);
    json_kbool(&j, "artifactsTruncated", m->listed < m->total);
    json_kbool(&j, "artifactsTotalExact", m->names < OUTPUTS_NAMES_MAX);
    json_obj_close(&j);
    buf_append_char(out, '\n');
    return buf_error(out, err);
}

int outputs_write(const struct outputs_spec *spec, struct buf *out, struct arp_err *err)
{
    struct manifest m = {.spec = spec, .chunk = malloc(HASH_CHUNK)};
    if (!m.chunk)
        return arp_fail(err, ARP_E_NOMEM, 0, "outputs");
    pathset_init(&m.paths, LIMIT_ARTIFACTS, OUTPUTS_PATHS_MAX);
    buf_init(&m.path, PATH_MAX);
    walk_all(&m);
    int rc = m.paths.out_of_memory ? arp_fail(err, ARP_E_NOMEM, 0, "paths of artifacts")
                                   : put_manifest(&m, out, err);
    pathset_done(&m.paths);
    free(m.chunk);
    buf_done(&m.path);
    return rc;
}
