/*
 * Building a bundle, step by step: see bundle.h.
 */
#include "orchestrator/bundle/bundle.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "orchestrator/bundle/bag.h"
#include "orchestrator/bundle/crate.h"
#include "orchestrator/bundle/entries.h"
#include "orchestrator/bundle/staged.h"
#include "orchestrator/bundle/statement.h"
#include "orchestrator/bundle/zipfile.h"
#include "shared/fd.h"
#include "shared/uuid.h"

#define ENVELOPE_MAX (4u * SIGNER_STATEMENT_MAX)

static bool hex_ok(const char *s)
{
    size_t n = s ? strlen(s) : 0;
    return !s || ((n == 40 || n == 64) && strspn(s, "0123456789abcdef") == n);
}

static bool image_digest_ok(const char *s)
{
    return !s || (strncmp(s, "sha256:", 7) == 0 && sha256_hex_ok(s + 7));
}

static int input_check(const struct bundle_input *in, struct arp_err *err)
{
    if (!uuid_ok(in->run_id) || !uuid_ok(in->user_id) || !uuid_ok(in->project_id) ||
        !uuid_ok(in->workspace_id))
        return arp_fail(err, ARP_E_INVALID, 0, "bundle input: an id is not a UUID");
    if (!sha256_hex_ok(in->salt) || !sha256_hex_ok(in->events.head) || !sha256_hex_ok(in->command_log.head) ||
        !sha256_hex_ok(in->processes.head))
        return arp_fail(err, ARP_E_INVALID, 0, "bundle input: salt or chain head is not 64 hex digits");
    if (!hex_ok(in->git_commit) || !hex_ok(in->tree_before) || !hex_ok(in->tree_after) ||
        !image_digest_ok(in->image_digest))
        return arp_fail(err, ARP_E_INVALID, 0, "bundle input: commit, tree or image digest is malformed");
    if (!in->engine || !in->orchestrator_version)
        return arp_fail(err, ARP_E_INVALID, 0, "bundle input: engine or version is missing");
    return 0;
}

static int chain_check(
    const struct bundle_input *in, const char *file, const struct bundle_chain *want, struct arp_err *err)
{
    struct bundle_chain got;
    int rc = staged_chain_end(in->staging_dir, in->run_id, file, &got, err);
    if (rc)
        return rc;
    if (got.lines != want->lines || strcmp(got.head, want->head) != 0)
        return arp_fail(err, ARP_E_EVIDENCE, 0, "%s ends at line %llu %s, the run's record says %llu %s",
            file, (unsigned long long)got.lines, got.head, (unsigned long long)want->lines, want->head);
    return 0;
}

/* All files but the attestation. */
static int collect(const struct bundle_input *in, struct entries *e, struct arp_err *err)
{
    int rc = chain_check(in, "events.jsonl", &in->events, err);
    if (!rc)
        rc = chain_check(in, "command_log.jsonl", &in->command_log, err);
    if (!rc)
        rc = chain_check(in, "processes.jsonl", &in->processes, err);
    if (!rc)
        rc = staged_read(in->staging_dir, e, err);
    if (!rc && entries_total_size(e) > BUNDLE_SIZE_MAX)
        rc = arp_fail(err, ARP_E_TOO_LARGE, 0, "the evidence is over %llu bytes", BUNDLE_SIZE_MAX);
    if (!rc)
        rc = bag_add_replay_plan(in, e, err);
    if (!rc)
        rc = bag_add_readme(in, e, err);
    if (!rc)
        rc = crate_add(in, e, err);
    return rc ? rc : bag_seal_manifests(in, e, err);
}

/* Have the statement signed and add the attestation. */
static int attest(const struct bundle_input *in, struct signer *signer, struct entries *e,
    struct bundle_result *res, struct arp_err *err)
{
    cleanup_buf struct buf statement, line;
    buf_init(&statement, SIGNER_STATEMENT_MAX);
    buf_init(&line, ENVELOPE_MAX);
    int rc = statement_write(in, e, &statement, err);
    if (rc)
        return rc;
    const struct entry *tags = entries_find(e, "tagmanifest-sha256.txt");
    struct seal seal;
    rc = signer_seal(signer, in->run_id, statement.data, statement.len, tags->bytes, tags->size, &seal, err);
    if (!rc)
        rc = statement_envelope(&statement, &seal, &line, err);
    if (rc)
        return rc;
    sha256_hex_of(line.data, line.len, res->dsse_sha256);
    buf_append_char(&line, '\n');
    rc = buf_error(&line, err);
    if (!rc)
        rc = entries_add_bytes(e, "attestation/run.intoto.jsonl", line.data, line.len, err);
    if (!rc)
        rc = entries_add_bytes(
            e, "attestation/tagmanifest-sha256.txt.sig", seal.sshsig, strlen(seal.sshsig), err);
    entries_sort(e);
    return rc;
}

/* An own directory for the unfinished zip and libzip's temp file, emptied of what a crash left there. */
static int work_dir_make(const char *path, struct arp_err *err)
{
    if (mkdir(path, 0700) == 0)
        return 0;
    DIR *d = errno == EEXIST ? opendir(path) : NULL;
    if (!d)
        return arp_fail(err, ARP_E_IO, errno, "make '%s'", path);
    for (struct dirent *e; (e = readdir(d));)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            unlinkat(dirfd(d), e->d_name, 0);
    closedir(d);
    return 0;
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

static int store(const struct bundle_input *in, const struct entries *e, const char *out_dir,
    struct bundle_result *res, struct arp_err *err)
{
    char work[PATH_MAX], zip_path[PATH_MAX];
    int n = snprintf(work, sizeof(work), "%s/.build-%s", out_dir, in->run_id);
    int m = snprintf(zip_path, sizeof(zip_path), "%s/.build-%s/bundle.zip", out_dir, in->run_id);
    int k = snprintf(res->path, sizeof(res->path), "%s/%s.zip", out_dir, in->run_id);
    if (n < 0 || m < 0 || k < 0 || (size_t)m >= sizeof(zip_path) || (size_t)k >= sizeof(res->path))
        return arp_fail(err, ARP_E_INVALID, 0, "bundle path is too long");
    int rc = work_dir_make(work, err);
    if (!rc)
        rc = zipfile_write(zip_path, in->run_id, e, err);
    if (!rc)
        rc = publish(zip_path, out_dir, res, err);
    unlink(zip_path);
    rmdir(work);
    return rc;
}

int bundle_build(const struct bundle_input *in, struct signer *signer, const char *out_dir,
    struct bundle_result *ret, struct arp_err *err)
{
    cleanup_entries struct entries entries = {0};
    struct bundle_result res = {0};
    int rc = input_check(in, err);
    if (!rc)
        rc = collect(in, &entries, err);
    if (!rc)
        rc = attest(in, signer, &entries, &res, err);
    if (!rc)
        rc = store(in, &entries, out_dir, &res, err);
    if (rc) {
        arp_wrap(err, "bundle of run %s", in->run_id);
        return rc;
    }
    *ret = res;
    return 0;
}
