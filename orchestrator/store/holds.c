/*
 * Legal holds: see holds.h.
 */
#include "orchestrator/store/holds.h"

#include <stdlib.h>
#include <string.h>

#include "orchestrator/store/db.intern.h"
#include "orchestrator/store/page.h"
#include "orchestrator/store/rows.h"
#include "shared/clock.h"

#define STR_(x) #x
#define STR(x)  STR_(x)

/* of: a prefix for a row of holds, such as "h." */
#define COLUMNS(of)                                                                                          \
    of "id, " of "user_id, " of "project_id, " of "run_id, " of "held_by, " of "released_by, " of            \
       "reason, " of "created_at, " of "released_at"
#define COLUMNS_N 9

static const char *const scopes[] = {"run", "project", "user"};

const char *hold_scope_name(enum hold_scope s)
{
    return scopes[s];
}

static bool map(const PGresult *r, int row, void *element)
{
    struct hold *h = element;
    row_uuid(r, row, 0, h->id);
    row_uuid(r, row, 1, h->user_id);
    row_uuid(r, row, 2, h->project_id);
    row_uuid(r, row, 3, h->run_id);
    row_uuid(r, row, 4, h->held_by);
    row_uuid(r, row, 5, h->released_by);
    h->scope = h->run_id[0] ? HOLD_RUN : h->project_id[0] ? HOLD_PROJECT : HOLD_USER;
    h->created_us = row_time(r, row, 7);
    h->released_us = row_time(r, row, 8);
    return row_text(r, row, 6, &h->reason);
}

static void done(void *element)
{
    free(((struct hold *)element)->reason);
}

void hold_done(struct hold *h)
{
    done(h);
    *h = (struct hold){0};
}

void holds_done(struct holds *hs)
{
    rows_free(hs->v, hs->n, sizeof(*hs->v), done);
    *hs = (struct holds){0};
}

/* Start the arguments: $1 user, $2 project, $3 run. */
static int target_args(struct sql_args *a, const struct hold_target *t, struct arp_err *err)
{
    int rc = id_check(t->user_id, "user", err);
    if (rc == 0 && t->scope != HOLD_USER)
        rc = id_check(t->id, hold_scope_name(t->scope), err);
    args_text(a, t->user_id);
    args_text(a, t->scope == HOLD_PROJECT ? t->id : NULL);
    args_text(a, t->scope == HOLD_RUN ? t->id : NULL);
    return rc;
}

/* What hold_place says became of it. */
static int check_outcome(const PGresult *res, const struct hold_target *t, struct arp_err *err)
{
    const char *outcome = row_bytes(res, 0, COLUMNS_N, NULL);
    if (strcmp(outcome, "missing") == 0)
        return arp_fail(err, ARP_E_NOT_FOUND, 0, "%s not found", hold_scope_name(t->scope));
    if (strcmp(outcome, "deleted") == 0)
        return arp_fail(err, ARP_E_CONFLICT, 0, "the run's evidence is deleted");
    return 0;
}

static int fail_other_reason(const struct hold *h, struct arp_err *err)
{
    char since[CLOCK_ISO_LEN + 1];
    clock_iso(h->created_us, since);
    arp_fail(err, ARP_E_CONFLICT, 0, "there is a hold for another reason");
    if (err) {
        arp_err_detail_str(err, "reason", h->reason);
        arp_err_detail_str(err, "since", since);
    }
    return ARP_E_CONFLICT;
}

int holds_place(struct db *db, const struct hold_target *t, const char *reason, const struct custody_by *by,
    struct hold_placed *ret, struct arp_err *err)
{
    static const struct sql PLACE = {"holds_place",
        "SELECT " COLUMNS("(p.hold).") ", p.outcome, p.covered, p.gone FROM hold_place($1, $2, $3, $4, $5, "
                                       "$6, " STR(HOLDS_NOTE_AT_ONCE) ") p",
        false};
    struct sql_args a = {0};
    cleanup_pgresult PGresult *res = NULL;
    int rc = target_args(&a, t, err);
    args_text(&a, reason);
    args_text(&a, by->key_id);
    args_text(&a, by->remote);
    if (rc == 0)
        rc = db_one(db, &PLACE, &a, "hold", &res, err);
    if (rc == 0)
        rc = check_outcome(res, t, err);
    struct hold_placed p = {0};
    if (rc == 0)
        rc = row_to(res, sizeof(p.hold), map, done, &p.hold, err);
    if (rc < 0)
        return rc;
    p.made = strcmp(row_bytes(res, 0, COLUMNS_N, NULL), "made") == 0;
    p.covered = row_int(res, 0, COLUMNS_N + 1);
    p.gone = row_int(res, 0, COLUMNS_N + 2);
    if (!p.made && strcmp(p.hold.reason, reason) != 0) {
        rc = fail_other_reason(&p.hold, err);
        hold_done(&p.hold);
        return rc;
    }
    *ret = p;
    return 0;
}

int holds_release(
    struct db *db, const struct hold_target *t, const struct custody_by *by, struct arp_err *err)
{
    static const struct sql RELEASE = {"holds_release",
        "SELECT 1 WHERE hold_release($1, $2, $3, $4, $5, " STR(HOLDS_NOTE_AT_ONCE) ")", false};
    struct sql_args a = {0};
    int rc = target_args(&a, t, err);
    args_text(&a, by->key_id);
    args_text(&a, by->remote);
    return rc < 0 ? rc : db_change(db, &RELEASE, &a, "hold", err);
}

int holds_note_more(struct db *db, struct arp_err *err)
{
    static const struct sql NOTE = {
        "holds_note_more", "SELECT 1 WHERE hold_note_next(" STR(HOLDS_NOTE_AT_ONCE) ")", false};
    const struct sql_args none = {0};
    return db_change(db, &NOTE, &none, "hold", err);
}

int holds_list(struct db *db, const char *user_id, unsigned limit, const char *cursor, struct holds *ret,
    struct arp_err *err)
{
    static const struct sql LIST = {"holds_list",
        "SELECT " COLUMNS("h.") " FROM holds h WHERE h.user_id = $1 AND (h.created_at, h.id) < (" SQL_TIME(
            "$2") ", $3::uuid) ORDER BY h.created_at DESC, h.id DESC LIMIT $4",
        true};
    return page_of_user(
        db, &LIST, user_id, limit, cursor, sizeof(*ret->v), map, done, (void **)&ret->v, &ret->n, err);
}
