/*
 * The end of a run: see finish.h.
 */
#include "orchestrator/run/finish.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "orchestrator/evidence/collect.h"
#include "orchestrator/evidence/model_files.h"
#include "orchestrator/run/bundler.h"
#include "orchestrator/run/record.h"
#include "orchestrator/store/projects.h"
#include "orchestrator/store/run_events.h"
#include "orchestrator/store/workspaces.h"
#include "shared/clock.h"
#include "shared/fd.h"
#include "shared/limits.h"
#include "shared/log.h"
#include "shared/utf8.h"

/* runs.diff is a convenience for clients; the evidence holds the whole patch. Over 1 MiB a client is better served by the zip. */
#define DIFF_COLUMN_MAX (1u << 20)
#define DOCUMENT_MAX    (64u << 20)

/* The authoritative events.jsonl, mapped from an unlinked file so that a long run costs page cache, not heap. */
struct events_map {
    char *data;
    size_t len;
};

static void events_map_done(struct events_map *m)
{
    if (m->data)
        munmap(m->data, m->len);
}

static int map_events(
    const struct run_env *env, const struct finish *f, struct events_map *ret, struct arp_err *err)
{
    cleanup_fd int fd = memfd_create("events", MFD_CLOEXEC);
    if (fd < 0)
        return arp_fail(err, ARP_E_IO, errno, "memfd_create");
    struct run_chain chain;
    int rc = run_events_lines_of(env->db, f->run->user_id, f->run->id, fd, &chain, err);
    if (rc)
        return rc;
    if ((uint64_t)chain.lines != f->sink->chain.next_seq || strcmp(chain.head, f->sink->chain.prev) != 0)
        return arp_fail(err, ARP_E_CORRUPT, 0, "the stored chain has %lld lines, this process accepted %llu",
            (long long)chain.lines, (unsigned long long)f->sink->chain.next_seq);
    ret->len = (size_t)chain.bytes;
    ret->data = mmap(NULL, ret->len, PROT_READ, MAP_PRIVATE, fd, 0);
    if (ret->data == MAP_FAILED) {
        ret->data = NULL;
        return arp_fail(err, ARP_E_IO, errno, "map events");
    }
    return 0;
}

static int collect(
    const struct run_env *env, const struct finish *f, struct evidence_facts *ret, struct arp_err *err)
{
    __attribute__((cleanup(events_map_done))) struct events_map events = {0};
    int rc = map_events(env, f, &events, err);
    if (rc)
        return rc;
    const struct sink_facts *facts = &f->sink->facts;
    struct evidence_expect expect = {
        .events = events.data,
        .events_len = events.len,
        .command_log_sha256 = facts->command_log_sha256,
        .processes_sha256 = facts->processes_sha256,
        .outputs_sha256 = facts->outputs_sha256,
        .env_sha256 = facts->env_sha256,
        .diff_sha256 = facts->diff_sha256,
        .engine = record_has_engine(f->run),
        .engine_sha256 = facts->engine_sha256,
        .model_root = env->model_root,
    };
    /* A directory there is from a process that died between collecting and finishing: what it says is taken again. */
    rc = evidence_discard(env->staging_root, f->run->id, err);
    if (rc)
        return rc;
    if (f->no_agent_reason || !f->runtime)
        return evidence_collect_nothing(f->run->id, &expect, env->staging_root,
            f->no_agent_reason ? f->no_agent_reason : "the run never had a container", ret, err);
    return evidence_collect(&f->runtime->agent, f->run->id, &expect, env->staging_root, ret, err);
}

static int open_staged(const struct run_env *env, const char *run_id, const char *name, struct arp_err *err)
{
    char path[sizeof(env->staging_root) + 128];
    snprintf(path, sizeof(path), "%s/%s/%s", env->staging_root, run_id, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    return fd >= 0 ? fd : arp_fail(err, ARP_E_IO, errno, "open staged %s", name);
}

/* --- reconciliation ------------------------------------------------------------------------------------------------------------ */

/* A staged file in memory; an empty one is no mapping. */
static int map_staged(const struct run_env *env, const char *run_id, const char *name, struct log_text *ret,
    struct arp_err *err)
{
    cleanup_fd int fd = open_staged(env, run_id, name, err);
    struct stat st;
    if (fd < 0)
        return fd;
    if (fstat(fd, &st) != 0)
        return arp_fail(err, ARP_E_IO, errno, "look at the staged %s", name);
    if (st.st_size == 0)
        return 0;
    void *data = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (data == MAP_FAILED)
        return arp_fail(err, ARP_E_IO, errno, "map the staged %s", name);
    *ret = (struct log_text){.data = data, .len = (size_t)st.st_size};
    return 0;
}

/* Hold the collected files against one another and stage what comes of it. */
static int reconcile(
    const struct run_env *env, const char *run_id, struct reconcile_counts *ret, struct arp_err *err)
{
    static const char *const names[] = {
        "model_log.jsonl", "command_log.jsonl", "processes.jsonl", "events.jsonl", "diff.patch"};
    struct log_text files[sizeof(names) / sizeof(names[0])] = {0};
    cleanup_buf struct buf out;
    int rc = 0;
    buf_init(&out, DOCUMENT_MAX);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]) && rc == 0; i++)
        rc = map_staged(env, run_id, names[i], &files[i], err);
    const struct reconcile_input in = {.run_id = run_id,
        .model_log = files[0],
        .command_log = files[1],
        .processes = files[2],
        .events = files[3],
        .diff = files[4]};
    if (rc == 0)
        rc = reconcile_write(&in, &out, ret, err);
    if (rc == 0)
        rc = evidence_put(env->staging_root, run_id, "reconciliation.json", out.data, out.len, err);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (files[i].data)
            munmap((void *)files[i].data, files[i].len);
    return rc;
}

static void count_findings(struct metrics *m, const struct reconcile_counts *c)
{
    for (size_t i = 0; i < RECONCILE_FINDINGS; i++)
        metrics_count(m, METRIC_RECONCILIATION, reconcile_count(c, i), METRIC_LABELS(reconcile_finding(i)));
}

/* The row has its end, so the ledger is in the evidence. What is not removed here is left to the reconciler. */
static void drop_ledger(const struct run_env *env, const char *run_id)
{
    struct arp_err err;
    struct log_ctx ctx = {0};
    memcpy(ctx.run_id, run_id, UUID_LEN + 1);
    if (model_files_discard(env->model_root, run_id, &err) != 0)
        log_error(LOG_LEVEL_WARN, &ctx, "ledger of an ended run not removed", &err);
}

/* --- the whole ----------------------------------------------------------------------------------------------------------------- */

/* The patch as a client can have it: text of at most DIFF_COLUMN_MAX bytes. False when it is not that. */
static bool read_diff(const struct run_env *env, const char *run_id, struct buf *out)
{
    cleanup_fd int fd = open_staged(env, run_id, "diff.patch", NULL);
    return fd >= 0 && fd_read_all(fd, out, NULL) == 0 && utf8_valid(buf_str(out), out->len) &&
           strlen(buf_str(out)) == out->len;
}

/* Compose both documents, stage them, move the row. */
static int seal_row(const struct run_env *env, const struct finish *f, const struct record *r,
    bool *ret_moved, struct arp_err *err)
{
    cleanup_buf struct buf snapshot, metadata, diff;
    buf_init(&snapshot, DOCUMENT_MAX);
    buf_init(&metadata, DOCUMENT_MAX);
    buf_init(&diff, DIFF_COLUMN_MAX);
    int rc = record_env_snapshot(r, &snapshot, err);
    if (rc == 0)
        rc = record_metadata(r, &metadata, err);
    if (rc == 0)
        rc = evidence_put(
            env->staging_root, f->run->id, "env_snapshot.json", snapshot.data, snapshot.len, err);
    if (rc == 0)
        rc = evidence_put(env->staging_root, f->run->id, "metadata.json", metadata.data, metadata.len, err);
    if (rc)
        return rc;
    bool has_diff = r->evidence->has_diff && read_diff(env, f->run->id, &diff);
    const struct sink_facts *facts = r->facts;
    struct run_end end = {
        .status = facts->status,
        .error_message = facts->error_message,
        .reason = facts->reason,
        .git_commit = facts->git_commit,
        .final_text = facts->final_text,
        .thread_id = facts->thread_id,
        .engine = record_engine(r),
        .usage = f->usage,
        .diff = has_diff ? buf_str(&diff) : NULL,
        .env_snapshot = buf_str(&snapshot),
        .container_context = facts->container_context,
    };
    return runs_finish(env->db, f->run->user_id, f->run->id, &end, ret_moved, err);
}

int finish_run(const struct run_env *env, const struct finish *f, bool *ret_moved, struct arp_err *err)
{
    struct evidence_facts evidence = {0};
    struct project project = {0};
    struct workspace ws = {0};
    struct arp_err ignored;
    int rc = collect(env, f, &evidence, err);
    struct record r = {
        .run = f->run,
        .runtime = f->runtime,
        .facts = &f->sink->facts,
        .events = &f->sink->chain,
        .evidence = &evidence,
        .finished_us = clock_now_us(),
    };
    bool engine = record_has_engine(f->run);
    if (rc == 0 && engine)
        rc = reconcile(env, f->run->id, &r.reconciliation, err);
    if (rc == 0) {
        /* Names that help a reader; a project deleted meanwhile has none. */
        if (projects_get(env->db, f->run->user_id, f->run->project_id, &project, &ignored) == 0)
            r.project_name = project.name;
        if (workspaces_get(env->db, f->run->user_id, f->run->workspace_id, &ws, &ignored) == 0)
            r.runtime_metadata = ws.runtime_metadata;
        rc = seal_row(env, f, &r, ret_moved, err);
    }
    evidence_facts_done(&evidence);
    project_done(&project);
    workspace_done(&ws);
    if (rc == 0 && engine)
        drop_ledger(env, f->run->id);
    if (rc == 0 && *ret_moved && engine)
        count_findings(env->metrics, &r.reconciliation);
    if (rc == 0 && *ret_moved) {
        metrics_count(env->metrics, METRIC_RUNS, 1,
            METRIC_LABELS(run_status_name(f->sink->facts.status), f->run->streaming ? "true" : "false"));
        metrics_observe(env->metrics, METRIC_RUN_DURATION, (r.finished_us - f->run->created_us) * 1000, NULL);
        bundler_wake(env->bundler);
    }
    return rc;
}
