/*
 * Files of the repository: see repofile.h.
 */
#include "agent/repofile.h"

#include <errno.h>
#include <limits.h>
#include <linux/capability.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent/filerights.h"
#include "shared/fd.h"
#include "shared/hash.h"

/* --- paths --- */

static bool is_dotdot(const char *part, size_t len)
{
    return len == 2 && part[0] == '.' && part[1] == '.';
}

/* Append the parts of asked to ret, without empty ones and ".". False: it goes up, or is too long. */
static bool join_parts(const char *asked, char ret[REPOFILE_PATH_MAX])
{
    size_t out = 0;
    for (const char *at = asked; *at;) {
        size_t len = strcspn(at, "/");
        if (is_dotdot(at, len) || out + len + 2 > REPOFILE_PATH_MAX)
            return false;
        if (len > 0 && !(len == 1 && *at == '.')) {
            if (out > 0)
                ret[out++] = '/';
            memcpy(ret + out, at, len);
            out += len;
        }
        at += len + (at[len] == '/');
    }
    ret[out] = '\0';
    return out > 0;
}

int repofile_path(
    const struct repofiles *r, const char *asked, char ret[REPOFILE_PATH_MAX], struct arp_err *err)
{
    size_t len = strlen(r->repo_path);
    const char *rest = asked;
    if (*asked == '/' && strncmp(asked, r->repo_path, len) == 0 && asked[len] == '/')
        rest = asked + len + 1;
    else if (*asked == '/')
        return arp_fail(err, ARP_E_FORBIDDEN, 0, "'%.200s' is outside of %s", asked, r->repo_path);
    if (!join_parts(rest, ret))
        return arp_fail(err, ARP_E_FORBIDDEN, 0, "'%.200s' names no file beneath %s", asked, r->repo_path);
    return 0;
}

/* --- the workload's rights --- */

struct job {
    const struct repofiles *files;
    int (*work)(struct job *j, struct arp_err *err);
    int rc;
    struct arp_err err;
    /* of a read */
    const char *path;
    struct buf *out;
    mode_t mode;
    /* of changes */
    const struct repofile_change *changes;
    struct staged *staged;
    size_t count;
    char **made; /* folders */
    size_t made_count;
};

/* No capability over files is effective on this thread. */
static bool has_no_file_capability(void)
{
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2] = {{0}};
    uint32_t over_files = 1u << CAP_CHOWN | 1u << CAP_DAC_OVERRIDE | 1u << CAP_DAC_READ_SEARCH |
                          1u << CAP_FOWNER | 1u << CAP_FSETID | 1u << CAP_MKNOD | 1u << CAP_LINUX_IMMUTABLE;
    return syscall(SYS_capget, &head, data) == 0 && (data[0].effective & over_files) == 0;
}

/* For this thread alone: the raw call does not tell the others. */
static bool become_workload(const struct repofiles *r)
{
    bool groups = syscall(SYS_setgroups, 0, NULL) == 0 || geteuid() == r->uid;
    return groups && file_rights_take(r->uid, r->gid) && (r->uid == 0 || has_no_file_capability());
}

static void *thread_main(void *arg)
{
    struct job *j = arg;
    j->rc = become_workload(j->files)
                ? j->work(j, &j->err)
                : arp_fail(&j->err, ARP_E_UNSUPPORTED, 0, "take the workload's rights over files");
    return NULL;
}

static int run_as_workload(struct job *j, struct arp_err *err)
{
    pthread_t thread;
    int no = pthread_create(&thread, NULL, thread_main, j);
    if (no)
        return arp_fail(err, ARP_E_NOMEM, no, "thread for the repository's files");
    pthread_join(thread, NULL);
    if (j->rc && err)
        *err = j->err;
    return j->rc;
}

/* What an errno means to whoever asked for path. */
static int fail_path(struct arp_err *err, int no, const char *what, const char *path)
{
    int code = no == ENOENT || no == ENOTDIR ? ARP_E_NOT_FOUND : ARP_E_IO;
    if (no == ELOOP || no == EXDEV || no == EACCES || no == EPERM || no == EISDIR || no == ENAMETOOLONG)
        code = ARP_E_FORBIDDEN;
    if (no == EEXIST)
        code = ARP_E_CONFLICT;
    return arp_fail(err, code, no, "%s '%.200s'", what, path);
}

/* --- reading --- */

static int read_file(struct job *j, struct arp_err *err)
{
    struct arp_err cause = {0};
    struct stat st;
    cleanup_fd int fd =
        fd_open_beneath(j->files->repo_fd, j->path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0, &cause);
    if (fd < 0)
        return fail_path(err, cause.sys_errno, "open", j->path);
    if (fstat(fd, &st) < 0)
        return fail_path(err, errno, "look at", j->path);
    if (!S_ISREG(st.st_mode))
        return arp_fail(err, ARP_E_FORBIDDEN, 0, "'%.200s' is no regular file", j->path);
    j->mode = st.st_mode & 0777;
    int rc = fd_read_all(fd, j->out, err);
    return rc ? arp_wrap(err, "'%.200s'", j->path) : 0;
}

int repofile_read(
    const struct repofiles *r, const char *path, struct buf *out, mode_t *ret_mode, struct arp_err *err)
{
    struct job j = {.files = r, .work = read_file, .path = path, .out = out};
    int rc = run_as_workload(&j, err);
    if (rc == 0)
        *ret_mode = j.mode;
    return rc;
}

/* --- changing --- */

#define TEMP_LEN 48

/* One change as far as it was made. temp: the new content until it has its name; old: the old content until all is done. "" none. */
struct staged {
    int parent_fd;
    const char *name; /* in the parent; borrowed */
    bool placed;
    char temp[TEMP_LEN], old[TEMP_LEN];
};

static void temp_name(const char *suffix, char ret[TEMP_LEN])
{
    unsigned char nonce[8];
    char hex[2 * sizeof(nonce) + 1];
    random_bytes(nonce, sizeof(nonce));
    hex_encode(nonce, sizeof(nonce), hex);
    snprintf(ret, TEMP_LEN, ".arp-%s.%s", hex, suffix);
}

/* Make one folder on the way to a file and remember it. */
static int make_folder(
    struct job *j, const char *path, size_t len, int parent_fd, const char *name, struct arp_err *err)
{
    char **made = realloc(j->made, (j->made_count + 1) * sizeof(*made));
    if (!made)
        return arp_fail(err, ARP_E_NOMEM, 0, "folders");
    j->made = made;
    char *copy = strndup(path, len);
    if (!copy)
        return arp_fail(err, ARP_E_NOMEM, 0, "folders");
    if (mkdirat(parent_fd, name, 0755) < 0) {
        int no = errno;
        free(copy);
        return fail_path(err, no, "make the folder of", path);
    }
    made[j->made_count++] = copy;
    return 0;
}

/* The folder that holds path, opened; made when make. */
static int open_parent(struct job *j, const char *path, bool make, int *ret, struct arp_err *err)
{
    cleanup_fd int fd = fcntl(j->files->repo_fd, F_DUPFD_CLOEXEC, 3);
    if (fd < 0)
        return arp_fail(err, ARP_E_IO, errno, "repository");
    for (const char *at = path; strchr(at, '/');) {
        char name[NAME_MAX + 1];
        struct arp_err cause = {0};
        size_t len = strcspn(at, "/");
        if (len > NAME_MAX)
            return fail_path(err, ENAMETOOLONG, "open the folder of", path);
        memcpy(name, at, len);
        name[len] = '\0';
        int next = fd_open_beneath(fd, name, O_PATH | O_DIRECTORY, 0, &cause);
        if (next < 0 && cause.sys_errno == ENOENT && make) {
            int rc = make_folder(j, path, (size_t)(at - path) + len, fd, name, err);
            if (rc)
                return rc;
            next = fd_open_beneath(fd, name, O_PATH | O_DIRECTORY, 0, &cause);
        }
        if (next < 0)
            return fail_path(err, cause.sys_errno, "open the folder of", path);
        close(fd);
        fd = next;
        at += len + 1;
    }
    *ret = fd_steal(&fd);
    return 0;
}

/* Is it there as the change wants it? */
static int look_at(const struct staged *s, const struct repofile_change *c, bool *ret_there, mode_t *ret_mode,
    struct arp_err *err)
{
    struct stat st;
    *ret_there = false;
    if (fstatat(s->parent_fd, s->name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
        if (errno != ENOENT)
            return fail_path(err, errno, "look at", c->path);
        if (c->kind == REPOFILE_REPLACE || c->kind == REPOFILE_REMOVE)
            return fail_path(err, ENOENT, "change", c->path);
        return 0;
    }
    if (c->kind == REPOFILE_ADD)
        return fail_path(err, EEXIST, "add", c->path);
    if (!S_ISREG(st.st_mode))
        return arp_fail(err, ARP_E_FORBIDDEN, 0, "'%.200s' is no regular file", c->path);
    *ret_there = true;
    *ret_mode = st.st_mode & 0777;
    return 0;
}

/* The new content under a name of its own, beside its place. */
static int stage(struct job *j, size_t i, struct arp_err *err)
{
    const struct repofile_change *c = &j->changes[i];
    struct staged *s = &j->staged[i];
    const char *slash = strrchr(c->path, '/');
    mode_t mode = 0644;
    bool there = false;
    s->name = slash ? slash + 1 : c->path;
    int rc =
        open_parent(j, c->path, c->kind == REPOFILE_ADD || c->kind == REPOFILE_WRITE, &s->parent_fd, err);
    if (rc == 0)
        rc = look_at(s, c, &there, &mode, err);
    if (rc)
        return rc;
    if (there)
        temp_name("old", s->old);
    if (c->kind == REPOFILE_REMOVE)
        return 0;
    char temp[TEMP_LEN];
    temp_name("new", temp);
    cleanup_fd int fd =
        openat(s->parent_fd, temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return fail_path(err, errno, "write", c->path);
    memcpy(s->temp, temp, sizeof(temp));
    rc = fd_write_all(fd, c->bytes, c->len, err);
    if (rc)
        return arp_wrap(err, "'%.200s'", c->path);
    return fchmod(fd, c->mode ? c->mode : mode) < 0 ? fail_path(err, errno, "write", c->path) : 0;
}

/* Put it in its place. Nothing else runs as the workload's uid now, so the steps between the two names are not seen by anyone. */
static int place(struct job *j, size_t i, struct arp_err *err)
{
    struct staged *s = &j->staged[i];
    const char *path = j->changes[i].path;
    if (s->old[0]) {
        if (renameat(s->parent_fd, s->name, s->parent_fd, s->old) < 0) {
            s->old[0] = '\0';
            return fail_path(err, errno, "change", path);
        }
        s->placed = true;
    }
    if (s->temp[0]) {
        if (renameat(s->parent_fd, s->temp, s->parent_fd, s->name) < 0)
            return fail_path(err, errno, "change", path);
        s->temp[0] = '\0';
        s->placed = true;
    }
    return 0;
}

/* Undo what place and stage did. */
static void take_back(struct job *j)
{
    for (size_t i = j->count; i-- > 0;) {
        struct staged *s = &j->staged[i];
        if (s->placed && s->old[0])
            renameat(s->parent_fd, s->old, s->parent_fd, s->name);
        else if (s->placed)
            unlinkat(s->parent_fd, s->name, 0);
        if (s->temp[0])
            unlinkat(s->parent_fd, s->temp, 0);
    }
    for (size_t i = j->made_count; i-- > 0;) {
        int parent_fd;
        const char *slash = strrchr(j->made[i], '/');
        if (open_parent(j, j->made[i], false, &parent_fd, NULL))
            continue;
        unlinkat(parent_fd, slash ? slash + 1 : j->made[i], AT_REMOVEDIR);
        close(parent_fd);
    }
}

static void forget_old(struct job *j)
{
    for (size_t i = 0; i < j->count; i++) {
        if (j->staged[i].old[0])
            unlinkat(j->staged[i].parent_fd, j->staged[i].old, 0);
    }
}

static int change_files(struct job *j, struct arp_err *err)
{
    int rc = 0;
    for (size_t i = 0; i < j->count && rc == 0; i++)
        rc = stage(j, i, err);
    for (size_t i = 0; i < j->count && rc == 0; i++)
        rc = place(j, i, err);
    if (rc)
        take_back(j);
    else
        forget_old(j);
    return rc;
}

int repofile_apply(
    const struct repofiles *r, const struct repofile_change *changes, size_t n, struct arp_err *err)
{
    if (n > REPOFILE_CHANGES_MAX)
        return arp_fail(
            err, ARP_E_TOO_LARGE, 0, "more than %d files are changed at once", REPOFILE_CHANGES_MAX);
    cleanup_free struct staged *staged = calloc(n ? n : 1, sizeof(*staged));
    if (!staged)
        return arp_fail(err, ARP_E_NOMEM, 0, "changes");
    for (size_t i = 0; i < n; i++)
        staged[i].parent_fd = -1;
    struct job j = {.files = r, .work = change_files, .changes = changes, .staged = staged, .count = n};
    int rc = run_as_workload(&j, err);
    for (size_t i = 0; i < n; i++) {
        if (staged[i].parent_fd >= 0)
            close(staged[i].parent_fd);
    }
    for (size_t i = 0; i < j.made_count; i++)
        free(j.made[i]);
    free(j.made);
    return rc;
}
