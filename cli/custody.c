/*
 * Offline check of a chain of custody, step by step: see custody.h.
 */
#include "cli/custody.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/custody_doc.h"
#include "shared/chain.h"
#include "shared/fd.h"
#include "shared/limits.h"
#include "shared/uuid.h"

/* A hundred thousand lines with their proofs. */
#define FILE_MAX (256u << 20)

static bool load(struct custody_doc *d, const char *path, struct custody_report *r, struct check *c)
{
    cleanup_buf struct buf text;
    struct arp_err err = {0};
    buf_init(&text, FILE_MAX);
    if (file_read(path, &text, &err) != 0 || json_parse(buf_str(&text), text.len, &d->root, &err) != 0) {
        check_unable(c, "%s", err.msg);
        return false;
    }
    const char *run_id = json_str_at(d->root, "runId");
    const cJSON *lines = json_at(d->root, "lines"), *next = json_at(d->root, "nextAfter");
    if (!run_id || !uuid_ok(run_id) || !cJSON_IsArray(lines) || !cJSON_IsArray(json_at(d->root, "proofs")) ||
        !cJSON_IsArray(json_at(d->root, "days"))) {
        check_unable(c, "not the custody of a run");
        return false;
    }
    snprintf(r->run_id, sizeof(r->run_id), "%s", run_id);
    d->lines = calloc((size_t)cJSON_GetArraySize(lines) + 1, sizeof(*d->lines));
    const cJSON *line;
    cJSON_ArrayForEach(line, lines)
    {
        if (!d->lines || !cJSON_IsString(line)) {
            check_unable(c, "a line is not a string");
            return false;
        }
        d->lines[d->line_count++].text = line->valuestring;
    }
    r->lines = d->line_count;
    if (next && !cJSON_IsNull(next))
        check_unable(c, "there are more lines on the server than in this file");
    check_pass(c, "%zu lines of custody", d->line_count);
    return true;
}

/* Walk the chain; every entry gets its parsed line and its day. */
static void step_chain(struct custody_doc *d, struct custody_report *r, struct check *c)
{
    struct chain chain;
    int64_t last_us = INT64_MIN;
    chain_init(&chain, r->run_id, "custody.jsonl");
    for (size_t i = 0; i < d->line_count; i++) {
        struct custody_entry *l = &d->lines[i];
        struct arp_err err = {0};
        int64_t at_us;
        size_t len = strlen(l->text);
        if (len > LIMIT_LINE || strchr(l->text, '\n') || json_parse_line(l->text, len, &l->obj, &err) != 0) {
            check_fail(c, "line %zu is not a line of JSON", i);
            return;
        }
        const char *ts = json_str_at(l->obj, "ts"), *run = json_str_at(l->obj, "runId");
        if (!ts || clock_parse_iso(ts, &at_us, NULL) != 0 || at_us < last_us || !run ||
            strcmp(run, r->run_id) != 0 || !json_str_at(l->obj, "type")) {
            check_fail(c, "line %zu has no type, is of another run, or is earlier than the one before it", i);
            return;
        }
        if (chain_accept(&chain, l->text, len, l->obj, &err) != 0) {
            check_fail(c, "line %zu: %s", i, err.msg);
            return;
        }
        memcpy(l->day, ts, DAY_LEN);
        last_us = at_us;
    }
    check_pass(c, "%zu lines, each follows from the one before", d->line_count);
}

static bool is_type(const struct custody_entry *l, const char *type)
{
    return strcmp(json_str_at(l->obj, "type"), type) == 0;
}

/* The number of holds that are placed and not released before line end. */
static size_t holds_at(const struct custody_doc *d, size_t end)
{
    size_t n = 0;
    for (size_t i = 0; i < end; i++) {
        const char *id = json_str_at(d->lines[i].obj, "holdId");
        bool open = id && is_type(&d->lines[i], "held");
        for (size_t k = i + 1; open && k < end; k++) {
            const char *other = json_str_at(d->lines[k].obj, "holdId");
            if (other && strcmp(other, id) == 0 && is_type(&d->lines[k], "released"))
                open = false;
        }
        n += open;
    }
    return n;
}

/* The hex digits of a line's "zipSha256"; "" when it has none. */
static const char *zip_of(const struct custody_entry *l)
{
    const char *digest = json_str_at(l->obj, "zipSha256");
    return digest && strncmp(digest, "sha256:", 7) == 0 && sha256_hex_ok(digest + 7) ? digest + 7 : "";
}

/* What is lost may be built again from what was collected, to the very same bytes. */
static void made_check(const char *hex, size_t at, struct custody_report *r, struct check *c)
{
    if (!*hex)
        check_fail(c, "line %zu does not say what was made", at);
    if (r->made_sha256[0] && (r->fate != CUSTODY_LOST || strcmp(hex, r->made_sha256) != 0))
        check_fail(c, "line %zu: made a second time", at);
    snprintf(r->made_sha256, sizeof(r->made_sha256), "%s", hex);
    r->fate = CUSTODY_VANISHED; /* until it is found */
}

static void purge_check(const struct custody_doc *d, size_t at, struct custody_report *r, struct check *c)
{
    const struct custody_entry *l = &d->lines[at];
    const char *policy = json_str_at(l->obj, "policy");
    if (!r->made_sha256[0] || strcmp(zip_of(l), r->made_sha256) != 0)
        check_fail(c, "line %zu says that something else was deleted than was made", at);
    if (r->fate == CUSTODY_PURGED)
        check_fail(c, "line %zu is a second purge", at);
    if (holds_at(d, at) > 0)
        check_fail(c, "line %zu: deleted while a legal hold was in force", at);
    r->fate = CUSTODY_PURGED;
    snprintf(r->policy, sizeof(r->policy), "%s", policy ? policy : "");
    snprintf(r->purged_at, sizeof(r->purged_at), "%s", json_str_at(l->obj, "ts"));
}

/* Does the order of events make sense? Finds out what the chain says became of the evidence. */
static void step_story(struct custody_doc *d, struct custody_report *r, struct check *c)
{
    for (size_t i = 0; i < d->line_count; i++) {
        const struct custody_entry *l = &d->lines[i];
        if (is_type(l, "created")) {
            made_check(zip_of(l), i, r, c);
        } else if (is_type(l, "purged")) {
            purge_check(d, i, r, c);
        } else if (is_type(l, "lost") && r->fate != CUSTODY_PURGED) {
            r->fate = CUSTODY_LOST;
        } else if (is_type(l, "found") && r->fate == CUSTODY_LOST) {
            r->fate = CUSTODY_VANISHED;
        } else if (is_type(l, "downloaded") && (r->fate == CUSTODY_PURGED || r->fate == CUSTODY_NOT_MADE)) {
            check_fail(c, "line %zu: downloaded when there was nothing", i);
        }
    }
    check_pass(c, "%s",
        r->made_sha256[0] ? "what happened could have happened in this order" : "nothing was made yet");
}

static void zip_check(const char *zip, struct custody_report *r, struct check *c)
{
    struct arp_err err = {0};
    char hex[SHA256_HEX_LEN + 1];
    cleanup_fd int fd = open(zip, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || sha256_fd(fd, hex, NULL, &err) != 0) {
        check_unable(c, "the zip can't be read: %s", fd < 0 ? strerror(errno) : err.msg);
    } else if (!r->made_sha256[0] || strcmp(hex, r->made_sha256) != 0) {
        check_fail(c, "the zip (sha256 %s) is not the one that was made", hex);
    } else if (r->fate == CUSTODY_PURGED) {
        check_pass(c, "a copy of the zip that was made; the server's own was deleted by policy");
    } else {
        r->fate = CUSTODY_HERE;
        check_pass(c, "the zip is the one that was made");
    }
}

static void step_evidence(const char *zip, struct custody_report *r, struct check *c)
{
    if (zip && access(zip, F_OK) != 0)
        zip = NULL; /* not here */
    if (zip)
        zip_check(zip, r, c);
    else if (r->fate == CUSTODY_PURGED)
        check_pass(c, "deleted by policy; the digest of what was deleted is that of what was made");
    else if (r->fate == CUSTODY_LOST)
        check_fail(c, "the server says that it lost the file");
    else if (r->fate == CUSTODY_VANISHED)
        check_fail(c, "it was made and never deleted by policy, and it is not here");
    else
        check_unable(c, "no line says that evidence was made");
    /* The file may be there and unreadable, or another. */
    if (zip && c->verdict != CHECK_PASS && r->fate == CUSTODY_VANISHED)
        check_fail(c, "it was made and never deleted by policy, and it is not here");
}

static struct check *next_check(struct custody_report *r, const char *name)
{
    struct check *c = &r->checks[r->count++];
    c->name = name;
    return c;
}

/* The steps after the file could be read; each needs the ones before it. */
static void run_steps(struct custody_doc *d, const char *zip, struct custody_report *r)
{
    struct check *days = next_check(r, "days");
    custody_step_days(d, r, days);
    struct check *chain = next_check(r, "chain");
    step_chain(d, r, chain);
    struct check *proofs = next_check(r, "proofs"), *story = next_check(r, "story"),
                 *evidence = next_check(r, "evidence");
    if (days->verdict == CHECK_FAIL || chain->verdict == CHECK_FAIL)
        check_unable(proofs, "not made, because an earlier check failed");
    else
        custody_step_proofs(d, r, proofs);
    if (chain->verdict == CHECK_FAIL) {
        check_unable(story, "not made, because an earlier check failed");
        check_unable(evidence, "not made, because an earlier check failed");
        return;
    }
    step_story(d, r, story);
    step_evidence(zip, r, evidence);
}

enum verify_exit verify_custody(
    const char *path, const struct keyring *keys, const char *zip, struct custody_report *ret)
{
    struct custody_doc d = {.keys = keys};
    memset(ret, 0, sizeof(*ret));
    bool readable = load(&d, path, ret, next_check(ret, "file"));
    if (readable)
        run_steps(&d, zip, ret);
    bool failed = false, unable = false;
    for (size_t i = 0; i < ret->count; i++) {
        failed = failed || ret->checks[i].verdict == CHECK_FAIL;
        unable = unable || ret->checks[i].verdict == CHECK_UNABLE;
    }
    ret->integrity = readable && !failed;
    ret->exit_code = !readable ? VERIFY_UNUSABLE
                     : failed  ? VERIFY_FAILED
                     : unable  ? VERIFY_UNTRUSTED
                               : VERIFY_OK;
    for (size_t i = 0; i < d.line_count; i++)
        cJSON_Delete(d.lines[i].obj);
    free(d.lines);
    free(d.days);
    cJSON_Delete(d.root);
    return ret->exit_code;
}
