/*
 * Reconciling: see reconciler.h.
 */
#include "orchestrator/run/reconciler.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "orchestrator/run/leftover.h"
#include "orchestrator/run/live.h"
#include "orchestrator/run/warm.h"
#include "orchestrator/store/retention.h"
#include "orchestrator/store/workspaces.h"
#include "shared/clock.h"
#include "shared/fd.h"
#include "shared/hash.h"
#include "shared/log.h"

#define ROWS_PAGE 500
#define SLICE     1000 /* files, and rows, per call: some tens of milliseconds */
#define SUSPICIOUS                                                                                           \
    20 /* this many rows or more, and over half of them without a file: then it may be the store that is not there */

static const char *const names[] = {
#define X(id, name) [id] = name,
    RECONCILED(X)
#undef X
};

const char *reconciled_name(enum reconciled kind)
{
    return names[kind];
}

int64_t reconcile_put_right(const struct reconcile_report *report)
{
    int64_t n = -report->n[RECONCILED_DOUBTED];
    for (int i = 0; i < RECONCILED_COUNT; i++)
        n += report->n[i];
    return n;
}

void reconcile_note(const struct run_env *env, struct reconcile_report *report, enum reconciled kind)
{
    report->n[kind]++;
    if (!report->dry_run)
        metrics_count(env->metrics, METRIC_RECONCILED, 1, METRIC_LABELS(names[kind]));
}

/* What has no row is kept for as long as it would be with one: nano_days of the option, in microseconds. */
static int64_t orphan_age_us(int64_t nano_days)
{
    int64_t ttl_us = nano_days * 864 / 10;
    return ttl_us > LEFTOVER_YOUNG_US ? ttl_us : LEFTOVER_YOUNG_US;
}

/* Rows are dated by the database's clock, files and volumes by the host's. Where that has jumped ahead they must not be old because of it. */
static int take_now(const struct run_env *env, struct reconcile_report *report, struct arp_err *err)
{
    int64_t host_us = clock_now_us();
    int rc = db_now(env->db, &report->now_us, err);
    if (rc == 0 && host_us < report->now_us)
        report->now_us = host_us;
    return rc;
}

/* Does this look like the database of another installation, an empty one, or one that is much too old? A single stranger alone stays too. */
static bool doubtful(size_t strangers, size_t all)
{
    return strangers > all / 2;
}

static void log_doubt(const char *what, size_t strangers, size_t all)
{
    struct arp_err why;
    arp_fail(&why, ARP_E_CORRUPT, 0, "%zu of %zu %s have no row: is this the database of this installation?",
        strangers, all, what);
    log_error(LOG_LEVEL_ERROR, NULL, "what has no row is not removed", &why);
}

/* --- engine -------------------------------------------------------------------------------------------------------------------- */

/* The engine's item of a workspace; items are sorted by workspace id. */
static const struct runtime_item *find_item(
    const struct runtime_item *items, size_t n, const char *workspace_id)
{
    size_t low = 0;
    size_t high = n;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        int c = strcmp(items[mid].workspace_id, workspace_id);
        if (c == 0)
            return &items[mid];
        if (c < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return NULL;
}

/* A warm workspace has a container that runs, any other has none. */
static bool row_agrees(const struct workspace *ws, bool exists, bool running)
{
    return exists == running && running == (ws->state == WORKSPACE_WARM);
}

/* With the workspace locked: engine and row were listed one after the other, and may have agreed all the time. */
static int put_row_right(
    const struct run_env *env, const char *workspace_id, struct reconcile_report *report, struct arp_err *err)
{
    struct workspace ws = {0};
    bool exists, running;
    int rc = workspaces_find(env->db, workspace_id, &ws, err);
    if (rc)
        return rc;
    rc = runtime_look(env->runtime, workspace_id, &exists, &running, err);
    if (rc == 0 && ws.state != WORKSPACE_DELETED && !row_agrees(&ws, exists, running)) {
        rc = warm_cool(env, ws.user_id, workspace_id, err);
        if (rc == 0)
            reconcile_note(env, report, RECONCILED_WORKSPACE);
    }
    workspace_done(&ws);
    return rc;
}

/* Either may be what a crash left: a row is written after the engine has acted. One that somebody works on is left to him. */
static void compare_row(const struct run_env *env, const struct workspace *ws,
    const struct runtime_item *item, struct reconcile_report *report)
{
    struct arp_err err;
    int64_t epoch;
    if (row_agrees(ws, item && item->container_id[0], item && item->running))
        return;
    if (report->dry_run) {
        reconcile_note(env, report, RECONCILED_WORKSPACE);
        return;
    }
    if (workspace_lock(env, ws->id, &epoch, &err) != 0)
        return;
    int rc = put_row_right(env, ws->id, report, &err);
    workspace_unlock(env, ws->id, epoch);
    if (rc) {
        struct log_ctx ctx = {0};
        memcpy(ctx.user_id, ws->user_id, sizeof(ctx.user_id));
        memcpy(ctx.workspace_id, ws->id, sizeof(ctx.workspace_id));
        log_error(LOG_LEVEL_WARN, &ctx, "workspace could not be cooled", &err);
    }
}

/* Walk the live rows in id order against the engine's items; known[i] says that item i has a row. */
static int reconcile_rows(const struct run_env *env, const struct runtime_item *items, size_t n, bool *known,
    struct reconcile_report *report, struct arp_err *err)
{
    char after[UUID_LEN + 1] = "";
    for (;;) {
        struct workspaces page = {0};
        int rc = workspaces_live(env->db, after[0] ? after : NULL, ROWS_PAGE, &page, err);
        if (rc)
            return rc;
        for (size_t i = 0; i < page.n; i++) {
            const struct runtime_item *item = find_item(items, n, page.v[i].id);
            if (item)
                known[item - items] = true;
            compare_row(env, &page.v[i], item, report);
        }
        size_t got = page.n;
        if (got > 0)
            memcpy(after, page.v[got - 1].id, sizeof(after));
        workspaces_done(&page);
        if (got == 0)
            return 0;
    }
}

/* An item that has no live row. */
struct verdict {
    bool missing;           /* no row at all */
    bool container, volume; /* what of it goes */
};

/* Errors: those of the store. */
static int judge_item(const struct run_env *env, const struct runtime_item *item, int64_t now_us,
    struct verdict *ret, struct arp_err *err)
{
    struct workspace ws = {0};
    int rc = workspaces_find(env->db, item->workspace_id, &ws, err);
    bool missing = rc == ARP_E_NOT_FOUND;
    if (rc && !missing)
        return rc;
    bool deleted = !missing && ws.state == WORKSPACE_DELETED;
    workspace_done(&ws);
    int64_t age = orphan_age_us(env->cfg->workspace_cold_ttl_nano_days);
    bool old = item->volume_created_us > 0 && item->volume_created_us < now_us - age;
    ret->missing = missing;
    ret->container = (missing || deleted) && item->container_id[0];
    ret->volume = item->has_volume && (deleted || (missing && old));
    return 0;
}

/* When the rows look like those of another installation: items without one count as known, and so stay. */
static int keep_strangers(const struct run_env *env, const struct runtime_item *items, size_t n, bool *known,
    int64_t now_us, struct arp_err *err)
{
    struct verdict *v = calloc(n + 1, sizeof(*v));
    size_t strangers = 0;
    bool would_go = false;
    int rc = v ? 0 : arp_fail(err, ARP_E_NOMEM, 0, "reconcile");
    for (size_t i = 0; i < n && rc == 0; i++) {
        rc = known[i] ? 0 : judge_item(env, &items[i], now_us, &v[i], err);
        strangers += v[i].missing;
        would_go = would_go || (v[i].missing && (v[i].container || v[i].volume));
    }
    bool doubt = rc == 0 && doubtful(strangers, n);
    for (size_t i = 0; i < n && doubt; i++)
        known[i] = known[i] || v[i].missing;
    if (doubt && would_go)
        log_doubt("workspaces at the engine", strangers, n);
    free(v);
    return rc;
}

/* With the workspace locked, unless it is a dry run. */
static int remove_item(const struct run_env *env, const struct runtime_item *item,
    struct reconcile_report *report, struct arp_err *err)
{
    struct verdict v = {0};
    int rc = judge_item(env, item, report->now_us, &v, err);
    if (rc || (!v.container && !v.volume))
        return rc;
    if (!report->dry_run && v.volume)
        rc = runtime_destroy(env->runtime, item->workspace_id, err);
    else if (!report->dry_run)
        rc = runtime_cool(env->runtime, item->workspace_id, err);
    if (rc)
        return rc;
    if (v.container)
        reconcile_note(env, report, RECONCILED_CONTAINER);
    if (v.volume)
        reconcile_note(env, report, RECONCILED_VOLUME);
    struct log_ctx ctx = {0};
    memcpy(ctx.workspace_id, item->workspace_id, sizeof(ctx.workspace_id));
    if (!report->dry_run && v.container)
        log_warn(&ctx, "container without a workspace row removed");
    if (!report->dry_run && v.volume)
        log_warn(&ctx, "volume without a workspace row removed");
    return 0;
}

static int reconcile_item(const struct run_env *env, const struct runtime_item *item,
    struct reconcile_report *report, struct arp_err *err)
{
    int64_t epoch;
    if (report->dry_run)
        return remove_item(env, item, report, err);
    int rc = workspace_lock(env, item->workspace_id, &epoch, err);
    if (rc == ARP_E_BUSY)
        return 0; /* being deleted, or made anew */
    if (rc)
        return rc;
    rc = remove_item(env, item, report, err);
    workspace_unlock(env, item->workspace_id, epoch);
    return rc;
}

/* One that the engine does not let go of must not keep the others. Errors: ARP_E_DATABASE. */
static int try_item(const struct run_env *env, const struct runtime_item *item,
    struct reconcile_report *report, struct arp_err *err)
{
    int rc = reconcile_item(env, item, report, err);
    if (rc == 0 || rc == ARP_E_DATABASE)
        return rc;
    struct log_ctx ctx = {0};
    memcpy(ctx.workspace_id, item->workspace_id, sizeof(ctx.workspace_id));
    log_error(LOG_LEVEL_WARN, &ctx, "a left-over could not be removed, will try again", err);
    return 0;
}

int reconcile_engine(const struct run_env *env, struct reconcile_report *report, struct arp_err *err)
{
    struct runtime_item *items = NULL;
    size_t n = 0;
    int rc = take_now(env, report, err);
    if (rc == 0)
        rc = runtime_list(env->runtime, &items, &n, err);
    if (rc)
        return rc;
    bool *known = calloc(n + 1, sizeof(*known));
    if (!known) {
        free(items);
        return arp_fail(err, ARP_E_NOMEM, 0, "reconcile");
    }
    rc = reconcile_rows(env, items, n, known, report, err);
    if (rc == 0)
        rc = keep_strangers(env, items, n, known, report->now_us, err);
    for (size_t i = 0; i < n && rc == 0 && !live_stopping(env->live); i++)
        rc = known[i] ? 0 : try_item(env, &items[i], report, err);
    free(known);
    free(items);
    return rc;
}

/* --- evidence store ------------------------------------------------------------------------------------------------------------ */

/* The directories, in which things are found, then the rows, of which each has its file. */
enum part {
    PART_ROOT = LEFTOVER_IN_ROOT,
    PART_STAGING = LEFTOVER_IN_STAGING,
    PART_MODEL = LEFTOVER_IN_MODEL,
    PART_RUNS,
    PART_WORKFLOWS,
    PART_COUNT
};
#define WALKS PART_RUNS

struct reconciler {
    DIR *dir[WALKS];                 /* where the walk stands */
    struct retention_cursor rows[2]; /* per kind of bundle */
    bool done[PART_COUNT];           /* in this round */
    bool doubted;                    /* in this round the zips of most bundles of a page were missing */
};

struct reconciler *reconciler_new(void)
{
    return calloc(1, sizeof(struct reconciler));
}

static void close_walk(DIR **dir)
{
    if (*dir)
        closedir(*dir);
    *dir = NULL;
}

void reconciler_free(struct reconciler *r)
{
    if (!r)
        return;
    for (int i = 0; i < WALKS; i++)
        close_walk(&r->dir[i]);
    free(r);
}

/* As many as one statement asks about. */
struct batch {
    size_t n;
    struct retention_name name[RETENTION_BATCH];
    struct leftover found[RETENTION_BATCH];
};

/* A zip that was missed is there: when its bytes are the right ones, the bundle is ready again. */
static int take_back(const struct run_env *env, int dir_fd, const char *id, const char *sha256,
    struct reconcile_report *report, struct arp_err *err)
{
    char name[UUID_LEN + 8];
    char digest[SHA256_HEX_LEN + 1];
    uint64_t size;
    snprintf(name, sizeof(name), "%s.zip", id);
    cleanup_fd int fd = fd_open_beneath(dir_fd, name, O_RDONLY, 0, err);
    int rc = fd < 0 ? fd : sha256_fd(fd, digest, &size, err);
    if (rc || strcmp(digest, sha256) != 0)
        return rc;
    if (!report->dry_run)
        rc = retention_bundle_found(env->db, id, digest, err);
    if (rc == ARP_E_NOT_FOUND)
        return 0;
    if (rc == 0)
        reconcile_note(env, report, RECONCILED_FOUND);
    return rc;
}

static bool must_go(const struct run_env *env, const struct leftover *l, const struct retention_owner *owner)
{
    return leftover_must_go(l, owner, orphan_age_us(env->cfg->evidence_ttl_nano_days));
}

static int settle_one(const struct run_env *env, int dir_fd, const struct leftover *l, const char *id,
    const struct retention_owner *owner, struct reconcile_report *report, struct arp_err *err)
{
    static const enum reconciled kinds[] = {[LEFTOVER_ZIP] = RECONCILED_ZIP,
        [LEFTOVER_BUILD] = RECONCILED_BUILD,
        [LEFTOVER_STAGED] = RECONCILED_STAGING,
        [LEFTOVER_HALF] = RECONCILED_TEMP,
        [LEFTOVER_LEDGER] = RECONCILED_LEDGER};
    if (l->kind == LEFTOVER_ZIP && owner->lost_sha256[0])
        return take_back(env, dir_fd, id, owner->lost_sha256, report, err);
    if (!must_go(env, l, owner))
        return 0;
    int rc = report->dry_run ? 0 : leftover_remove(l, env, dir_fd, id, err);
    if (rc)
        return rc;
    reconcile_note(env, report, kinds[l->kind]);
    struct log_ctx ctx = {0};
    memcpy(ctx.run_id, id, sizeof(ctx.run_id));
    if (!report->dry_run)
        log_warn(&ctx, "left-over removed from the evidence store", LOG_STR("kind", names[kinds[l->kind]]));
    return 0;
}

/* One that can't be removed, or read, must not keep the others. Errors: ARP_E_DATABASE. */
static int try_one(const struct run_env *env, int dir_fd, const struct leftover *l, const char *id,
    const struct retention_owner *owner, struct reconcile_report *report, struct arp_err *err)
{
    int rc = settle_one(env, dir_fd, l, id, owner, report, err);
    if (rc == 0 || rc == ARP_E_DATABASE)
        return rc;
    struct log_ctx ctx = {0};
    memcpy(ctx.run_id, id, sizeof(ctx.run_id));
    log_error(LOG_LEVEL_WARN, &ctx, "a left-over could not be removed, will try again", err);
    return 0;
}

/* Ids of the batch that no row knows, and ids; each counts once, whatever there is of it. */
static void count_strangers(
    const struct batch *b, const struct retention_owner *owners, size_t *ret_strangers, size_t *ret_all)
{
    *ret_strangers = *ret_all = 0;
    for (size_t i = 0; i < b->n; i++) {
        size_t first = 0;
        while (strcmp(b->name[first].id, b->name[i].id) != 0)
            first++;
        *ret_all += first == i;
        *ret_strangers += first == i && !owners[i].known;
    }
}

static int settle(const struct run_env *env, int dir_fd, const struct batch *b,
    struct reconcile_report *report, struct arp_err *err)
{
    struct retention_owner owners[RETENTION_BATCH] = {0};
    size_t strangers, all;
    int rc = b->n ? retention_owners(env->db, b->name, b->n, owners, err) : 0;
    count_strangers(b, owners, &strangers, &all);
    for (size_t i = 0; i < b->n && rc == 0; i++) {
        if (owners[i].known || !doubtful(strangers, all)) {
            rc = try_one(env, dir_fd, &b->found[i], b->name[i].id, &owners[i], report, err);
        } else if (!report->doubted && must_go(env, &b->found[i], &owners[i])) {
            log_doubt("ids in the evidence store", strangers, all);
            report->doubted = true;
        }
    }
    return rc;
}

/* The next entries of a directory. *dir: where the walk stands. */
static int walk(const struct run_env *env, DIR **dir, const char *path, enum leftover_place place,
    struct reconcile_report *report, bool *ret_end, struct arp_err *err)
{
    *ret_end = false;
    if (!*dir)
        *dir = opendir(path);
    if (!*dir)
        return arp_fail(err, ARP_E_IO, errno, "open '%s'", path);
    struct batch b = {0};
    int rc = 0;
    for (int i = 0; i < SLICE && rc == 0; i++) {
        struct dirent *e = readdir(*dir);
        if (e)
            b.n += leftover_of(place, dirfd(*dir), e->d_name, report->now_us, &b.name[b.n], &b.found[b.n]);
        if (!e || b.n == RETENTION_BATCH) {
            rc = settle(env, dirfd(*dir), &b, report, err);
            b.n = 0;
        }
        if (!e) {
            close_walk(dir);
            *ret_end = true;
            return rc;
        }
    }
    return rc ? rc : settle(env, dirfd(*dir), &b, report, err);
}

static int note_lost(const struct run_env *env, enum retention_kind kind, const struct retention_bundle *b,
    struct reconcile_report *report, struct arp_err *err)
{
    int rc = report->dry_run ? 0 : retention_bundle_lost(env->db, kind, b->user_id, b->id, err);
    if (rc == ARP_E_NOT_FOUND)
        return 0; /* deleted meanwhile */
    if (rc)
        return rc;
    reconcile_note(env, report, RECONCILED_LOST);
    struct log_ctx ctx = {0};
    memcpy(ctx.user_id, b->user_id, sizeof(ctx.user_id));
    memcpy(ctx.project_id, b->project_id, sizeof(ctx.project_id));
    memcpy(ctx.workspace_id, b->workspace_id, sizeof(ctx.workspace_id));
    memcpy(ctx.run_id, b->run_id, sizeof(ctx.run_id));
    if (!report->dry_run)
        log_write(LOG_LEVEL_ERROR, &ctx, "the bundle file is missing from the evidence store",
            (const struct log_field[]){LOG_STR("sha256", b->sha256), {NULL, NULL, 0, false}});
    return 0;
}

/* Is most of a page missing? A store that is not mounted looks like this; to say that all evidence is lost would be wrong, and would be signed.
 * A few rows alone prove nothing, but they do beside pages that look so. The page is left as it is, and the next one looked at. */
static bool doubt_page(struct reconciler *r, const struct run_env *env, size_t missing, size_t all,
    struct reconcile_report *report)
{
    if (missing <= all / 2 || (all < SUSPICIOUS && !r->doubted))
        return false;
    r->doubted = true;
    reconcile_note(env, report, RECONCILED_DOUBTED);
    if (report->missed)
        return true;
    struct arp_err why;
    arp_fail(&why, ARP_E_IO, 0, "%zu of %zu bundles have no file: is this the evidence store?", missing, all);
    log_error(LOG_LEVEL_ERROR, NULL, "bundles without a file are not called lost", &why);
    report->missed = true;
    return true;
}

/* The next ready rows of a kind: is each one's file there? *ret_end: these were the last. */
static int check_page(struct reconciler *r, const struct run_env *env, enum retention_kind kind, int root_fd,
    struct reconcile_report *report, bool *ret_end, struct arp_err *err)
{
    struct retention_bundles page = {0};
    bool missing[RETENTION_BATCH] = {false};
    size_t n = 0;
    int rc = retention_bundles_expired(env->db, kind, report->now_us, &r->rows[kind], &page, err);
    if (rc)
        return rc;
    *ret_end = page.n < RETENTION_BATCH;
    for (size_t i = 0; i < page.n; i++) {
        missing[i] =
            faccessat(root_fd, page.v[i].bundle_path, F_OK, AT_SYMLINK_NOFOLLOW) != 0 && errno == ENOENT;
        n += missing[i];
    }
    bool doubted = doubt_page(r, env, n, page.n, report);
    for (size_t i = 0; i < page.n && rc == 0 && !doubted; i++)
        rc = missing[i] ? note_lost(env, kind, &page.v[i], report, err) : 0;
    retention_bundles_done(&page);
    return rc;
}

static int check_rows(struct reconciler *r, const struct run_env *env, enum retention_kind kind,
    struct reconcile_report *report, bool *ret_end, struct arp_err *err)
{
    cleanup_fd int root_fd = open(env->cfg->evidence_root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (root_fd < 0)
        return arp_fail(err, ARP_E_IO, errno, "open '%s'", env->cfg->evidence_root);
    *ret_end = false;
    int rc = 0;
    for (int i = 0; i < SLICE / RETENTION_BATCH && rc == 0 && !*ret_end; i++)
        rc = check_page(r, env, kind, root_fd, report, ret_end, err);
    if (rc || *ret_end)
        r->rows[kind] = (struct retention_cursor){0};
    return rc;
}

static int reconcile_part(struct reconciler *r, const struct run_env *env, enum part part,
    struct reconcile_report *report, bool *ret_end, struct arp_err *err)
{
    switch (part) {
    case PART_ROOT:
        return walk(env, &r->dir[part], env->cfg->evidence_root, LEFTOVER_IN_ROOT, report, ret_end, err);
    case PART_STAGING:
        return walk(env, &r->dir[part], env->staging_root, LEFTOVER_IN_STAGING, report, ret_end, err);
    case PART_MODEL:
        return walk(env, &r->dir[part], env->model_root, LEFTOVER_IN_MODEL, report, ret_end, err);
    case PART_RUNS:
        return check_rows(r, env, RETENTION_RUN, report, ret_end, err);
    default:
        return check_rows(r, env, RETENTION_WORKFLOW, report, ret_end, err);
    }
}

int reconcile_evidence(struct reconciler *r, const struct run_env *env, struct reconcile_report *report,
    bool *ret_round, struct arp_err *err)
{
    bool round = true;
    int rc = take_now(env, report, err);
    for (int part = 0; part < PART_COUNT && rc == 0; part++) {
        rc = r->done[part] ? 0 : reconcile_part(r, env, part, report, &r->done[part], err);
        round = round && r->done[part];
    }
    if (rc)
        return rc;
    if (round) {
        memset(r->done, 0, sizeof(r->done));
        r->doubted = false;
    }
    *ret_round = round;
    return 0;
}
