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

#include "shared/clock.h"
#include "shared/fd.h"
#include "shared/json.h"
#include "shared/limits.h"
#include "shared/utf8.h"

#define HASH_CHUNK (256u << 10)

struct artifact {
    char *path;
    const char *type;
    const char *error; /* static text or NULL */
    uint64_t size;
    unsigned mode;
    bool hashed;
    char sha256[SHA256_HEX_LEN + 1];
};

struct manifest {
    const struct outputs_spec *spec;
    struct artifact *list;
    size_t count, room;
    uint64_t total; /* seen, also past LIMIT_ARTIFACTS */
    uint64_t hashed_bytes;
    char *chunk;
    struct buf path;
    struct arp_err *err;
};

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
    return S_ISDIR(mode) ? "directory" : "device";
}

/* Digest of an opened regular file; stops growing with a file that does. 0, or 1 when the budget or a read ends it. */
static int hash_file(struct manifest *m, int fd, struct artifact *a)
{
    if (a->size > OUTPUTS_HASH_MAX - m->hashed_bytes) {
        a->error = "not hashed: over the run's limit";
        return 1;
    }
    cleanup_sha256 struct sha256 *h = sha256_new();
    uint64_t at = 0;
    for (ssize_t n = 1; h && at < a->size; at += (uint64_t)n) {
        n = pread(fd, m->chunk, HASH_CHUNK, (off_t)at);
        if (n <= 0)
            break;
        sha256_update(h, m->chunk, (size_t)n);
        if (at % (64 * HASH_CHUNK) == 0)
            m->spec->idle.call(m->spec->idle.ctx);
    }
    m->hashed_bytes += at;
    if (!h || at < a->size) {
        a->error = "could not be read";
        return 1;
    }
    sha256_hex(h, a->sha256);
    a->hashed = true;
    return 0;
}

static struct artifact *add(struct manifest *m)
{
    m->total++;
    if (m->count == LIMIT_ARTIFACTS)
        return NULL;
    if (m->count == m->room) {
        size_t room = m->room ? 2 * m->room : 64;
        struct artifact *bigger = realloc(m->list, room * sizeof(*bigger));
        if (!bigger)
            return NULL;
        m->list = bigger;
        m->room = room;
    }
    char *path = strdup(buf_str(&m->path));
    if (!path)
        return NULL;
    struct artifact *a = &m->list[m->count++];
    *a = (struct artifact){.path = path, .type = "unknown"};
    return a;
}

static void add_leaf(struct manifest *m, int dir_fd, const char *name, const struct stat *st)
{
    struct artifact *a = add(m);
    if (!a)
        return;
    a->type = type_name(st->st_mode);
    a->mode = st->st_mode & 07777;
    a->size = S_ISREG(st->st_mode) ? (uint64_t)st->st_size : 0;
    if (!S_ISREG(st->st_mode))
        return;
    struct stat opened;
    cleanup_fd int fd = openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &opened) < 0 || !S_ISREG(opened.st_mode)) {
        a->error = "could not be opened";
        return;
    }
    a->size = (uint64_t)opened.st_size;
    hash_file(m, fd, a);
}

static int not_dots(const struct dirent *e)
{
    return strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
}

static int by_bytes(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static void walk(struct manifest *m, int dir_fd, int depth);

static void visit(struct manifest *m, int dir_fd, const char *name, int depth)
{
    struct stat st;
    if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return;
    if (!S_ISDIR(st.st_mode)) {
        add_leaf(m, dir_fd, name, &st);
        return;
    }
    cleanup_fd int sub = depth < OUTPUTS_DEPTH_MAX
                             ? openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
                             : -1;
    if (sub >= 0) {
        walk(m, sub, depth + 1);
        return;
    }
    struct artifact *a = add(m);
    if (a) {
        a->type = "directory";
        a->error = depth < OUTPUTS_DEPTH_MAX ? "could not be opened" : "too deep";
    }
}

static void walk(struct manifest *m, int dir_fd, int depth)
{
    struct dirent **names = NULL;
    int n = scandirat(dir_fd, ".", &names, not_dots, by_bytes);
    m->spec->idle.call(m->spec->idle.ctx);
    for (int i = 0; i < n; i++) {
        size_t len = m->path.len;
        buf_append_char(&m->path, '/');
        if (buf_append_str(&m->path, names[i]->d_name) == 0)
            visit(m, dir_fd, names[i]->d_name, depth);
        else
            m->total++; /* a path over its limit: counted, not listed */
        m->path.error = 0;
        m->path.len = len;
        m->path.data[len] = 0;
        free(names[i]);
    }
    free(names);
}

static int by_path(const void *a, const void *b)
{
    return strcmp(((const struct artifact *)a)->path, ((const struct artifact *)b)->path);
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

static void put_artifact(struct json *j, const struct artifact *a)
{
    char text[SHA256_HEX_LEN + 8];
    json_obj_open(j);
    put_path(j, a->path);
    json_kstr(j, "type", a->type);
    json_kuint(j, "sizeBytes", a->size);
    snprintf(text, sizeof(text), "sha256:%s", a->sha256);
    json_kstr(j, "checksum", a->hashed ? text : NULL);
    snprintf(text, sizeof(text), "%04o", a->mode);
    json_kstr(j, "mode", text);
    if (a->error)
        json_kstr(j, "error", a->error);
    json_obj_close(j);
}

static int put_manifest(const struct manifest *m, struct buf *out, struct arp_err *err)
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
    json_arr_open(&j);
    for (size_t i = 0; i < m->count; i++)
        put_artifact(&j, &m->list[i]);
    json_arr_close(&j);
    json_kuint(&j, "artifactsTotal", m->total);
    json_obj_close(&j);
    buf_append_char(out, '\n');
    return buf_error(out, err);
}

int outputs_write(const struct outputs_spec *spec, struct buf *out, struct arp_err *err)
{
    struct manifest m = {.spec = spec, .err = err, .chunk = malloc(HASH_CHUNK)};
    if (!m.chunk)
        return arp_fail(err, ARP_E_NOMEM, 0, "outputs");
    buf_init(&m.path, PATH_MAX);
    for (size_t i = 0; i < spec->dir_count && spec->repo_fd >= 0; i++) {
        cleanup_fd int fd = fd_open_beneath(spec->repo_fd, spec->dirs[i], O_RDONLY | O_DIRECTORY, 0, NULL);
        if (fd < 0)
            continue; /* it need not exist; a link in its place is not followed */
        buf_reset(&m.path);
        buf_append_str(&m.path, spec->dirs[i]);
        walk(&m, fd, 0);
    }
    if (m.count > 0)
        qsort(m.list, m.count, sizeof(*m.list), by_path);
    int rc = put_manifest(&m, out, err);
    for (size_t i = 0; i < m.count; i++)
        free(m.list[i].path);
    free(m.list);
    free(m.chunk);
    buf_done(&m.path);
    return rc;
}
