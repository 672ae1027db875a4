/*
 * Model calls into the evidence: see model_files.h.
 */
#include "orchestrator/evidence/model_files.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shared/fd.h"
#include "shared/limits.h"
#include "shared/uuid.h"

#define LOG_NAME    "model_log.jsonl"
#define BLOB_PREFIX "sha256-"
#define DIR_FLAGS   (O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)

/* Is it the next line of this run's log? Moves the chain. */
static bool line_ok(struct chain *chain, const char *run_id, const char *line, size_t len)
{
    cleanup_cjson cJSON *obj = NULL;
    if (len > LIMIT_LINE || json_parse_line(line, len, &obj, NULL) != 0)
        return false;
    const char *type = json_get_str(obj, "type");
    const char *id = json_get_str(obj, "runId");
    return type && strcmp(type, "model_call") == 0 && id && strcmp(id, run_id) == 0 &&
           chain_accept(chain, line, len, obj, NULL) == 0;
}

/* How many bytes of the log are whole lines that follow one another. */
static size_t good_prefix(const char *run_id, const char *log, size_t len, struct model_files *f)
{
    size_t at = 0;
    while (at < len) {
        const char *lf = memchr(log + at, '\n', len - at);
        if (!lf) {
            f->torn = true;
            break;
        }
        size_t end = (size_t)(lf - log);
        if (!line_ok(&f->end, run_id, log + at, end - at)) {
            f->bad_line = f->end.next_seq;
            break;
        }
        at = end + 1;
    }
    return at;
}

static int take_log(
    int dir_fd, const char *run_id, struct staging *s, struct model_files *f, struct arp_err *err)
{
    cleanup_fd int fd = openat(dir_fd, LOG_NAME, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    struct stat st = {0};
    if (fd < 0 && errno == ENOENT)
        return staging_write(s, LOG_NAME, "", 0, err); /* no call was over yet */
    if (fd < 0 || fstat(fd, &st) != 0)
        return arp_fail(err, ARP_E_IO, errno, "open the ledger of run %s", run_id);
    if ((uint64_t)st.st_size > LIMIT_EVENTS_BYTES)
        return arp_fail(
            err, ARP_E_TOO_LARGE, 0, "the ledger of run %s has %lld bytes", run_id, (long long)st.st_size);
    if (st.st_size == 0)
        return staging_write(s, LOG_NAME, "", 0, err);
    size_t len = (size_t)st.st_size;
    char *log = mmap(NULL, len, PROT_READ, MAP_PRIVATE, fd, 0);
    if (log == MAP_FAILED)
        return arp_fail(err, ARP_E_NOMEM, errno, "map the ledger of run %s", run_id);
    int rc = staging_write(s, LOG_NAME, log, good_prefix(run_id, log, len, f), err);
    munmap(log, len);
    return rc;
}

/* One blob: its name is its digest, or it is left out. */
static int take_blob(
    int dir_fd, const char *name, struct staging *s, struct model_files *f, struct arp_err *err)
{
    char sha256[SHA256_HEX_LEN + 1];
    char to[sizeof("blobs/" BLOB_PREFIX) + SHA256_HEX_LEN];
    uint64_t size;
    cleanup_fd int fd = openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    int rc = fd < 0 ? arp_fail(err, ARP_E_IO, errno, "open a blob of a ledger")
                    : sha256_fd(fd, sha256, &size, err);
    if (rc)
        return rc;
    if (strcmp(name + strlen(BLOB_PREFIX), sha256) != 0) {
        f->bad_blobs++;
        return 0;
    }
    snprintf(to, sizeof(to), "blobs/" BLOB_PREFIX "%s", sha256);
    return staging_link(s, dir_fd, name, to, err);
}

static int take_blobs(int dir_fd, struct staging *s, struct model_files *f, struct arp_err *err)
{
    int fd = openat(dir_fd, "blobs", DIR_FLAGS);
    if (fd < 0)
        return errno == ENOENT ? 0 : arp_fail(err, ARP_E_IO, errno, "open the blobs of a ledger");
    DIR *dir = fdopendir(fd);
    if (!dir) {
        close(fd);
        return arp_fail(err, ARP_E_NOMEM, 0, "blobs of a ledger");
    }
    int rc = 0;
    for (const struct dirent *e; rc == 0 && (e = readdir(dir)) != NULL;) {
        /* Another name is a blob that a crash left unfinished. */
        if (strncmp(e->d_name, BLOB_PREFIX, strlen(BLOB_PREFIX)) == 0 &&
            sha256_hex_ok(e->d_name + strlen(BLOB_PREFIX)))
            rc = take_blob(fd, e->d_name, s, f, err);
    }
    closedir(dir);
    return rc;
}

int model_files_take(
    const char *root, const char *run_id, struct staging *s, struct model_files *ret, struct arp_err *err)
{
    struct model_files f = {.bad_line = UINT64_MAX};
    if (!uuid_ok(run_id))
        return arp_fail(err, ARP_E_INVALID, 0, "run id is not a UUID");
    chain_init(&f.end, run_id, LOG_NAME);
    *ret = f;
    cleanup_fd int root_fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (root_fd < 0)
        return errno == ENOENT ? 0 : arp_fail(err, ARP_E_IO, errno, "open '%s'", root);
    cleanup_fd int dir_fd = openat(root_fd, run_id, DIR_FLAGS);
    if (dir_fd < 0)
        return errno == ENOENT ? 0 : arp_fail(err, ARP_E_IO, errno, "open the ledger of run %s", run_id);
    f.found = true;
    int rc = take_log(dir_fd, run_id, s, &f, err);
    if (rc == 0)
        rc = take_blobs(dir_fd, s, &f, err);
    if (rc == 0)
        *ret = f;
    return rc;
}

/* A ledger has the layout of a staging directory: some files, and blobs/. */
int model_files_discard(const char *root, const char *run_id, struct arp_err *err)
{
    return staging_discard(root, run_id, err);
}
