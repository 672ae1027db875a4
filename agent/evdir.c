/*
 * Evidence directory: see evdir.h.
 */
#include "agent/evdir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shared/fd.h"
#include "shared/json.h"

static const char *const fixed_names[] = {"command_log.jsonl", "diff.patch", "engine.jsonl", "env.json",
    "events.jsonl", "outputs.json", "processes.jsonl"};
#define FIXED_NAMES (sizeof(fixed_names) / sizeof(fixed_names[0]))
#define BLOB_PREFIX "blobs/sha256-"

int evdir_create(int workspace_fd, const char *run_id, struct evdir *ret, struct arp_err *err)
{
    cleanup_fd int root = fd_open_beneath(workspace_fd, EVDIR_ROOT, O_RDONLY | O_DIRECTORY, 0, err);
    if (root < 0)
        return root;
    if (mkdirat(root, run_id, 0700) < 0) {
        if (errno == EEXIST)
            return arp_fail(err, ARP_E_CONFLICT, 0, "run %s has evidence on this volume already", run_id);
        return arp_fail(err, ARP_E_IO, errno, "create evidence directory '%s'", run_id);
    }
    cleanup_fd int fd = fd_open_beneath(root, run_id, O_RDONLY | O_DIRECTORY, 0, err);
    if (fd < 0)
        return fd;
    if (mkdirat(fd, "blobs", 0700) < 0)
        return arp_fail(err, ARP_E_IO, errno, "create 'blobs'");
    int blobs = fd_open_beneath(fd, "blobs", O_RDONLY | O_DIRECTORY, 0, err);
    if (blobs < 0)
        return blobs;
    *ret = (struct evdir){.fd = fd_steal(&fd), .blobs_fd = blobs};
    return 0;
}

void evdir_close(struct evdir *d)
{
    if (d->fd > 0)
        close(d->fd);
    if (d->blobs_fd > 0)
        close(d->blobs_fd);
    *d = (struct evdir){0};
}

int evdir_create_file(const struct evdir *d, const char *name, struct arp_err *err)
{
    int fd = openat(d->fd, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return arp_fail(err, ARP_E_IO, errno, "create '%s'", name);
    return fd;
}

int evdir_write_file(const struct evdir *d, const char *name, const struct buf *content,
    char ret_hex[SHA256_HEX_LEN + 1], struct arp_err *err)
{
    int rc = buf_error(content, err);
    if (rc)
        return arp_wrap(err, "content of '%s'", name);
    cleanup_fd int fd = evdir_create_file(d, name, err);
    if (fd < 0)
        return fd;
    rc = fd_write_all(fd, buf_str(content), content->len, err);
    if (rc)
        return arp_wrap(err, "'%s'", name);
    sha256_hex_of(buf_str(content), content->len, ret_hex);
    return 0;
}

static int is_blob(const struct dirent *e)
{
    return strncmp(e->d_name, "sha256-", 7) == 0 && sha256_hex_ok(e->d_name + 7);
}

/* Two rounds: first all files are set on their way to the disk, then each is waited for. Half the time of one round of fdatasync over 512
 * short files, since the first wait commits the journal for all. Not syncfs: that waits for what everybody else wrote. */
static int sync_blobs(const struct evdir *d, struct arp_err *err)
{
    struct dirent **entries;
    int n = scandirat(d->blobs_fd, ".", &entries, is_blob, NULL);
    if (n < 0)
        return arp_fail(err, ARP_E_IO, errno, "list blobs");
    int rc = 0;
    for (int i = 0; i < 2 * n; i++) {
        const char *name = entries[i % n]->d_name;
        cleanup_fd int fd =
            rc ? -1 : openat(d->blobs_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
        if (i < n && fd >= 0)
            (void)sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE); /* a hint; the second round tells */
        if (rc == 0 && (fd < 0 || (i >= n && fdatasync(fd) < 0)))
            rc = arp_fail(err, ARP_E_IO, errno, "sync blob '%s'", name);
    }
    for (int i = 0; i < n; i++)
        free(entries[i]);
    free(entries);
    return rc;
}

int evdir_sync(const struct evdir *d, struct arp_err *err)
{
    int rc = sync_blobs(d, err);
    if (rc)
        return rc;
    for (size_t i = 0; i < FIXED_NAMES; i++) {
        cleanup_fd int fd = openat(d->fd, fixed_names[i], O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0 && errno == ENOENT)
            continue;
        if (fd < 0 || fdatasync(fd) < 0)
            return arp_fail(err, ARP_E_IO, errno, "sync '%s'", fixed_names[i]);
    }
    if (fsync(d->blobs_fd) < 0 || fsync(d->fd) < 0)
        return arp_fail(err, ARP_E_IO, errno, "sync the evidence directory");
    return 0;
}

bool evdir_name_ok(const char *name)
{
    for (size_t i = 0; i < FIXED_NAMES; i++) {
        if (strcmp(name, fixed_names[i]) == 0)
            return true;
    }
    size_t n = strlen(BLOB_PREFIX);
    return strncmp(name, BLOB_PREFIX, n) == 0 && sha256_hex_ok(name + n);
}

/* The run's directory, or an error. */
static int open_run(int workspace_fd, const char *run_id, struct arp_err *err)
{
    cleanup_fd int root = fd_open_beneath(workspace_fd, EVDIR_ROOT, O_RDONLY | O_DIRECTORY, 0, err);
    if (root < 0)
        return root;
    int fd = fd_open_beneath(root, run_id, O_RDONLY | O_DIRECTORY, 0, err);
    if (fd < 0 && err->sys_errno == ENOENT)
        return arp_fail(err, ARP_E_NOT_FOUND, 0, "no evidence of run '%.64s'", run_id);
    return fd;
}

int evdir_open_file(
    int workspace_fd, const char *run_id, const char *name, uint64_t *ret_size, struct arp_err *err)
{
    if (!evdir_name_ok(name))
        return arp_fail(err, ARP_E_NOT_FOUND, 0, "no evidence file of that name");
    cleanup_fd int dir = open_run(workspace_fd, run_id, err);
    if (dir < 0)
        return dir;
    cleanup_fd int fd = fd_open_beneath(dir, name, O_RDONLY | O_NONBLOCK, 0, err);
    if (fd < 0)
        return err->sys_errno == ENOENT ? arp_fail(err, ARP_E_NOT_FOUND, 0, "no evidence file '%s'", name)
                                        : fd;
    struct stat st;
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        return arp_fail(err, ARP_E_IO, errno, "evidence file '%s'", name);
    *ret_size = (uint64_t)st.st_size;
    return fd_steal(&fd);
}

static void put_file(struct json *j, const char *name, uint64_t size, const char *hex)
{
    json_obj_open(j);
    json_kstr(j, "name", name);
    json_kuint(j, "sizeBytes", size);
    json_kdigest(j, "sha256", hex);
    json_obj_close(j);
}

static int list_blobs(int dir, struct json *j, struct arp_err *err)
{
    cleanup_fd int blobs = fd_open_beneath(dir, "blobs", O_RDONLY | O_DIRECTORY, 0, err);
    if (blobs < 0)
        return blobs;
    struct dirent **entries;
    int n = scandirat(blobs, ".", &entries, is_blob, alphasort);
    if (n < 0)
        return arp_fail(err, ARP_E_IO, errno, "list blobs");
    for (int i = 0; i < n; i++) {
        struct stat st;
        char name[96];
        snprintf(name, sizeof(name), "blobs/%.71s", entries[i]->d_name);
        if (fstatat(blobs, entries[i]->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode))
            put_file(j, name, (uint64_t)st.st_size, entries[i]->d_name + 7);
        free(entries[i]);
    }
    free(entries);
    return 0;
}

int evdir_list(int workspace_fd, const char *run_id, struct buf *out, struct arp_err *err)
{
    cleanup_fd int dir = open_run(workspace_fd, run_id, err);
    if (dir < 0)
        return dir;
    struct json j;
    json_init(&j, out);
    json_obj_open(&j);
    json_key(&j, "files");
    json_arr_open(&j);
    int rc = list_blobs(dir, &j, err); /* "blobs/…" sorts before every fixed name */
    for (size_t i = 0; rc == 0 && i < FIXED_NAMES; i++) {
        cleanup_fd int fd = openat(dir, fixed_names[i], O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
        char hex[SHA256_HEX_LEN + 1];
        uint64_t size;
        if (fd < 0)
            continue;
        rc = sha256_fd(fd, hex, &size, err);
        if (rc == 0)
            put_file(&j, fixed_names[i], size, hex);
    }
    json_arr_close(&j);
    json_obj_close(&j);
    return rc ? rc : buf_error(out, err);
}
