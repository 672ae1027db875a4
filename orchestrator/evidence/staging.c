#include "orchestrator/evidence/staging.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shared/fd.h"
#include "shared/uuid.h"

#define TMP_PREFIX ".tmp-"
#define DIR_FLAGS  (O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)

struct staging {
    int root_fd;
    int dir_fd; /* .tmp-<runId> */
    char run_id[UUID_LEN + 1];
    char tmp_name[sizeof(TMP_PREFIX) + UUID_LEN];
    bool committed;
};

static int fail(struct arp_err *err, const char *what, const char *name)
{
    return arp_fail(err, ARP_E_IO, errno, "%s '%s' of staged evidence", what, name);
}

/* Call fn with every file of the directory name beneath dir_fd, but no deeper. Stops at fn's first error. */
static int each_file(int dir_fd, const char *name,
    int (*fn)(int dir_fd, const char *name, struct arp_err *err), struct arp_err *err)
{
    int fd = openat(dir_fd, name, DIR_FLAGS);
    if (fd < 0)
        return fail(err, "open", name);
    DIR *dir = fdopendir(fd);
    if (!dir) {
        close(fd);
        return fail(err, "read", name);
    }
    int rc = 0;
    const struct dirent *entry;
    /* readdir(3) is safe on a stream that one thread uses; readdir_r is deprecated. */
    /* cppcheck-suppress readdirCalled */
    while (rc == 0 && (entry = readdir(dir)) != NULL)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 && entry->d_type != DT_DIR)
            rc = fn(fd, entry->d_name, err);
    closedir(dir);
    return rc;
}

static int unlink_file(int dir_fd, const char *name, struct arp_err *err)
{
    return unlinkat(dir_fd, name, 0) == 0 ? 0 : fail(err, "remove", name);
}

static int sync_file(int dir_fd, const char *name, struct arp_err *err)
{
    cleanup_fd int fd = openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    return fd >= 0 && fsync(fd) == 0 ? 0 : fail(err, "sync", name);
}

static int sync_dir(int dir_fd, const char *name, struct arp_err *err)
{
    cleanup_fd int fd = openat(dir_fd, name, DIR_FLAGS);
    return fd >= 0 && fsync(fd) == 0 ? 0 : fail(err, "sync", name);
}

/* Remove a staging directory: files, blobs/ and itself. 0 when there is none. */
static int remove_tree(int root_fd, const char *name, struct arp_err *err)
{
    cleanup_fd int fd = openat(root_fd, name, DIR_FLAGS);
    if (fd < 0)
        return errno == ENOENT ? 0 : fail(err, "open", name);
    int rc =
        faccessat(fd, "blobs", F_OK, AT_SYMLINK_NOFOLLOW) == 0 ? each_file(fd, "blobs", unlink_file, err) : 0;
    if (rc == 0 && unlinkat(fd, "blobs", AT_REMOVEDIR) != 0 && errno != ENOENT)
        rc = fail(err, "remove", "blobs");
    if (rc == 0)
        rc = each_file(fd, ".", unlink_file, err);
    if (rc == 0 && unlinkat(root_fd, name, AT_REMOVEDIR) != 0)
        rc = fail(err, "remove", name);
    return rc;
}

static int open_new(struct staging *s, const char *root, struct arp_err *err)
{
    int rc = dir_make(root, 0700, err);
    if (rc != 0)
        return rc;
    s->root_fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (s->root_fd < 0)
        return fail(err, "open", root);
    if (faccessat(s->root_fd, s->run_id, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
        return arp_fail(err, ARP_E_CONFLICT, 0, "evidence of run %s is staged already", s->run_id);
    rc = remove_tree(s->root_fd, s->tmp_name, err);
    if (rc != 0)
        return rc;
    if (mkdirat(s->root_fd, s->tmp_name, 0700) != 0)
        return fail(err, "make", s->tmp_name);
    s->dir_fd = openat(s->root_fd, s->tmp_name, DIR_FLAGS);
    if (s->dir_fd < 0 || mkdirat(s->dir_fd, "blobs", 0700) != 0)
        return fail(err, "make", "blobs");
    return 0;
}

int staging_open(const char *root, const char *run_id, struct staging **ret, struct arp_err *err)
{
    if (!uuid_ok(run_id))
        return arp_fail(err, ARP_E_INVALID, 0, "run id is not a UUID");
    struct staging *s = calloc(1, sizeof(*s));
    if (!s)
        return arp_fail(err, ARP_E_NOMEM, 0, "staging directory");
    s->root_fd = s->dir_fd = -1;
    memcpy(s->run_id, run_id, UUID_LEN + 1);
    snprintf(s->tmp_name, sizeof(s->tmp_name), TMP_PREFIX "%s", s->run_id);
    int rc = open_new(s, root, err);
    if (rc != 0) {
        staging_close(s);
        return rc;
    }
    *ret = s;
    return 0;
}

void staging_close(struct staging *s)
{
    if (!s)
        return;
    if (s->dir_fd >= 0 && !s->committed)
        remove_tree(s->root_fd, s->tmp_name, NULL);
    if (s->dir_fd >= 0)
        close(s->dir_fd);
    if (s->root_fd >= 0)
        close(s->root_fd);
    free(s);
}

int staging_create(struct staging *s, const char *name, int *ret_fd, struct arp_err *err)
{
    int fd = fd_open_beneath(s->dir_fd, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0600, err);
    if (fd < 0)
        return fd;
    *ret_fd = fd;
    return 0;
}

int staging_write(struct staging *s, const char *name, const void *data, size_t len, struct arp_err *err)
{
    cleanup_fd int fd = -1;
    int rc = staging_create(s, name, &fd, err);
    return rc ? rc : fd_write_all(fd, data, len, err);
}

int staging_link(struct staging *s, int dir_fd, const char *from, const char *to, struct arp_err *err)
{
    return linkat(dir_fd, from, s->dir_fd, to, 0) == 0 || errno == EEXIST ? 0 : fail(err, "link", to);
}

int staging_rename(struct staging *s, const char *from, const char *to, struct arp_err *err)
{
    return renameat(s->dir_fd, from, s->dir_fd, to) == 0 ? 0 : fail(err, "rename to", to);
}

void staging_unlink(struct staging *s, const char *name)
{
    unlinkat(s->dir_fd, name, 0);
}

/* Files are synced at the end, one after another: the first sync commits the file system's journal for all of them. */
int staging_commit(struct staging *s, struct arp_err *err)
{
    int rc = each_file(s->dir_fd, "blobs", sync_file, err);
    if (rc == 0)
        rc = each_file(s->dir_fd, ".", sync_file, err);
    if (rc == 0)
        rc = sync_dir(s->dir_fd, "blobs", err);
    if (rc == 0)
        rc = sync_dir(s->root_fd, s->tmp_name, err);
    if (rc != 0)
        return rc;
    if (renameat2(s->root_fd, s->tmp_name, s->root_fd, s->run_id, RENAME_NOREPLACE) != 0) {
        if (errno == EEXIST)
            return arp_fail(err, ARP_E_CONFLICT, 0, "evidence of run %s is staged already", s->run_id);
        return fail(err, "name", s->run_id);
    }
    s->committed = true;
    return fsync(s->root_fd) == 0 ? 0 : fail(err, "sync", "root");
}

/* Remove what is there of a run: what is half made and, with whole, the directory of its name. */
static int discard(const char *root, const char *run_id, bool whole, struct arp_err *err)
{
    char tmp_name[sizeof(TMP_PREFIX) + UUID_LEN];
    if (!uuid_ok(run_id))
        return arp_fail(err, ARP_E_INVALID, 0, "run id is not a UUID");
    snprintf(tmp_name, sizeof(tmp_name), TMP_PREFIX "%s", run_id);
    cleanup_fd int root_fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (root_fd < 0)
        return errno == ENOENT ? 0 : fail(err, "open", root);
    int rc = whole ? remove_tree(root_fd, run_id, err) : 0;
    return rc ? rc : remove_tree(root_fd, tmp_name, err);
}

int staging_discard(const char *root, const char *run_id, struct arp_err *err)
{
    return discard(root, run_id, true, err);
}

int staging_discard_half(const char *root, const char *run_id, struct arp_err *err)
{
    return discard(root, run_id, false, err);
}
