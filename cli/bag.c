/*
 * File list and BagIt papers (RFC 8493) of a bundle: see checks.h and docs/formats/bundle.md, sections 2 and 3.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/checks.h"
#include "shared/words.h"

#define BLOB_PREFIX "data/blobs/sha256-"

/* Every bundle of a run has these and blobs. */
static const char *const run_files[] = {
    "README.txt",
    "attestation/run.intoto.jsonl",
    "attestation/tagmanifest-sha256.txt.sig",
    "bag-info.txt",
    "bagit.txt",
    "command_log.jsonl",
    "data/replay.json",
    "diff.patch",
    "env_snapshot.json",
    "events.jsonl",
    "manifest-sha256.txt",
    "metadata.json",
    "outputs.json",
    "processes.jsonl",
    "ro-crate-metadata.json",
    "tagmanifest-sha256.txt",
};
#define RUN_FILES (sizeof(run_files) / sizeof(run_files[0]))

const char *const bag_engine_files[BAG_ENGINE_FILES] = {
    "engine.jsonl", "model_log.jsonl", "reconciliation.json"};

/* And of a workflow run exactly these. */
static const char *const workflow_files[] = {
    "README.txt",
    "attestation/tagmanifest-sha256.txt.sig",
    WORKFLOW_ENVELOPE,
    "bag-info.txt",
    "bagit.txt",
    "data/bundles-sha256.txt",
    "manifest-sha256.txt",
    "tagmanifest-sha256.txt",
    "workflow.json",
    "workflow.jsonl",
};
#define WORKFLOW_FILES (sizeof(workflow_files) / sizeof(workflow_files[0]))

bool bag_has_engine(const struct packed *zip)
{
    bool has = false;
    for (size_t i = 0; i < BAG_ENGINE_FILES; i++)
        has = has || packed_find(zip, bag_engine_files[i]);
    return has;
}

void step_files(struct verification *v, struct check *c)
{
    size_t engine_count = v->engine ? BAG_ENGINE_FILES : 0;
    const char *const *required = v->workflow ? workflow_files : run_files;
    size_t count = v->workflow ? WORKFLOW_FILES : RUN_FILES, blobs = 0;
    for (size_t i = 0; i < count; i++)
        if (!packed_find(&v->zip, required[i]))
            check_fail(c, "%s is missing", required[i]);
    for (size_t i = 0; i < engine_count; i++)
        if (!packed_find(&v->zip, bag_engine_files[i]))
            check_fail(c, "%s is missing: an engine's run has three files more", bag_engine_files[i]);
    for (size_t i = 0; i < v->zip.count; i++) {
        const struct packed_file *f = &v->zip.files[i];
        if (word_is_in(f->name, required, count) || word_is_in(f->name, bag_engine_files, engine_count))
            continue;
        if (v->workflow || strncmp(f->name, BLOB_PREFIX, strlen(BLOB_PREFIX)) != 0 ||
            !sha256_hex_ok(f->name + strlen(BLOB_PREFIX)))
            check_fail(c, "%s does not belong in a bundle", f->name);
        else if (strcmp(f->name + strlen(BLOB_PREFIX), f->sha256) != 0)
            check_fail(c, "%s holds other bytes than its name says", f->name);
        blobs++;
    }
    check_pass(c, "the %zu files of a bundle and %zu blobs, nothing else", count + engine_count, blobs);
}

static bool in_payload(const char *name)
{
    return strncmp(name, "data/", 5) == 0;
}

/* What the manifest of that kind must list. */
static bool listed_by(const char *name, bool payload)
{
    if (payload)
        return in_payload(name);
    return !in_payload(name) && strncmp(name, "attestation/", 12) != 0 &&
           strcmp(name, "tagmanifest-sha256.txt") != 0;
}

bool manifest_line(
    const struct packed_file *m, size_t *at, char digest[SHA256_HEX_LEN + 1], char *name, size_t name_size)
{
    const char *line = m->data + *at;
    const char *end = memchr(line, '\n', m->size - *at);
    size_t len = end ? (size_t)(end - line) : 0;
    if (len < SHA256_HEX_LEN + 3 || memcmp(line + SHA256_HEX_LEN, "  ", 2) != 0 ||
        len - SHA256_HEX_LEN - 2 >= name_size)
        return false;
    memcpy(digest, line, SHA256_HEX_LEN);
    digest[SHA256_HEX_LEN] = '\0';
    memcpy(name, line + SHA256_HEX_LEN + 2, len - SHA256_HEX_LEN - 2);
    name[len - SHA256_HEX_LEN - 2] = '\0';
    *at += len + 1;
    return sha256_hex_ok(digest) && strlen(name) == len - SHA256_HEX_LEN - 2;
}

/* The manifest lists the files of its kind in their order, each with the digest of what is in the zip, and nothing else. */
static void manifest_check(const struct verification *v, const char *manifest, bool payload, struct check *c)
{
    const struct packed_file *m = packed_find(&v->zip, manifest);
    char digest[SHA256_HEX_LEN + 1], name[200];
    size_t at = 0, i = 0;
    while (at < m->size) {
        if (!manifest_line(m, &at, digest, name, sizeof(name))) {
            check_fail(c, "%s has a line that is not a digest and a name", manifest);
            return;
        }
        while (i < v->zip.count && !listed_by(v->zip.files[i].name, payload))
            i++;
        if (i == v->zip.count || strcmp(name, v->zip.files[i].name) < 0) {
            check_fail(
                c, "%s lists %.120s, which is not in the bundle or listed out of order", manifest, name);
            return;
        }
        if (strcmp(name, v->zip.files[i].name) > 0) {
            check_fail(c, "%s is not listed in %s", v->zip.files[i].name, manifest);
            return;
        }
        if (strcmp(digest, v->zip.files[i].sha256) != 0)
            check_fail(c, "%s was changed: its digest is not the one in %s", name, manifest);
        i++;
    }
    for (; i < v->zip.count; i++)
        if (listed_by(v->zip.files[i].name, payload))
            check_fail(c, "%s is not listed in %s", v->zip.files[i].name, manifest);
}

static bool content_is(const struct packed_file *f, const char *text)
{
    return f->size == strlen(text) && memcmp(f->data, text, f->size) == 0;
}

/* bag-info.txt has one form: five known lines, of which date and salt are free. */
static void bag_info_check(const struct verification *v, struct check *c)
{
    const struct packed_file *f = packed_find(&v->zip, "bag-info.txt");
    uint64_t bytes = 0, files = 0;
    for (size_t i = 0; i < v->zip.count; i++) {
        if (!in_payload(v->zip.files[i].name))
            continue;
        bytes += v->zip.files[i].size;
        files++;
    }
    char text[512], day[11] = "", salt[SHA256_HEX_LEN + 1] = "", want[512];
    snprintf(text, sizeof(text), "%.*s", (int)(f->size < sizeof(text) ? f->size : sizeof(text) - 1), f->data);
    const char *day_at = strstr(text, "\nBagging-Date: "), *salt_at = strstr(text, "\nArp-Salt: ");
    if (day_at)
        snprintf(day, sizeof(day), "%s", day_at + strlen("\nBagging-Date: "));
    if (salt_at)
        snprintf(salt, sizeof(salt), "%s", salt_at + strlen("\nArp-Salt: "));
    if (strlen(day) != 10 || strspn(day, "0123456789-") != 10 || !sha256_hex_ok(salt)) {
        check_fail(c, "bag-info.txt lacks a date or a salt");
        return;
    }
    snprintf(want, sizeof(want),
        "Bag-Software-Agent: arp-orchestrator\nBagging-Date: %s\nExternal-Identifier: urn:uuid:%s\n"
        "Payload-Oxum: %" PRIu64 ".%" PRIu64 "\nArp-Salt: %s\n",
        day, v->zip.run_id, bytes, files, salt);
    if (!content_is(f, want))
        check_fail(c,
            "bag-info.txt does not agree with the run id or the payload (%" PRIu64 " bytes in %" PRIu64
            " files)",
            bytes, files);
}

void step_manifests(struct verification *v, struct check *c)
{
    manifest_check(v, "tagmanifest-sha256.txt", false, c);
    manifest_check(v, "manifest-sha256.txt", true, c);
    if (!content_is(
            packed_find(&v->zip, "bagit.txt"), "BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"))
        check_fail(c, "bagit.txt is not the declaration of a BagIt 1.0 bag");
    bag_info_check(v, c);
    check_pass(c, "every file has the digest its manifest gives, counts and sizes agree");
}
