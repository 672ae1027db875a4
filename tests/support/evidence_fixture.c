/*
 * Evidence for tests: see evidence_fixture.h.
 */
#include "tests/support/evidence_fixture.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zip.h>

#include "orchestrator/bundle/zipfile.h"
#include "shared/chain.h"
#include "shared/fd.h"
#include "tests/support/process.h"
#include "tests/support/run_story.h"

#define FILE_MAX (64u << 20)

const char *fixture_file(struct fixture *f, const char *name, const void *bytes, size_t len)
{
    static char path[PATH_MAX];
    put_file(f->root, name, bytes, len);
    snprintf(path, sizeof(path), "%s/%s", f->root, name);
    return path;
}

void fixture_open(struct fixture *f)
{
    struct arp_err err;
    *f = (struct fixture){0};
    snprintf(f->root, sizeof(f->root), "/tmp/arp-evidence-XXXXXX");
    MUST(mkdtemp(f->root));
    snprintf(f->out, sizeof(f->out), "%s/out", f->root);
    snprintf(f->keyring, sizeof(f->keyring), "%s/keys.json", f->root);
    MUST(mkdir(f->out, 0700) == 0 && signer_start(f->root, &f->signer, &err) == 0);
    cleanup_buf struct buf keys;
    buf_init(&keys, 8192);
    MUST(signer_public_keys_json(f->signer, &keys, &err) == 0);
    put_file(f->root, "keys.json", keys.data, keys.len);
}

void fixture_close(struct fixture *f)
{
    signer_stop(f->signer);
    temp_remove(f->root);
}

void fixture_stage(struct fixture *f, const char *run_id, enum fixture_kind kind, struct bundle_input *ret)
{
    char staging[sizeof(f->root) + 16];
    snprintf(staging, sizeof(staging), "%s/staging", f->root);
    mkdir(staging, 0700);
    story_write(staging, run_id, kind, f->step, ret);
}

void fixture_build(struct fixture *f, const char *run_id, enum fixture_kind kind, char ret[PATH_MAX])
{
    struct bundle_input in;
    struct bundle_result res;
    struct arp_err err = {0};
    fixture_stage(f, run_id, kind, &in);
    if (bundle_build(&in, f->signer, f->out, &res, &err) != 0) {
        fprintf(stderr, "fixture: %s\n", err.msg);
        abort();
    }
    snprintf(ret, PATH_MAX, "%s", res.path);
}

/* --- what an attacker does --------------------------------------------------------------------------------------------------- */

void fixture_unpack(const char *path, struct entries *ret)
{
    zip_t *z = zip_open(path, ZIP_RDONLY, NULL);
    MUST(z);
    *ret = (struct entries){0};
    for (zip_int64_t i = 0; i < zip_get_num_entries(z, 0); i++) {
        zip_stat_t st;
        MUST(zip_stat_index(z, (zip_uint64_t)i, 0, &st) == 0);
        cleanup_free char *bytes = malloc(st.size + 1);
        zip_file_t *file = zip_fopen_index(z, (zip_uint64_t)i, 0);
        MUST(bytes && file && zip_fread(file, bytes, st.size) == (zip_int64_t)st.size);
        zip_fclose(file);
        MUST(entries_add_bytes(ret, strchr(st.name, '/') + 1, bytes, st.size, NULL) == 0);
    }
    zip_discard(z);
}

void fixture_repack(const char *path, const char *top, struct entries *e)
{
    unlink(path);
    entries_sort(e);
    MUST(zipfile_write(path, top, e, NULL) == 0);
}

void fixture_drop(struct entries *e, const char *name)
{
    struct entry *gone = (struct entry *)entries_find(e, name);
    MUST(gone);
    free(gone->name);
    free(gone->bytes);
    free(gone->path);
    *gone = e->items[--e->count];
    entries_sort(e);
}

void fixture_replace(struct entries *e, const char *name, const void *bytes, size_t len)
{
    cleanup_free char *copy = malloc(len + 1);
    MUST(copy);
    memcpy(copy, bytes, len);
    fixture_drop(e, name);
    MUST(entries_add_bytes(e, name, copy, len, NULL) == 0);
    entries_sort(e);
}

static void remake_oxum(struct entries *e)
{
    uint64_t bytes = 0, files = 0;
    for (size_t i = 0; i < e->count; i++) {
        if (strncmp(e->items[i].name, "data/", 5) != 0)
            continue;
        bytes += e->items[i].size;
        files++;
    }
    const struct entry *info = entries_find(e, "bag-info.txt");
    const char *at = strstr(info->bytes, "Payload-Oxum: ");
    MUST(at);
    const char *rest = strchr(at, '\n');
    cleanup_buf struct buf b;
    buf_init(&b, FILE_MAX);
    buf_append(&b, info->bytes, (size_t)(at - info->bytes));
    buf_printf(&b, "Payload-Oxum: %" PRIu64 ".%" PRIu64, bytes, files);
    buf_append(&b, rest, info->size - (size_t)(rest - info->bytes));
    fixture_replace(e, "bag-info.txt", b.data, b.len);
}

void fixture_remake_manifests(struct entries *e)
{
    remake_oxum(e);
    for (int tags = 0; tags < 2; tags++) {
        const char *manifest = tags ? "tagmanifest-sha256.txt" : "manifest-sha256.txt";
        cleanup_buf struct buf b;
        buf_init(&b, FILE_MAX);
        for (size_t i = 0; i < e->count; i++) {
            const char *name = e->items[i].name;
            bool payload = strncmp(name, "data/", 5) == 0;
            bool tag = !payload && strncmp(name, "attestation/", 12) != 0 &&
                       strcmp(name, "tagmanifest-sha256.txt") != 0;
            if (tags ? tag : payload)
                buf_printf(&b, "%s  %s\n", e->items[i].sha256, name);
        }
        fixture_replace(e, manifest, b.data, b.len);
    }
}

void fixture_rechain(struct entries *e, const char *run_id, const char *log)
{
    struct chain chain;
    chain_init(&chain, run_id, log);
    const struct entry *old = entries_find(e, log);
    cleanup_buf struct buf b;
    buf_init(&b, FILE_MAX);
    for (const char *line = old->bytes; line < old->bytes + old->size;) {
        const char *end = memchr(line, '\n', (size_t)(old->bytes + old->size - line));
        const char *stamp = memmem(line, (size_t)(end - line), ",\"seq\":", 7);
        size_t start = b.len;
        buf_append(&b, line, (size_t)(stamp - line));
        buf_printf(&b, ",\"seq\":%" PRIu64 ",\"prev\":\"%s\"}", chain.next_seq, chain.prev);
        chain_advance(&chain, b.data + start, b.len - start);
        buf_append_char(&b, '\n');
        line = end + 1;
    }
    fixture_replace(e, log, b.data ? b.data : "", b.len);
}

bool fixture_edit(struct entries *e, const char *run_id, const char *file, const char *from, const char *to)
{
    const struct entry *old = entries_find(e, file);
    const char *at = memmem(old->bytes, old->size, from, strlen(from));
    if (!at)
        return false;
    cleanup_buf struct buf b;
    buf_init(&b, FILE_MAX);
    buf_append(&b, old->bytes, (size_t)(at - old->bytes));
    buf_append_str(&b, to);
    at += strlen(from);
    buf_append(&b, at, old->size - (size_t)(at - old->bytes));
    fixture_replace(e, file, b.data, b.len);
    if (strstr(file, ".jsonl") && strncmp(file, "attestation/", 12) != 0)
        fixture_rechain(e, run_id, file);
    fixture_remake_manifests(e);
    return true;
}

bool fixture_find_line(const struct entry *e, size_t n, size_t *at, size_t *end)
{
    *at = 0;
    for (size_t i = 0;; i++) {
        const char *lf = *at < e->size ? memchr(e->bytes + *at, '\n', e->size - *at) : NULL;
        if (!lf)
            return false;
        *end = (size_t)(lf - e->bytes) + 1;
        if (i == n)
            return true;
        *at = *end;
    }
}

bool fixture_drop_line(struct entries *e, const char *name, size_t n)
{
    size_t at, end;
    const struct entry *log = entries_find(e, name);
    if (!fixture_find_line(log, n, &at, &end))
        return false;
    cleanup_buf struct buf b;
    buf_init(&b, FILE_MAX);
    buf_append(&b, log->bytes, at);
    buf_append(&b, log->bytes + end, log->size - end);
    fixture_replace(e, name, buf_str(&b), b.len);
    return true;
}

bool fixture_swap_lines(struct entries *e, const char *name, size_t n)
{
    size_t at, mid, at2, end;
    const struct entry *log = entries_find(e, name);
    if (!fixture_find_line(log, n, &at, &mid) || !fixture_find_line(log, n + 1, &at2, &end))
        return false;
    cleanup_buf struct buf b;
    buf_init(&b, FILE_MAX);
    buf_append(&b, log->bytes, at);
    buf_append(&b, log->bytes + mid, end - mid);
    buf_append(&b, log->bytes + at, mid - at);
    buf_append(&b, log->bytes + end, log->size - end);
    fixture_replace(e, name, b.data, b.len);
    return true;
}
