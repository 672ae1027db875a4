/*
 * Ledger: see ledger.h.
 */
#include "orchestrator/gateway/ledger.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shared/chain.h"
#include "shared/clock.h"
#include "shared/fd.h"
#include "shared/limits.h"
#include "shared/uuid.h"

#define LOG_NAME  "model_log.jsonl"
#define DIR_FLAGS (O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
/* "sha256-<hex>" and "part-<n>" */
#define BLOB_NAME_MAX (7 + SHA256_HEX_LEN + 1)

struct ledger {
    char run_id[UUID_LEN + 1];
    int dir_fd, blobs_fd, log_fd;
    struct chain chain;
    struct buf line;
    uint64_t blob_bytes; /* kept, and being written */
    uint64_t blobs;      /* kept */
    uint64_t spools;     /* opened so far: names of unfinished blobs */
    off_t end;           /* of the last whole line */
};

struct ledger_spool {
    struct ledger *ledger; /* borrowed */
    int fd;
    uint64_t size;
    bool over; /* past a limit: will not be kept */
    char name[BLOB_NAME_MAX];
};

static void ledger_free(struct ledger *l)
{
    if (!l)
        return;
    fd_close_ptr(&l->log_fd);
    fd_close_ptr(&l->blobs_fd);
    fd_close_ptr(&l->dir_fd);
    buf_done(&l->line);
    free(l);
}

static int fail(struct arp_err *err, const char *what)
{
    return arp_fail(err, ARP_E_IO, errno, "model ledger: %s", what);
}

static int open_files(struct ledger *l, const char *root, struct arp_err *err)
{
    cleanup_fd int root_fd = open(root, DIR_FLAGS);
    if (root_fd < 0)
        return fail(err, "open its root");
    if (mkdirat(root_fd, l->run_id, 0700) < 0)
        return errno == EEXIST ? arp_fail(err, ARP_E_CONFLICT, 0, "the run has a model ledger")
                               : fail(err, "make its directory");
    l->dir_fd = openat(root_fd, l->run_id, DIR_FLAGS);
    if (l->dir_fd < 0 || mkdirat(l->dir_fd, "blobs", 0700) < 0)
        return fail(err, "make its directory");
    l->blobs_fd = openat(l->dir_fd, "blobs", DIR_FLAGS);
    l->log_fd = openat(l->dir_fd, LOG_NAME, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (l->blobs_fd < 0 || l->log_fd < 0)
        return fail(err, "create " LOG_NAME);
    return fsync(root_fd) == 0 ? 0 : fail(err, "sync its root");
}

int ledger_open(const char *root, const char *run_id, struct ledger **ret, struct arp_err *err)
{
    if (!uuid_ok(run_id))
        return arp_fail(err, ARP_E_INVALID, 0, "model ledger: run id is not a UUID");
    struct ledger *l = calloc(1, sizeof(*l));
    if (!l)
        return arp_fail(err, ARP_E_NOMEM, 0, "model ledger");
    l->dir_fd = l->blobs_fd = l->log_fd = -1;
    memcpy(l->run_id, run_id, UUID_LEN + 1);
    buf_init(&l->line, LIMIT_LINE);
    chain_init(&l->chain, run_id, LOG_NAME);
    int rc = dir_make(root, 0700, err);
    if (rc == 0)
        rc = open_files(l, root, err);
    if (rc != 0) {
        ledger_free(l);
        return rc;
    }
    *ret = l;
    return 0;
}

/* The file stays within LIMIT_EVENTS_BYTES, or it could not become evidence; behind LEDGER_LINES_MAX there is room for short lines only. */
static bool has_room(const struct ledger *l, size_t len)
{
    uint64_t end = ledger_size(l) + len;
    return end <= (len <= LEDGER_SHORT_LINE ? LIMIT_EVENTS_BYTES : LEDGER_LINES_MAX);
}

int ledger_append(struct ledger *l, const char *members, size_t len, struct arp_err *err)
{
    char ts[CLOCK_ISO_LEN + 1];
    struct json j;
    clock_iso_now(ts);
    buf_reset(&l->line);
    json_init(&j, &l->line);
    json_obj_open(&j);
    json_kstr(&j, "ts", ts);
    json_kstr(&j, "runId", l->run_id);
    json_kstr(&j, "type", "model_call");
    buf_append(&l->line, members, len);
    chain_stamp(&l->chain, &j);
    json_obj_close(&j);
    size_t line_len = l->line.len;
    buf_append_char(&l->line, '\n');
    int rc = buf_error(&l->line, err);
    if (rc != 0)
        return rc;
    if (!has_room(l, l->line.len))
        return arp_fail(err, ARP_E_TOO_LARGE, 0, "model ledger: it is full");
    rc = fd_write_all(l->log_fd, l->line.data, l->line.len, err);
    if (rc != 0) {
        /* Half a line must not stand before the next one. */
        if (ftruncate(l->log_fd, l->end) < 0 || lseek(l->log_fd, l->end, SEEK_SET) < 0)
            arp_wrap(err, "the torn line stays");
        arp_wrap(err, "model ledger");
        return rc;
    }
    l->end += (off_t)l->line.len;
    chain_advance(&l->chain, l->line.data, line_len);
    return 0;
}

uint64_t ledger_size(const struct ledger *l)
{
    return (uint64_t)l->end;
}

/* --- blobs ----------------------------------------------------------------------------------------------------------------------- */

int ledger_spool_open(struct ledger *l, struct ledger_spool **ret, struct arp_err *err)
{
    struct ledger_spool *s = calloc(1, sizeof(*s));
    if (!s)
        return arp_fail(err, ARP_E_NOMEM, 0, "model ledger");
    s->ledger = l;
    snprintf(s->name, sizeof(s->name), "part-%llu", (unsigned long long)l->spools++);
    s->fd = openat(l->blobs_fd, s->name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (s->fd < 0) {
        free(s);
        return fail(err, "create a blob");
    }
    *ret = s;
    return 0;
}

int ledger_spool_write(struct ledger_spool *s, const void *bytes, size_t len, struct arp_err *err)
{
    struct ledger *l = s->ledger;
    if (s->over || s->size + len > LIMIT_BLOB || l->blob_bytes + len > LIMIT_RUN_BLOBS) {
        s->over = true;
        return 0;
    }
    int rc = fd_write_all(s->fd, bytes, len, err);
    if (rc != 0) {
        s->over = true;
        arp_wrap(err, "model ledger: blob");
        return rc;
    }
    s->size += len;
    l->blob_bytes += len;
    return 0;
}

static void blob_name(const char *sha256, char ret[BLOB_NAME_MAX])
{
    snprintf(ret, BLOB_NAME_MAX, "sha256-%s", sha256);
}

static bool has_blob(const struct ledger *l, const char *sha256)
{
    char name[BLOB_NAME_MAX];
    blob_name(sha256, name);
    return faccessat(l->blobs_fd, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

/* known: such a blob is there already. */
static int end_spool(
    struct ledger_spool *s, const char *sha256, bool known, bool *ret_kept, struct arp_err *err)
{
    struct ledger *l = s->ledger;
    char name[BLOB_NAME_MAX];
    int rc = 0;
    bool kept = false;
    if (sha256 && !known && !s->over && l->blobs < LEDGER_BLOBS_MAX) {
        blob_name(sha256, name);
        if (renameat(l->blobs_fd, s->name, l->blobs_fd, name) == 0)
            kept = true;
        else
            rc = fail(err, "name a blob");
        l->blobs += kept;
    }
    if (!kept) {
        unlinkat(l->blobs_fd, s->name, 0);
        l->blob_bytes -= s->size;
    }
    if (ret_kept)
        *ret_kept = kept || known;
    close(s->fd);
    free(s);
    return rc;
}

int ledger_spool_end(struct ledger_spool *s, const char *sha256, bool *ret_kept, struct arp_err *err)
{
    return s ? end_spool(s, sha256, sha256 && has_blob(s->ledger, sha256), ret_kept, err) : 0;
}

int ledger_blob(struct ledger *l, const void *bytes, size_t len, char ret_sha256[SHA256_HEX_LEN + 1],
    bool *ret_kept, struct arp_err *err)
{
    struct ledger_spool *s = NULL;
    sha256_hex_of(bytes, len, ret_sha256);
    *ret_kept = has_blob(l, ret_sha256);
    /* What is not kept costs no file: a full run's requests have thousands of parts. */
    if (*ret_kept || l->blobs >= LEDGER_BLOBS_MAX || len > LIMIT_BLOB ||
        l->blob_bytes + len > LIMIT_RUN_BLOBS)
        return 0;
    int rc = ledger_spool_open(l, &s, err);
    if (rc != 0 || !s)
        return rc;
    rc = ledger_spool_write(s, bytes, len, err);
    int end = end_spool(s, rc == 0 ? ret_sha256 : NULL, false, ret_kept, err);
    return rc != 0 ? rc : end;
}

/* --- end ------------------------------------------------------------------------------------------------------------------------- */

static int sync_file(int dir_fd, const char *name)
{
    cleanup_fd int fd = openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    return fd >= 0 && fsync(fd) == 0 ? 0 : -1;
}

/* Every file of the directory. Takes fd. */
static int sync_files(int fd)
{
    DIR *dir = fdopendir(fd);
    if (!dir) {
        close(fd);
        return -1;
    }
    int rc = 0;
    const struct dirent *entry;
    /* readdir(3) is safe on a stream that one thread uses; readdir_r is deprecated. */
    /* cppcheck-suppress readdirCalled */
    while (rc == 0 && (entry = readdir(dir)) != NULL)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            rc = sync_file(fd, entry->d_name);
    closedir(dir);
    return rc;
}

int ledger_close(struct ledger *l, struct arp_err *err)
{
    if (!l)
        return 0;
    int rc = 0;
    int fd = openat(l->dir_fd, "blobs", DIR_FLAGS);
    if (fd < 0 || sync_files(fd) != 0 || fsync(l->blobs_fd) != 0 || fsync(l->log_fd) != 0 ||
        fsync(l->dir_fd) != 0)
        rc = fail(err, "sync");
    ledger_free(l);
    return rc;
}
