/*
 * Legal holds: what must be kept whatever the retention says, why, since when and by whose key. Table holds; released ones stay in it.
 * A hold on a run keeps its evidence and the workspace it ran in; one on a project all of its evidence and its workspace; one on a user
 * everything the user has. At most one is live per target. Placing one waits for collectors that are deciding about this user's things;
 * once holds_place has returned, nothing it covers is deleted before it is released. Conventions: store/db.h.
 * What a collector does to decide: store/holds.intern.h.
 */
#ifndef ARP_ORCHESTRATOR_STORE_HOLDS_H
#define ARP_ORCHESTRATOR_STORE_HOLDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "orchestrator/store/custody.h"
#include "orchestrator/store/db.h"
#include "shared/uuid.h"

/* Lines that one statement writes: 1000 take about 0.3 s. */
#define HOLDS_NOTE_AT_ONCE 1000
/* Bytes of a reason. The database refuses more as well. */
#define HOLD_REASON_MAX 1024

enum hold_scope { HOLD_RUN, HOLD_PROJECT, HOLD_USER };
/* "run", "project", "user". */
const char *hold_scope_name(enum hold_scope s);

/* What a hold is on. id: of the run or project; unused for HOLD_USER. Borrowed. */
struct hold_target {
    enum hold_scope scope;
    const char *user_id; /* the owner */
    const char *id;
};

struct hold {
    char id[UUID_LEN + 1];
    char user_id[UUID_LEN + 1];
    char project_id[UUID_LEN + 1]; /* "" for the whole user */
    char run_id[UUID_LEN + 1];     /* "" unless of a run */
    char held_by[UUID_LEN + 1];    /* API key; so is the next, "" while live */
    char released_by[UUID_LEN + 1];
    enum hold_scope scope;
    char *reason;
    int64_t created_us;
    int64_t released_us;
};
void hold_done(struct hold *h);
struct holds {
    struct hold *v;
    size_t n;
};
void holds_done(struct holds *hs);

struct hold_placed {
    struct hold hold;
    bool made;       /* false: it was there before, for the same reason */
    int64_t covered; /* bundles, finished or not, that it keeps */
    int64_t gone;    /* bundles of the target that had been deleted before */
};
/* Place a hold; it is in force when this returns. It is noted in the chain of every run it covers that has evidence (past HOLDS_NOTE_AT_ONCE
 * of them by holds_note_more), and of a run that gets its evidence later. The project may be deleted, the run in progress. Errors: ARP_E_NOT_FOUND (no such target), ARP_E_CONFLICT (the run's evidence is deleted; or a live
 * hold for another reason: details reason, since). ret: hold_done(&ret->hold). */
int holds_place(struct db *db, const struct hold_target *t, const char *reason, const struct custody_by *by,
    struct hold_placed *ret, struct arp_err *err);
/* Release the live hold on a target and note it in every chain that says it was held; what is covered stays kept until all of them say so.
 * Errors: ARP_E_NOT_FOUND (there is none). */
int holds_release(
    struct db *db, const struct hold_target *t, const struct custody_by *by, struct arp_err *err);
/* System: note one hold, or release, that covers more than was noted at once. Errors: ARP_E_NOT_FOUND (nothing to do). */
int holds_note_more(struct db *db, struct arp_err *err);
/* Live and released ones, newest first, at most limit, after cursor (NULL: from the start). Errors: ARP_E_FIELD (cursor). */
int holds_list(struct db *db, const char *user_id, unsigned limit, const char *cursor, struct holds *ret,
    struct arp_err *err);

#endif
