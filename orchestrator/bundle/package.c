/*
 * Signing and storing a bundle: see package.h.
 */
#include "orchestrator/bundle/package.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "orchestrator/bundle/intoto.h"
#include "orchestrator/bundle/zipfile.h"
#include "shared/fd.h"

#define ENVELOPE_MAX (4u * SIGNER_STATEMENT_MAX)

/* Have the statement signed and add the attestation. */
static int attest(const struct package *p, struct signer *signer, struct entries *e,
    struct bundle_result *res, struct arp_err *err)
{
    cleanup_buf struct buf line;
    buf_init(&line, ENVELOPE_MAX);
    const struct entry *tags = entries_find(e, "tagmanifest-sha256.txt");
    struct seal seal;
    int rc = signer_seal(
        signer, p->id, p->statement->data, p->statement->len, tags->bytes, tags->size, &seal, err);
    if (!rc)
        rc = intoto_envelope(p->statement, &seal, &line, err);
    if (rc)
        return rc;
    sha256_hex_of(line.data, line.len, res->dsse_sha256);
    buf_append_char(&line, '\n');
    rc = buf_error(&line, err);
    if (!rc)
        rc = entries_add_bytes(e, p->envelope, line.data, line.len, err);
    if (!rc)
        rc = entries_add_bytes(
            e, "attestation/tagmanifest-sha256.txt.sig", seal.sshsig, strlen(seal.sshsig), err);
    entries_sort(e);
    return rc;
}

int package_discard(const char *out_dir, const char *id, struct arp_err *err)
{
    char path[PATH_MAX];
    int n = snprintf(path, sizeof(path), "%s/.build-%s", out_dir, id);
    if (n < 0 || (size_t)n >= sizeof(path))
        return arp_fail(err, ARP_E_INVALID, 0, "bundle path is too long");
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (!dir) {
        int why = errno;
        if (fd >= 0)
            close(fd);
        return why == ENOENT ? 0 : arp_fail(err, ARP_E_IO, why, "open '%s'", path);
    }
    for (struct dirent *e; (e = readdir(dir));)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            unlinkat(fd, e->d_name, 0);
    closedir(dir);
    return rmdir(path) == 0 || errno == ENOENT ? 0 : arp_fail(err, ARP_E_IO, errno, "remove '%s'", path);
}

/* An own directory for the unfinished zip and libzip's temp file, without what a crash left there. */
static int work_dir_make(const char *out_dir, const char *id, const char *path, struct arp_err *err)
{
    int rc = package_discard(out_dir, id, err);
    return rc || mkdir(path, 0700) == 0 ? rc : arp_fail(err, ARP_E_IO, errno, "make '%s'", path);
}

/* Sync the finished zip, take its digest and size, and put it in its place. */
static int publish(const char *zip_path, const char *out_dir, struct bundle_result *res, struct arp_err *err)
{
    cleanup_fd int fd = open(zip_path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 || fchmod(fd, 0640) < 0)
        return arp_fail(err, ARP_E_IO, errno, "open '%s'", zip_path);
    int rc = sha256_fd(fd, res->sha256, &res->size_bytes, err);
    if (rc)
        return rc;
    if (fsync(fd) < 0)
        return arp_fail(err, ARP_E_IO, errno, "sync '%s'", zip_path);
    if (rename(zip_path, res->path) < 0)
        return arp_fail(err, ARP_E_IO, errno, "rename to '%s'", res->path);
    cleanup_fd int dir_fd = open(out_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir_fd < 0 || fsync(dir_fd) < 0)
        return arp_fail(err, ARP_E_IO, errno, "sync directory '%s'", out_dir);
    return 0;
}

static int store(const char *id, const struct entries *e, const char *out_dir, struct bundle_result *res,
    struct arp_err *err)
{
    char work[PATH_MAX], zip_path[PATH_MAX];
    int n = snprintf(work, sizeof(work), "%s/.build-%s", out_dir, id);
    int m = snprintf(zip_path, sizeof(zip_path), "%s/.build-%s/bundle.zip", out_dir, id);
    int k = snprintf(res->path, sizeof(res->path), "%s/%s.zip", out_dir, id);
    if (n < 0 || m < 0 || k < 0 || (size_t)m >= sizeof(zip_path) || (size_t)k >= sizeof(res->path))
        return arp_fail(err, ARP_E_INVALID, 0, "bundle path is too long");
    int rc = work_dir_make(out_dir, id, work, err);
    if (!rc)
        rc = zipfile_write(zip_path, id, e, err);
    if (!rc)
        rc = publish(zip_path, out_dir, res, err);
    unlink(zip_path);
    rmdir(work);
    return rc;
}

int package_make(const struct package *p, struct entries *e, struct signer *signer, const char *out_dir,
    struct bundle_result *ret, struct arp_err *err)
{
    struct bundle_result res = {0};
    int rc = attest(p, signer, e, &res, err);
    if (!rc)
        rc = store(p->id, e, out_dir, &res, err);
    if (!rc)
        *ret = res;
    return rc;
}
