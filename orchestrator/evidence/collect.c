#include "orchestrator/evidence/collect.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "orchestrator/evidence/checks.h"
#include "orchestrator/evidence/model_files.h"
#include "orchestrator/evidence/staging.h"
#include "shared/clock.h"
#include "shared/fd.h"
#include "shared/limits.h"
#include "shared/uuid.h"

/* Where a file lies until it passed its checks. No evidence name begins with a dot. */
#define INCOMING ".incoming"
/* A lying agent can hand out a thousand files a byte at a time: the whole collection has an end. */
#define COLLECT_LIMIT_NS (300ll * 1000000000)
/* So many files that an agent fails to deliver, and it counts as gone. */
#define FAILURES_MAX 3

struct collector {
    const struct agent_target *agent; /* NULL: nobody to ask */
    const char *run_id;
    const struct evidence_expect *expect;
    struct staging *staging;
    struct evidence_facts *facts;
    struct agent_evidence_file *list;
    size_t list_n;
    struct check_heads heads;
    uint64_t blob_bytes; /* kept so far */
    int64_t deadline_ns;
    unsigned failures;
};

__attribute__((format(printf, 2, 3))) static void problem(struct evidence_facts *f, const char *fmt, ...)
{
    if (f->problem_count < EVIDENCE_PROBLEMS_MAX) {
        va_list args;
        va_start(args, fmt);
        vsnprintf(f->problems[f->problem_count], EVIDENCE_PROBLEM_MSG_MAX, fmt, args);
        va_end(args);
    }
    f->problem_count++;
}

void evidence_facts_done(struct evidence_facts *f)
{
    free(f->env_json);
    f->env_json = NULL;
}

static bool agent_gone(const struct collector *c)
{
    return c->failures >= FAILURES_MAX || clock_mono_ns() > c->deadline_ns;
}

static const struct agent_evidence_file *find_entry(const struct collector *c, const char *name)
{
    for (size_t i = 0; i < c->list_n; i++)
        if (strcmp(c->list[i].name, name) == 0)
            return &c->list[i];
    return NULL;
}

/* --- one file --- */

/* A fetched file under its incoming name. */
struct incoming {
    int fd;
    uint64_t size;
    char sha256[SHA256_HEX_LEN + 1];
    char *map; /* the bytes while they are checked; NULL for an empty file */
};

static void incoming_done(struct incoming *in)
{
    if (in->map)
        munmap(in->map, in->size);
    if (in->fd >= 0)
        close(in->fd);
    *in = (struct incoming){.fd = -1};
}

static const char *bytes_of(const struct incoming *in)
{
    return in->map ? in->map : "";
}

/* Bring one listed file in. *ret_got false: it is not here, a problem says why. Errors: our own disk only. */
static int fetch(struct collector *c, const struct agent_evidence_file *entry, uint64_t limit,
    struct incoming *ret, bool *ret_got, struct arp_err *err)
{
    struct arp_err why = {0};
    *ret_got = false;
    *ret = (struct incoming){.fd = -1};
    if (entry->size_bytes > limit) {
        problem(c->facts, "%s: claims %llu bytes, limit %llu", entry->name,
            (unsigned long long)entry->size_bytes, (unsigned long long)limit);
        return 0;
    }
    if (agent_gone(c)) {
        problem(c->facts, "%s: not fetched, the agent stopped answering", entry->name);
        return 0;
    }
    int rc = staging_create(c->staging, INCOMING, &ret->fd, err);
    if (rc != 0)
        return rc;
    rc = agent_evidence_fetch(
        c->agent, c->run_id, entry->name, ret->fd, entry->size_bytes, ret->sha256, &ret->size, &why);
    if (rc == 0 && ret->size > 0) {
        ret->map = mmap(NULL, ret->size, PROT_READ, MAP_PRIVATE, ret->fd, 0);
        if (ret->map == MAP_FAILED) {
            ret->map = NULL;
            rc = arp_fail(&why, ARP_E_NOMEM, 0, "map %s", entry->name);
        }
    }
    if (rc == 0) {
        *ret_got = true;
        return 0;
    }
    incoming_done(ret);
    staging_unlink(c->staging, INCOMING);
    if (rc == ARP_E_IO || rc == ARP_E_NOMEM) {
        if (err)
            *err = why;
        return rc;
    }
    c->failures += rc == ARP_E_AGENT || rc == ARP_E_TIMEOUT;
    problem(c->facts, "%s: %.180s", entry->name, why.msg);
    return 0;
}

/* What did not pass stays in the evidence under the name of its content. */
static int quarantine(struct collector *c, const struct incoming *in, struct arp_err *err)
{
    char name[AGENT_EVIDENCE_NAME_MAX];
    if (in->size > LIMIT_RUN_BLOBS - c->blob_bytes) {
        staging_unlink(c->staging, INCOMING);
        return 0;
    }
    c->blob_bytes += in->size;
    snprintf(name, sizeof(name), "blobs/sha256-%s", in->sha256);
    return staging_rename(c->staging, INCOMING, name, err);
}

/* Compare with the digest that was streamed and the one in the list. streamed may be NULL: not known. */
static int check_digest(const struct incoming *in, const struct agent_evidence_file *entry,
    const char *streamed, struct arp_err *err)
{
    const char *hex = sha256_hex_in(streamed);
    if (streamed && (!hex || strcmp(hex, in->sha256) != 0))
        return arp_fail(err, ARP_E_CORRUPT, 0, "not the bytes whose digest was streamed");
    if (strcmp(entry->sha256, in->sha256) != 0)
        return arp_fail(err, ARP_E_CORRUPT, 0, "not the bytes whose digest was listed");
    return 0;
}

/* --- the files by name --- */

static int check_log_file(struct collector *c, const struct incoming *in, struct arp_err *err)
{
    return check_command_log(c->run_id, bytes_of(in), in->size, &c->heads, &c->facts->command_log, err);
}

static int check_processes_file(struct collector *c, const struct incoming *in, struct arp_err *err)
{
    const struct check_streamed streamed = {.events = c->expect->events,
        .len = c->expect->events_len,
        .engine = c->heads.engine,
        .closed = c->expect->processes_sha256 != NULL};
    return check_processes(c->run_id, bytes_of(in), in->size, &streamed, &c->facts->processes, err);
}

static int check_outputs_file(struct collector *c, const struct incoming *in, struct arp_err *err)
{
    struct check_diff_stats stats;
    int rc = check_outputs(c->run_id, bytes_of(in), in->size, &stats, err);
    if (rc == 0 && stats.known) {
        c->facts->has_diff_stats = true;
        c->facts->files_changed = stats.files_changed;
        c->facts->insertions = stats.insertions;
        c->facts->deletions = stats.deletions;
    }
    return rc;
}

static int check_env_file(struct collector *c, const struct incoming *in, struct arp_err *err)
{
    int rc = check_env(c->run_id, bytes_of(in), in->size, err);
    if (rc != 0)
        return rc;
    c->facts->env_json = strndup(bytes_of(in), in->size);
    return c->facts->env_json ? 0 : arp_fail(err, ARP_E_NOMEM, 0, "env.json");
}

/* Fetch a file, check it, and let it in under its name (keep false: only its content is wanted). *ret_ok: it passed. */
static int take_file(struct collector *c, const char *name, uint64_t limit, const char *streamed,
    int (*check)(struct collector *, const struct incoming *, struct arp_err *), bool keep, bool *ret_ok,
    struct arp_err *err)
{
    struct incoming in;
    struct arp_err why = {0};
    bool got = false;
    const struct agent_evidence_file *entry = find_entry(c, name);
    *ret_ok = false;
    if (!entry) {
        problem(c->facts, "%s: missing", name);
        return 0;
    }
    int rc = fetch(c, entry, limit, &in, &got, err);
    if (rc != 0 || !got)
        return rc;
    int bad = check_digest(&in, entry, streamed, &why);
    if (bad == 0 && check)
        bad = check(c, &in, &why);
    if (bad != 0) {
        problem(c->facts, "%s: %.180s", name, why.msg);
        rc = quarantine(c, &in, err);
    } else if (keep) {
        rc = staging_rename(c->staging, INCOMING, name, err);
    } else {
        staging_unlink(c->staging, INCOMING);
    }
    *ret_ok = bad == 0 && rc == 0;
    incoming_done(&in);
    return rc;
}

/* Where two byte strings part: for the reader of a problem. */
static void describe_difference(struct collector *c, const struct incoming *in)
{
    const char *ours = c->expect->events;
    const char *theirs = bytes_of(in);
    size_t shorter = c->expect->events_len < in->size ? c->expect->events_len : in->size;
    size_t at = 0;
    size_t line = 0;
    while (at < shorter && ours[at] == theirs[at])
        line += ours[at++] == '\n';
    if (at == shorter && in->size < c->expect->events_len)
        problem(c->facts, "events.jsonl: the volume's copy ends before line %zu", line);
    else if (at == shorter)
        problem(
            c->facts, "events.jsonl: the volume's copy goes on after line %zu, the last one received", line);
    else
        problem(c->facts, "events.jsonl: the volume's copy differs from line %zu on", line);
}

/* The volume's events against ours. Only a copy that differs is kept, as a blob: ours is in its place already. */
static int compare_events(struct collector *c, struct arp_err *err)
{
    struct incoming in;
    bool got = false;
    const struct agent_evidence_file *entry = find_entry(c, "events.jsonl");
    if (!entry) {
        problem(c->facts, "events.jsonl: missing");
        return 0;
    }
    int rc = fetch(c, entry, LIMIT_EVENTS_BYTES, &in, &got, err);
    if (rc != 0 || !got)
        return rc;
    c->facts->volume_match =
        in.size == c->expect->events_len && memcmp(bytes_of(&in), c->expect->events, in.size) == 0;
    if (c->facts->volume_match) {
        staging_unlink(c->staging, INCOMING);
    } else {
        describe_difference(c, &in);
        rc = quarantine(c, &in, err);
    }
    incoming_done(&in);
    return rc;
}

/* One blob: its name is its digest, or it is not kept. */
static int take_blob(struct collector *c, const struct agent_evidence_file *entry, struct arp_err *err)
{
    struct incoming in;
    bool got = false;
    uint64_t room = LIMIT_RUN_BLOBS - c->blob_bytes;
    int rc = fetch(c, entry, room < LIMIT_BLOB ? room : LIMIT_BLOB, &in, &got, err);
    if (rc != 0 || !got)
        return rc;
    if (strcmp(in.sha256, entry->name + strlen("blobs/sha256-")) == 0) {
        c->blob_bytes += in.size;
        rc = staging_rename(c->staging, INCOMING, entry->name, err);
    } else {
        problem(c->facts, "%s: content has another digest", entry->name);
        staging_unlink(c->staging, INCOMING);
    }
    incoming_done(&in);
    return rc;
}

/* --- of an engine's run --- */

/* What the engine's program printed: its own word, kept as it came. An agent that streamed no digest of it left none. */
static int take_engine_log(struct collector *c, struct arp_err *err)
{
    const char *streamed = c->expect->engine_sha256;
    if (!c->expect->engine && find_entry(c, "engine.jsonl"))
        problem(c->facts, "engine.jsonl: of a run without an engine");
    if (!c->expect->engine || (!streamed && !find_entry(c, "engine.jsonl")))
        return 0;
    return take_file(c, "engine.jsonl", LIMIT_BLOB, streamed, NULL, true, &c->facts->has_engine_log, err);
}

/* Our own record of the model calls. */
static int take_model_log(struct collector *c, struct arp_err *err)
{
    struct model_files f;
    if (!c->expect->engine || !c->expect->model_root)
        return 0;
    int rc = model_files_take(c->expect->model_root, c->run_id, c->staging, &f, err);
    if (rc)
        return rc;
    c->facts->model_log = f.end;
    c->facts->has_model_log = f.found && !f.torn && f.bad_line == UINT64_MAX && f.bad_blobs == 0;
    if (!f.found)
        problem(c->facts, "model_log.jsonl: the run had no ledger");
    if (f.torn)
        problem(c->facts, "model_log.jsonl: its last line was cut and is left out");
    if (f.bad_line != UINT64_MAX)
        problem(c->facts, "model_log.jsonl: line %llu breaks the chain, it and what follows is left out",
            (unsigned long long)f.bad_line);
    if (f.bad_blobs)
        problem(c->facts, "model_log.jsonl: %llu of its blobs are left out", (unsigned long long)f.bad_blobs);
    return f.found ? 0 : staging_write(c->staging, "model_log.jsonl", "", 0, err);
}

/* --- the whole --- */

static int take_all(struct collector *c, struct arp_err *err)
{
    const struct evidence_expect *x = c->expect;
    bool env_ok = false;
    int rc = take_file(c, "command_log.jsonl", LIMIT_EVENTS_BYTES, x->command_log_sha256, check_log_file,
        true, &c->facts->has_command_log, err);
    if (rc == 0)
        rc = take_file(c, "processes.jsonl", LIMIT_PROCESS_BYTES, x->processes_sha256, check_processes_file,
            true, &c->facts->has_process_log, err);
    if (rc == 0)
        rc = take_file(c, "outputs.json", LIMIT_OUTPUTS_JSON, x->outputs_sha256, check_outputs_file, true,
            &c->facts->has_outputs_manifest, err);
    if (rc == 0)
        rc = take_file(c, "diff.patch", LIMIT_DIFF, x->diff_sha256, NULL, true, &c->facts->has_diff, err);
    if (rc == 0)
        rc = take_file(c, "env.json", LIMIT_METADATA, x->env_sha256, check_env_file, false, &env_ok, err);
    if (rc == 0)
        rc = take_engine_log(c, err);
    if (rc == 0)
        rc = compare_events(c, err);
    for (size_t i = 0; rc == 0 && i < c->list_n; i++)
        if (strncmp(c->list[i].name, "blobs/", 6) == 0)
            rc = take_blob(c, &c->list[i], err);
    return rc;
}

/* A file that did not get in leaves an empty one: every bundle has the same names, and every one of an engine's run. */
static int fill_gaps(struct collector *c, struct arp_err *err)
{
    const struct {
        const char *name;
        bool present;
    } files[] = {
        {"command_log.jsonl", c->facts->has_command_log},
        {"processes.jsonl", c->facts->has_process_log},
        {"outputs.json", c->facts->has_outputs_manifest},
        {"diff.patch", c->facts->has_diff},
        {"engine.jsonl", c->facts->has_engine_log || !c->expect->engine},
    };
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < sizeof(files) / sizeof(files[0]); i++)
        if (!files[i].present)
            rc = staging_write(c->staging, files[i].name, "", 0, err);
    return rc;
}

static bool is_complete(const struct collector *c)
{
    const struct evidence_facts *f = c->facts;
    const struct evidence_expect *x = c->expect;
    if (x->engine && (!f->has_model_log || (x->engine_sha256 && !f->has_engine_log)))
        return false;
    return f->has_command_log && f->has_process_log && f->has_outputs_manifest && f->has_diff &&
           f->volume_match && f->env_json && f->problem_count == 0 && x->command_log_sha256 &&
           x->processes_sha256 && x->outputs_sha256 && x->env_sha256 && x->diff_sha256;
}

static int collect(struct collector *c, const char *staging_root, struct arp_err *err)
{
    struct arp_err why = {0};
    cleanup_staging struct staging *staging = NULL;
    int rc = staging_open(staging_root, c->run_id, &staging, err);
    if (rc != 0)
        return rc;
    c->staging = staging;
    chain_init(&c->facts->command_log, c->run_id, "command_log.jsonl");
    chain_init(&c->facts->processes, c->run_id, "processes.jsonl");
    chain_init(&c->facts->model_log, c->run_id, "model_log.jsonl");
    c->deadline_ns = clock_mono_ns() + COLLECT_LIMIT_NS;
    check_heads_read(c->expect->events, c->expect->events_len, &c->heads);
    c->heads.closed = c->expect->command_log_sha256 != NULL;
    rc = staging_write(staging, "events.jsonl", c->expect->events, c->expect->events_len, err);
    if (rc == 0 && c->agent) {
        if (agent_evidence_list(c->agent, c->run_id, &c->list, &c->list_n, &why) != 0)
            problem(c->facts, "evidence list: %.180s", why.msg);
        else
            rc = take_all(c, err);
    }
    if (rc == 0)
        rc = take_model_log(c, err);
    if (rc == 0)
        rc = fill_gaps(c, err);
    if (rc == 0)
        rc = staging_commit(staging, err);
    c->facts->complete = rc == 0 && is_complete(c);
    return rc;
}

int evidence_collect(const struct agent_target *t, const char *run_id, const struct evidence_expect *expect,
    const char *staging_root, struct evidence_facts *ret, struct arp_err *err)
{
    struct collector *c = calloc(1, sizeof(*c)); /* the heads make it too big for a small stack */
    if (!c)
        return arp_fail(err, ARP_E_NOMEM, 0, "evidence collector");
    memset(ret, 0, sizeof(*ret));
    c->agent = t;
    c->run_id = run_id;
    c->expect = expect;
    c->facts = ret;
    int rc = collect(c, staging_root, err);
    if (rc != 0)
        evidence_facts_done(ret);
    free(c->list);
    free(c);
    return rc;
}

int evidence_collect_nothing(const char *run_id, const struct evidence_expect *expect,
    const char *staging_root, const char *reason, struct evidence_facts *ret, struct arp_err *err)
{
    int rc = evidence_collect(NULL, run_id, expect, staging_root, ret, err);
    if (rc == 0)
        problem(ret, "%.200s", reason);
    return rc;
}

int evidence_put(const char *staging_root, const char *run_id, const char *name, const void *bytes,
    size_t len, struct arp_err *err)
{
    static const char *const names[] = {"metadata.json", "env_snapshot.json", "reconciliation.json"};
    char path[4096];
    bool known = false;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        known = known || strcmp(name, names[i]) == 0;
    if (!uuid_ok(run_id) || !known)
        return arp_fail(err, ARP_E_INVALID, 0, "not a file that may be put into evidence");
    int n = snprintf(path, sizeof(path), "%s/%s", staging_root, run_id);
    if (n < 0 || (size_t)n >= sizeof(path))
        return arp_fail(err, ARP_E_INVALID, 0, "path of evidence too long");
    cleanup_fd int dir = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (dir < 0)
        return arp_fail(err, ARP_E_NOT_FOUND, 0, "no staged evidence of run %s", run_id);
    return file_write_durable(dir, name, bytes, len, 0600, err);
}

int evidence_discard(const char *staging_root, const char *run_id, struct arp_err *err)
{
    return staging_discard(staging_root, run_id, err);
}
