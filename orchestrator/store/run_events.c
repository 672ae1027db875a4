/*
 * Event lines of runs: see run_events.h.
 */
#include "orchestrator/store/run_events.h"

#include <stdlib.h>
#include <string.h>

#include "orchestrator/store/db.intern.h"
#include "orchestrator/store/rows.h"
#include "shared/fd.h"

/* Largest chunk: a flush gathers lines of at most LIMIT_LINE each; the writer flushes long before this. */
#define CHUNK_MAX (64u << 20)
/* A page looks at no more chunks than this, so that its running sum costs little even when chunks are tiny. */
#define PAGE_CHUNKS "256"
/* lines_of reads pages of about this size. */
#define COPY_PAGE (1u << 20)

static int64_t count_lines(const char *lines, size_t len)
{
    int64_t n = 0;
    const char *end = lines + len;
    for (const char *p = lines; (p = memchr(p, '\n', (size_t)(end - p))) != NULL; p++)
        n++;
    return n;
}

int run_events_append(struct db *db, const char *user_id, const char *run_id, int64_t first_seq,
    int64_t last_seq, const char *lines, size_t len, const char *head, struct arp_err *err)
{
    static const struct sql APPEND = {"run_events_append",
        "WITH chain AS (UPDATE run_chains SET lines = $4::bigint + 1, bytes = bytes + "
        "octet_length($5::text), head = $6"
        " WHERE user_id = $1 AND run_id = $2 AND file = 'events.jsonl' AND lines = $3::bigint AND NOT closed "
        "RETURNING "
        "user_id, run_id)"
        " INSERT INTO run_events (user_id, run_id, first_seq, last_seq, bytes, lines)"
        " SELECT user_id, run_id, $3, $4, octet_length($5), $5 FROM chain",
        false};
    if (len == 0 || len > CHUNK_MAX || lines[len - 1] != '\n' || last_seq < first_seq ||
        count_lines(lines, len) != last_seq - first_seq + 1)
        return arp_fail(err, ARP_E_INVALID, 0,
            "event lines %lld to %lld: the bytes hold another number of lines", (long long)first_seq,
            (long long)last_seq);
    struct sql_args a = {0};
    args_text(&a, user_id);
    args_text(&a, run_id);
    args_int(&a, first_seq);
    args_int(&a, last_seq);
    args_bytes(&a, lines, len);
    args_text(&a, head);
    int64_t affected = 0;
    int rc = db_none(db, &APPEND, &a, &affected, err);
    if (rc == 0 && affected == 0)
        return arp_fail(err, ARP_E_CONFLICT, 0, "event line %lld does not continue the run's chain",
            (long long)first_seq);
    return rc;
}

void run_events_page_done(struct run_events_page *p)
{
    free(p->lines);
    *p = (struct run_events_page){0};
}

/* Where the line of sequence seq starts in a chunk that begins with first_seq; len when it is past the end. */
static size_t skip_to(const char *lines, size_t len, int64_t first_seq, int64_t seq)
{
    const char *p = lines;
    for (; first_seq < seq; first_seq++) {
        const char *lf = memchr(p, '\n', len - (size_t)(p - lines));
        if (!lf)
            return len;
        p = lf + 1;
    }
    return (size_t)(p - lines);
}

/* Columns: 0 total, 1 ended, 2 first_seq, 3 last_seq, 4 lines; the last three are null when there is nothing after after_seq.
 * The inner limit bounds the running sum; `before` keeps the first chunk whatever its size. */
static const struct sql READ = {"run_events_read",
    "SELECT c.lines, r.finished_at IS NOT NULL, e.first_seq, e.last_seq, e.lines FROM runs r"
    " JOIN run_chains c ON c.run_id = r.id AND c.file = 'events.jsonl'"
    " LEFT JOIN LATERAL (SELECT * FROM (SELECT k.first_seq, k.last_seq, k.lines,"
    " sum(k.bytes) OVER (ORDER BY k.first_seq) - k.bytes AS before FROM"
    " (SELECT * FROM run_events v WHERE v.run_id = r.id AND v.user_id = r.user_id AND v.last_seq >= "
    "$3::bigint AND v.first_seq >="
    " coalesce((SELECT max(first_seq) FROM run_events WHERE run_id = r.id AND first_seq <= $3::bigint), 0)"
    " ORDER BY v.first_seq LIMIT " PAGE_CHUNKS ") k) s WHERE s.before < $4::bigint) e ON true"
    " WHERE r.user_id = $1 AND r.id = $2 ORDER BY e.first_seq",
    true};

static int join_chunks(
    const PGresult *res, int64_t from_seq, struct run_events_page *ret, struct arp_err *err)
{
    int n = PQntuples(res);
    size_t total = 0;
    for (int i = 0; i < n; i++)
        total += (size_t)PQgetlength(res, i, 4);
    struct run_events_page p = {
        .lines = malloc(total),
        .first_seq = from_seq,
        .last_seq = row_int(res, n - 1, 3),
        .total = row_int(res, 0, 0),
        .ended = row_bool(res, 0, 1),
    };
    if (!p.lines)
        return arp_fail(err, ARP_E_NOMEM, 0, "no memory for %zu bytes of events", total);
    for (int i = 0; i < n; i++) {
        size_t len = 0;
        const char *lines = row_bytes(res, i, 4, &len);
        /* Only the first chunk can begin before the line asked for. */
        size_t skip = i == 0 ? skip_to(lines, len, row_int(res, 0, 2), from_seq) : 0;
        memcpy(p.lines + p.len, lines + skip, len - skip);
        p.len += len - skip;
    }
    *ret = p;
    return 0;
}

int run_events_read(struct db *db, const char *user_id, const char *run_id, int64_t after_seq,
    size_t max_bytes, struct run_events_page *ret, struct arp_err *err)
{
    int64_t from_seq = after_seq < 0 ? 0 : after_seq + 1;
    struct sql_args a = {0};
    args_text(&a, user_id);
    args_text(&a, run_id);
    args_int(&a, from_seq);
    args_int(&a, max_bytes ? (int64_t)max_bytes : 1);
    cleanup_pgresult PGresult *res = NULL;
    int rc = id_check(run_id, "run", err);
    if (rc == 0)
        rc = db_many(db, &READ, &a, &res, err);
    if (rc < 0)
        return rc;
    if (PQntuples(res) == 0)
        return arp_fail(err, ARP_E_NOT_FOUND, 0, "run not found");
    if (!row_null(res, 0, 2))
        return join_chunks(res, from_seq, ret, err);
    *ret = (struct run_events_page){.total = row_int(res, 0, 0), .ended = row_bool(res, 0, 1)};
    return 0;
}

int run_events_chain(
    struct db *db, const char *user_id, const char *run_id, struct run_chain *ret, struct arp_err *err)
{
    static const struct sql CHAIN = {"run_events_chain",
        "SELECT lines, bytes, head FROM run_chains WHERE user_id = $1 AND run_id = $2 AND file = "
        "'events.jsonl'",
        true};
    struct sql_args a = {0};
    args_text(&a, user_id);
    args_text(&a, run_id);
    cleanup_pgresult PGresult *res = NULL;
    int rc = id_check(run_id, "run", err);
    if (rc == 0)
        rc = db_one(db, &CHAIN, &a, "run", &res, err);
    if (rc < 0)
        return rc;
    size_t len = 0;
    const char *head = row_bytes(res, 0, 2, &len);
    *ret = (struct run_chain){.lines = row_int(res, 0, 0), .bytes = row_int(res, 0, 1)};
    memcpy(ret->head, head, len <= SHA256_HEX_LEN ? len : SHA256_HEX_LEN);
    return 0;
}

int run_events_lines_of(struct db *db, const char *user_id, const char *run_id, int fd, struct run_chain *ret,
    struct arp_err *err)
{
    struct run_chain chain;
    int rc = run_events_chain(db, user_id, run_id, &chain, err);
    int64_t lines = 0;
    int64_t bytes = 0;
    while (rc == 0 && lines < chain.lines) {
        struct run_events_page page = {0};
        rc = run_events_read(db, user_id, run_id, lines - 1, COPY_PAGE, &page, err);
        if (rc == 0 && page.len == 0)
            rc = arp_fail(err, ARP_E_CORRUPT, 0, "event line %lld is missing", (long long)lines);
        if (rc == 0)
            rc = fd_write_all(fd, page.lines, page.len, err);
        lines = page.last_seq + 1;
        bytes += (int64_t)page.len;
        run_events_page_done(&page);
    }
    if (rc == 0 && (lines != chain.lines || bytes != chain.bytes))
        return arp_fail(err, ARP_E_CORRUPT, 0, "%lld event lines where the chain has %lld", (long long)lines,
            (long long)chain.lines);
    if (rc == 0)
        *ret = chain;
    return rc;
}
