/*
 * Staging directory reader: see staged.h.
 */
#include "orchestrator/bundle/staged.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shared/chain.h"
#include "shared/fd.h"
#include "shared/limits.h"
#include "shared/words.h"

#define BLOB_PREFIX "sha256-"

static const char *const staged_names[] = {
    "command_log.jsonl",
    "diff.patch",
    "env_snapshot.json",
    "events.jsonl",
    "metadata.json",
    "outputs.json",
    "processes.jsonl",
};
#define STAGED_COUNT (sizeof(staged_names) / sizeof(staged_names[0]))
/* Of an engine's run besides. */
static const char *const engine_names[] = {"engine.jsonl", "model_log.jsonl", "reconciliation.json"};
#define ENGINE_COUNT (sizeof(engine_names) / sizeof(engine_names[0]))

static void closedir_ptr(DIR **d)
{
    if (*d)
        closedir(*d);
}
#define cleanup_dir __attribute__((cleanup(closedir_ptr)))

/* Open dir/name as a regular file, hash it and add it as entry_name. */
static int add_file(
    const char *dir, const char *name, const char *entry_name, struct entries *out, struct arp_err *err)
{
    char path[PATH_MAX], sha256[SHA256_HEX_LEN + 1];
    int n = snprintf(path, sizeof(path), "%s/%s", dir, name);
    if (n < 0 || (size_t)n >= sizeof(path))
        return arp_fail(err, ARP_E_INVALID, 0, "staging path is too long");
    cleanup_fd int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0)
        return arp_fail(err, errno == ENOENT || errno == ELOOP ? ARP_E_EVIDENCE : ARP_E_IO, errno,
            "staged file %s", name);
    struct stat st;
    if (fstat(fd, &st) < 0)
        return arp_fail(err, ARP_E_IO, errno, "staged file %s", name);
    if (!S_ISREG(st.st_mode))
        return arp_fail(err, ARP_E_EVIDENCE, 0, "staged file %s is not a regular file", name);
    uint64_t size;
    int rc = sha256_fd(fd, sha256, &size, err);
    if (rc)
        return rc;
    size_t prefix = strlen("data/blobs/" BLOB_PREFIX);
    if (strncmp(entry_name, "data/", 5) == 0 && strcmp(entry_name + prefix, sha256) != 0)
        return arp_fail(err, ARP_E_EVIDENCE, 0, "blob %s holds other bytes than its name says", name);
    return entries_add_file(out, entry_name, path, size, sha256, err);
}

static int read_blobs(const char *dir, struct entries *out, struct arp_err *err)
{
    cleanup_dir DIR *d = opendir(dir);
    if (!d)
        return errno == ENOENT ? 0 : arp_fail(err, ARP_E_IO, errno, "open '%s'", dir);
    size_t count = 0;
    for (struct dirent *e; (e = readdir(d));) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        if (strncmp(e->d_name, BLOB_PREFIX, strlen(BLOB_PREFIX)) != 0 ||
            !sha256_hex_ok(e->d_name + strlen(BLOB_PREFIX)))
            return arp_fail(err, ARP_E_EVIDENCE, 0, "the staging directory holds a blob of another name");
        if (++count > BUNDLE_BLOBS_MAX)
            return arp_fail(err, ARP_E_TOO_LARGE, 0, "more than %d blobs", BUNDLE_BLOBS_MAX);
        char entry_name[128];
        snprintf(entry_name, sizeof(entry_name), "data/blobs/%.80s", e->d_name);
        int rc = add_file(dir, e->d_name, entry_name, out, err);
        if (rc)
            return rc;
    }
    return 0;
}

static int add_files(
    const char *dir, const char *const *names, size_t n, struct entries *out, struct arp_err *err)
{
    int rc = 0;
    for (size_t i = 0; i < n && rc == 0; i++)
        rc = add_file(dir, names[i], names[i], out, err);
    return rc;
}

int staged_read(const char *staging_dir, bool engine, struct entries *out, struct arp_err *err)
{
    size_t engine_count = engine ? ENGINE_COUNT : 0;
    cleanup_dir DIR *d = opendir(staging_dir);
    if (!d)
        return arp_fail(err, ARP_E_IO, errno, "open staging directory '%s'", staging_dir);
    for (struct dirent *e; (e = readdir(d));) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0 || strcmp(e->d_name, "blobs") == 0)
            continue;
        if (!word_is_in(e->d_name, staged_names, STAGED_COUNT) &&
            !word_is_in(e->d_name, engine_names, engine_count))
            return arp_fail(err, ARP_E_EVIDENCE, 0, "the staging directory holds a file of another name");
    }
    int rc = add_files(staging_dir, staged_names, STAGED_COUNT, out, err);
    if (rc == 0)
        rc = add_files(staging_dir, engine_names, engine_count, out, err);
    if (rc)
        return rc;
    char blobs[PATH_MAX];
    int n = snprintf(blobs, sizeof(blobs), "%s/blobs", staging_dir);
    if (n < 0 || (size_t)n >= sizeof(blobs))
        return arp_fail(err, ARP_E_INVALID, 0, "staging path is too long");
    return read_blobs(blobs, out, err);
}

static void fclose_ptr(FILE **f)
{
    if (*f)
        fclose(*f);
}

int staged_chain_end(const char *staging_dir, const char *run_id, const char *file, struct bundle_chain *ret,
    struct arp_err *err)
{
    char path[PATH_MAX];
    int n = snprintf(path, sizeof(path), "%s/%s", staging_dir, file);
    if (n < 0 || (size_t)n >= sizeof(path))
        return arp_fail(err, ARP_E_INVALID, 0, "staging path is too long");
    __attribute__((cleanup(fclose_ptr))) FILE *f = fopen(path, "re");
    if (!f)
        return arp_fail(err, errno == ENOENT ? ARP_E_EVIDENCE : ARP_E_IO, errno, "open staged %s", file);
    struct chain start;
    chain_init(&start, run_id, file);
    struct bundle_chain end = {0};
    memcpy(end.head, start.prev, sizeof(end.head));
    cleanup_free char *line = NULL;
    size_t cap = 0;
    for (ssize_t len; (len = getline(&line, &cap, f)) > 0; end.lines++) {
        if (line[len - 1] != '\n' || (size_t)len - 1 > LIMIT_LINE)
            return arp_fail(err, ARP_E_EVIDENCE, 0, "line %llu of %s is cut or too long",
                (unsigned long long)end.lines, file);
        sha256_hex_of(line, (size_t)len - 1, end.head);
    }
    if (ferror(f))
        return arp_fail(err, ARP_E_IO, errno, "read staged %s", file);
    *ret = end;
    return 0;
}
