/*
 * Chain of custody: see custody.h.
 */
#include "orchestrator/store/custody.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "orchestrator/store/custody.intern.h"
#include "orchestrator/store/db.intern.h"
#include "orchestrator/store/rows.h"
#include "shared/buf.h"

/* A date as text; the session's own style is of no concern then. */
#define DAY(column) "to_char(" column ", 'YYYY-MM-DD')"

/* Start the arguments: $1 user, $2 run, $3 key, $4 the key's user, $5 address. */
static int by_args(struct sql_args *a, const char *user_id, const char *run_id, const struct custody_by *by,
    struct arp_err *err)
{
    args_text(a, user_id);
    args_text(a, run_id);
    args_text(a, by->key_id);
    args_text(a, by->user_id);
    args_text(a, by->remote);
    return id_check(run_id, "run", err);
}
#define KEY     "$3::uuid"
#define USER    "$4::uuid"
#define ADDRESS "$5"
#define LINE_DOWNLOADED                                                                                      \
    CUSTODY_LINE("b.run_id", "b.user_id", "downloaded", KEY, USER, ADDRESS, "b.sha256", "''")
#define LINE_VERIFIED                                                                                        \
    CUSTODY_LINE("b.run_id", "b.user_id", "verified", KEY, USER, ADDRESS, "$6::text",                        \
        "custody_fact('verdict', $7::text) || custody_fact('matches', b.sha256 = $6::text)")

int custody_downloaded(struct db *db, const char *user_id, const char *run_id, const struct custody_by *by,
    bool first, struct arp_err *err)
{
    /* The lock comes before the line: what a collector deletes at this moment is waited for and then not found. */
    static const struct sql DOWNLOADED = {"custody_downloaded",
        "WITH r AS MATERIALIZED (SELECT run_id, user_id, sha256 FROM evidence_bundles"
        " WHERE user_id = $1 AND run_id = $2 AND status = 'ready' FOR SHARE),"
        " w AS MATERIALIZED (SELECT workflow_run_id, user_id, sha256 FROM workflow_bundles"
        " WHERE user_id = $1 AND workflow_run_id = $2 AND status = 'ready' FOR SHARE),"
        " b AS (SELECT * FROM r UNION ALL SELECT * FROM w)"
        " SELECT CASE WHEN $6::boolean OR NOT EXISTS (SELECT 1 FROM custody c WHERE c.run_id = b.run_id AND "
        "c.user_id = $1 AND c.type = 'downloaded' AND c.actor = $3::text) THEN " LINE_DOWNLOADED
        " END FROM b",
        false};
    struct sql_args a = {0};
    int rc = by_args(&a, user_id, run_id, by, err);
    args_bool(&a, first);
    return rc < 0 ? rc : db_change(db, &DOWNLOADED, &a, "evidence", err);
}

int custody_verified(struct db *db, const char *user_id, const char *run_id, const char *zip_sha256,
    const char *verdict, const struct custody_by *by, struct arp_err *err)
{
    static const struct sql VERIFIED = {"custody_verified",
        "WITH b AS (SELECT run_id, user_id, sha256 FROM evidence_bundles WHERE user_id = $1 AND run_id = $2"
        " UNION ALL SELECT workflow_run_id, user_id, sha256 FROM workflow_bundles WHERE user_id = $1 AND "
        "workflow_run_id = $2) SELECT " LINE_VERIFIED " FROM b WHERE b.sha256 IS NOT NULL",
        false};
    struct sql_args a = {0};
    int rc = by_args(&a, user_id, run_id, by, err);
    args_text(&a, zip_sha256);
    args_text(&a, verdict);
    return rc < 0 ? rc : db_change(db, &VERIFIED, &a, "evidence", err);
}

/* --- signed days ---------------------------------------------------------------------------------------------------------- */

#define HEAD_COLUMNS DAY("d.day") ", d.head, d.key_id, d.signature"

static void row_day(const PGresult *r, int row, int col, char ret[CUSTODY_DAY_LEN + 1])
{
    size_t len;
    const char *text = row_bytes(r, row, col, &len);
    memcpy(ret, text, len <= CUSTODY_DAY_LEN ? len : CUSTODY_DAY_LEN); /* the rest is zero */
}

static bool map_head(const PGresult *r, int row, void *element)
{
    struct custody_head *h = element;
    row_day(r, row, 0, h->day);
    return row_text(r, row, 1, &h->head) && row_text(r, row, 2, &h->key_id) &&
           row_text(r, row, 3, &h->signature);
}

static void done_head(void *element)
{
    struct custody_head *h = element;
    free(h->head);
    free(h->key_id);
    free(h->signature);
}

void custody_heads_done(struct custody_heads *hs)
{
    rows_free(hs->v, hs->n, sizeof(*hs->v), done_head);
    *hs = (struct custody_heads){0};
}

static int heads(struct db *db, const struct sql *q, const struct sql_args *a, struct custody_heads *ret,
    struct arp_err *err)
{
    cleanup_pgresult PGresult *res = NULL;
    int rc = db_many(db, q, a, &res, err);
    return rc < 0 ? rc : rows_to(res, sizeof(*ret->v), map_head, done_head, (void **)&ret->v, &ret->n, err);
}

int custody_days(
    struct db *db, unsigned limit, const char *before, struct custody_heads *ret, struct arp_err *err)
{
    static const struct sql DAYS = {"custody_days",
        "SELECT " HEAD_COLUMNS " FROM custody_days d WHERE d.head IS NOT NULL AND d.day < coalesce($2::date, "
        "'infinity') ORDER BY d.day DESC LIMIT $1",
        true};
    struct sql_args a = {0};
    args_int(&a, limit);
    args_text(&a, before);
    return heads(db, &DAYS, &a, ret, err);
}

int custody_days_of(struct db *db, const char *user_id, const char *run_id, int64_t from_seq, int64_t to_seq,
    struct custody_heads *ret, struct arp_err *err)
{
    static const struct sql DAYS = {"custody_days_of",
        "SELECT " HEAD_COLUMNS
        " FROM custody_days d WHERE d.head IS NOT NULL AND d.day IN (SELECT c.day FROM "
        "custody c WHERE c.user_id = $1 AND c.run_id = $2 AND c.seq BETWEEN $3 AND $4) ORDER BY d.day",
        true};
    struct sql_args a = {0};
    args_text(&a, user_id);
    args_text(&a, run_id);
    args_int(&a, from_seq);
    args_int(&a, to_seq);
    int rc = id_check(run_id, "run", err);
    return rc < 0 ? rc : heads(db, &DAYS, &a, ret, err);
}

/* --- a run's chain -------------------------------------------------------------------------------------------------------- */

static bool map_path(const PGresult *r, int row, int col, struct merkle_path **ret)
{
    size_t len;
    const char *bytes = row_bytes(r, row, col, &len);
    struct merkle_path *path = calloc(1, sizeof(*path));
    if (!path)
        return false;
    assert(len <= sizeof(path->hash));
    path->n = len / SHA256_BYTES;
    memcpy(path->hash, bytes, len);
    *ret = path;
    return true;
}

static bool map_line(const PGresult *r, int row, void *element)
{
    struct custody_line *l = element;
    l->seq = row_int(r, row, 0);
    row_day(r, row, 2, l->day);
    l->leaf = row_int(r, row, 3);
    return row_text(r, row, 1, &l->line) && (!l->day[0] || map_path(r, row, 4, &l->path));
}

static void done_line(void *element)
{
    struct custody_line *l = element;
    free(l->line);
    free(l->path);
}

void custody_lines_done(struct custody_lines *ls)
{
    rows_free(ls->v, ls->n, sizeof(*ls->v), done_line);
    *ls = (struct custody_lines){0};
}

int custody_read(struct db *db, const char *user_id, const char *run_id, int64_t after_seq, unsigned limit,
    struct custody_lines *ret, struct arp_err *err)
{
    static const struct sql READ = {"custody_read",
        "SELECT c.seq, c.line, " DAY(
            "d.day") ", p.leaf, p.path FROM custody c"
                     " LEFT JOIN custody_proofs p ON p.run_id = c.run_id AND p.seq = c.seq AND p.user_id = "
                     "c.user_id"
                     " LEFT JOIN custody_days d ON d.day = p.day AND d.head IS NOT NULL"
                     " WHERE c.user_id = $1 AND c.run_id = $2 AND c.seq > $3 ORDER BY c.seq LIMIT $4",
        true};
    struct sql_args a = {0};
    args_text(&a, user_id);
    args_text(&a, run_id);
    args_int(&a, after_seq);
    args_int(&a, limit);
    cleanup_pgresult PGresult *res = NULL;
    int rc = id_check(run_id, "run", err);
    if (rc == 0)
        rc = db_many(db, &READ, &a, &res, err);
    return rc < 0 ? rc : rows_to(res, sizeof(*ret->v), map_line, done_line, (void **)&ret->v, &ret->n, err);
}

int custody_check_owner(struct db *db, const char *user_id, const char *run_id, struct arp_err *err)
{
    static const struct sql OWNER = {"custody_check_owner",
        "SELECT 1 FROM runs WHERE user_id = $1 AND id = $2 UNION ALL SELECT 1 FROM workflow_runs WHERE "
        "user_id = $1 AND id = $2",
        true};
    struct sql_args a = {0};
    args_text(&a, user_id);
    args_text(&a, run_id);
    cleanup_pgresult PGresult *res = NULL;
    int rc = id_check(run_id, "run", err);
    return rc < 0 ? rc : db_one(db, &OWNER, &a, "run", &res, err);
}

/* --- closing days --------------------------------------------------------------------------------------------------------- */

int custody_day_due(struct db *db, bool *ret_due, struct arp_err *err)
{
    static const struct sql DUE = {"custody_day_due", "SELECT custody_due_day() IS NOT NULL", true};
    const struct sql_args none = {0};
    cleanup_pgresult PGresult *res = NULL;
    int rc = db_one(db, &DUE, &none, "day", &res, err);
    if (rc == 0)
        *ret_due = row_bool(res, 0, 0);
    return rc;
}

int custody_close_day(
    struct db *db, char ret_day[CUSTODY_DAY_LEN + 1], char ret_prev[SHA256_HEX_LEN + 1], struct arp_err *err)
{
    static const struct sql CLOSE = {"custody_close_day",
        "WITH x AS MATERIALIZED (SELECT custody_close_day() AS day) SELECT " DAY(
            "x.day") ", coalesce((SELECT "
                     "d.head_sha256 FROM custody_days d WHERE d.day < x.day ORDER BY d.day DESC LIMIT 1), '')"
                     " FROM x WHERE x.day IS NOT NULL",
        false};
    const struct sql_args none = {0};
    cleanup_pgresult PGresult *res = NULL;
    int rc = db_one(db, &CLOSE, &none, "day", &res, err);
    if (rc < 0)
        return rc;
    memset(ret_day, 0, CUSTODY_DAY_LEN + 1);
    row_day(res, 0, 0, ret_day);
    size_t len;
    const char *prev = row_bytes(res, 0, 1, &len);
    memset(ret_prev, 0, SHA256_HEX_LEN + 1);
    memcpy(ret_prev, prev, len <= SHA256_HEX_LEN ? len : SHA256_HEX_LEN);
    return 0;
}

static bool map_leaf(const PGresult *r, int row, void *element)
{
    struct custody_leaf *l = element;
    row_uuid(r, row, 0, l->run_id);
    l->seq = row_int(r, row, 1);
    memcpy(l->digest, row_bytes(r, row, 2, NULL), sizeof(l->digest)); /* a check constraint says 32 */
    return true;
}

/* Leaves own nothing. */
static void done_leaf(void *element)
{
    (void)element;
}

void custody_leaves_done(struct custody_leaves *ls)
{
    rows_free(ls->v, ls->n, sizeof(*ls->v), done_leaf);
    *ls = (struct custody_leaves){0};
}

int custody_leaves_read(struct db *db, const char *day, const struct custody_leaf *after, unsigned limit,
    struct custody_leaves *ret, struct arp_err *err)
{
    static const struct sql LEAVES = {"custody_leaves_read",
        "SELECT run_id, seq, digest FROM custody WHERE day = $1::date AND (run_id, seq) > ($2::uuid, "
        "$3::bigint) ORDER BY run_id, seq LIMIT $4",
        true};
    struct sql_args a = {0};
    args_text(&a, day);
    args_text(&a, after ? after->run_id : "00000000-0000-0000-0000-000000000000");
    args_int(&a, after ? after->seq : -1);
    args_int(&a, limit);
    cleanup_pgresult PGresult *res = NULL;
    int rc = db_many(db, &LEAVES, &a, &res, err);
    return rc < 0 ? rc : rows_to(res, sizeof(*ret->v), map_leaf, done_leaf, (void **)&ret->v, &ret->n, err);
}

/* The columns of leaves and paths as the texts of three arrays. */
static int proof_arrays(const struct custody_leaf *leaves, const struct merkle_path *paths, size_t n,
    struct buf *runs, struct buf *seqs, struct buf *hashes, struct arp_err *err)
{
    for (size_t i = 0; i < n; i++) {
        const char *glue = i ? "," : "{";
        char hex[2 * SHA256_BYTES + 1];
        buf_printf(runs, "%s%s", glue, leaves[i].run_id);
        buf_printf(seqs, "%s%lld", glue, (long long)leaves[i].seq);
        buf_printf(hashes, "%s\"", glue);
        for (size_t k = 0; k < paths[i].n; k++) {
            hex_encode(paths[i].hash[k], SHA256_BYTES, hex);
            buf_append_str(hashes, hex);
        }
        buf_append_char(hashes, '"');
    }
    buf_append_char(runs, '}');
    buf_append_char(seqs, '}');
    buf_append_char(hashes, '}');
    int rc = buf_error(runs, err);
    if (rc == 0)
        rc = buf_error(seqs, err);
    return rc ? rc : buf_error(hashes, err);
}

int custody_proofs_store(struct db *db, const char *day, int64_t first_leaf,
    const struct custody_leaf *leaves, const struct merkle_path *paths, size_t n, struct arp_err *err)
{
    static const struct sql STORE = {"custody_proofs_store",
        "INSERT INTO custody_proofs (run_id, seq, user_id, day, leaf, path) SELECT c.run_id, c.seq, "
        "c.user_id, "
        "c.day, $5::bigint + x.n - 1, decode(x.path, 'hex')"
        " FROM unnest($2::uuid[], $3::bigint[], $4::text[]) WITH ORDINALITY AS x (run_id, seq, path, n)"
        " JOIN custody c ON c.run_id = x.run_id AND c.seq = x.seq AND c.day = $1::date ON CONFLICT DO "
        "NOTHING",
        false};
    assert(n > 0 && n <= CUSTODY_PROOFS_MAX);
    cleanup_buf struct buf runs, seqs, hashes;
    buf_init(&runs, n * (UUID_LEN + 1) + 2);
    buf_init(&seqs, n * 21 + 2);
    buf_init(&hashes, n * (MERKLE_PATH_MAX * SHA256_HEX_LEN + 3) + 2);
    int rc = proof_arrays(leaves, paths, n, &runs, &seqs, &hashes, err);
    if (rc < 0)
        return rc;
    struct sql_args a = {0};
    args_text(&a, day);
    args_text(&a, buf_str(&runs));
    args_text(&a, buf_str(&seqs));
    args_text(&a, buf_str(&hashes));
    args_int(&a, first_leaf);
    return db_none(db, &STORE, &a, NULL, err);
}

int custody_day_signed(struct db *db, const struct custody_head *h, struct arp_err *err)
{
    static const struct sql SIGNED = {"custody_day_signed",
        "UPDATE custody_days SET head = $2::text, head_sha256 = $3, key_id = $4, signature = $5, signed_at = "
        "now() WHERE day = $1::date AND head IS NULL",
        false};
    char sha256[SHA256_HEX_LEN + 1];
    sha256_hex_of(h->head, strlen(h->head), sha256);
    struct sql_args a = {0};
    args_text(&a, h->day);
    args_text(&a, h->head);
    args_text(&a, sha256);
    args_text(&a, h->key_id);
    args_text(&a, h->signature);
    int64_t affected = 0;
    int rc = db_none(db, &SIGNED, &a, &affected, err);
    if (rc == 0 && affected == 0)
        return arp_fail(err, ARP_E_CONFLICT, 0, "the day %s is signed already", h->day);
    return rc;
}
