/*
 * Schema migrations: see migrate.h.
 */
#include "orchestrator/store/migrate.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "orchestrator/store/db.intern.h"
#include "orchestrator/store/rows.h"
#include "shared/fd.h"
#include "shared/hash.h"

/* Any number that nothing else in this database locks: "ARP migr" in ASCII. */
#define LOCK_KEY "4706880838427076466"
/* Another migrator applies a handful of files: a minute is generous. */
#define LOCK_WAIT "60s"
/* A migration is a few kilobytes of DDL. */
#define FILE_MAX     (1u << 20)
#define NAME_MAX_LEN 128
#define FILES_MAX    1000 /* four digits would allow 9999 */

struct file {
    int version;
    char name[NAME_MAX_LEN];
    char sha256[SHA256_HEX_LEN + 1];
    struct buf text;
};
struct files {
    struct file *v;
    size_t n;
};

static void files_done(struct files *fs)
{
    for (size_t i = 0; i < fs->n; i++)
        buf_done(&fs->v[i].text);
    free(fs->v);
}

/* NNNN_name.sql -> NNNN, else 0. */
static int version_of(const char *name)
{
    size_t digits = strspn(name, "0123456789");
    size_t len = strlen(name);
    if (digits != 4 || name[4] != '_' || len >= NAME_MAX_LEN ||
        strspn(name + 5, "abcdefghijklmnopqrstuvwxyz0123456789_") + 5 != len - 4)
        return 0;
    return (int)strtol(name, NULL, 10);
}

static int file_load(const char *dir, const char *name, struct file *f, struct arp_err *err)
{
    f->version = version_of(name);
    buf_init(&f->text, FILE_MAX);
    if (f->version == 0)
        return arp_fail(err, ARP_E_INVALID, 0, "migration '%s': the name is not NNNN_lower_case.sql", name);
    memcpy(f->name, name, strlen(name) + 1); /* version_of checked the length */
    cleanup_free char *path = NULL;
    if (asprintf(&path, "%s/%s", dir, name) < 0)
        return arp_fail(err, ARP_E_NOMEM, 0, "no memory for a path");
    int rc = file_read(path, &f->text, err);
    if (rc < 0)
        return rc;
    if (f->text.len == 0 || memchr(f->text.data, '\0', f->text.len))
        return arp_fail(err, ARP_E_INVALID, 0, "migration '%s' is empty or holds a NUL", name);
    sha256_hex_of(f->text.data, f->text.len, f->sha256);
    return 0;
}

static int is_sql(const struct dirent *e)
{
    size_t len = strlen(e->d_name);
    return len > 4 && strcmp(e->d_name + len - 4, ".sql") == 0;
}

/* All files of dir in order, numbered 1, 2, 3 ... without gap. */
static int files_load(const char *dir, struct files *ret, struct arp_err *err)
{
    struct dirent **names = NULL;
    int n = scandir(dir, &names, is_sql, alphasort);
    if (n < 0)
        return arp_fail(err, ARP_E_IO, errno, "list migrations in '%s'", dir);
    struct files fs = {calloc(n ? (size_t)n : 1, sizeof(struct file)), 0};
    int rc = fs.v ? 0 : arp_fail(err, ARP_E_NOMEM, 0, "no memory for migrations");
    if (rc == 0 && (n == 0 || n > FILES_MAX))
        rc = arp_fail(err, ARP_E_INVALID, 0, "'%s' holds %d migrations", dir, n);
    for (int i = 0; i < n; i++) {
        if (rc == 0) {
            rc = file_load(dir, names[i]->d_name, &fs.v[fs.n++], err);
            if (rc == 0 && fs.v[i].version != i + 1)
                rc = arp_fail(err, ARP_E_CONFLICT, 0, "migration '%s' stands where number %04d belongs",
                    names[i]->d_name, i + 1);
        }
        free(names[i]);
    }
    free(names);
    if (rc < 0) {
        files_done(&fs);
        return rc;
    }
    *ret = fs;
    return 0;
}

/* Run text (one or many statements) that answers no rows. */
static int command(PGconn *pg, const char *text, const char *name, struct arp_err *err)
{
    const struct sql q = {name, text, false};
    cleanup_pgresult PGresult *res = PQexec(pg, text);
    return PQresultStatus(res) == PGRES_COMMAND_OK || PQresultStatus(res) == PGRES_TUPLES_OK
               ? 0
               : sql_error(pg, res, &q, err);
}

/* Say which file failed, where and why. */
static int file_error(const struct file *f, const PGconn *pg, const PGresult *res, struct arp_err *err)
{
    const char *state = sql_state(res);
    if (!*state)
        return arp_fail(err, ARP_E_DATABASE, 0, "migration '%s': %s", f->name, PQerrorMessage(pg));
    const char *position = PQresultErrorField(res, PG_DIAG_STATEMENT_POSITION);
    long at =
        position ? strtol(position, NULL, 10) : 0; /* in characters; the files are ASCII where it matters */
    int line = 1;
    for (long i = 0; i + 1 < at && i < (long)f->text.len; i++)
        line += f->text.data[i] == '\n';
    const char *msg = PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY);
    if (at > 0)
        return arp_fail(err, ARP_E_INVALID, 0, "migration '%s', line %d: %s (%s)", f->name, line, msg, state);
    return arp_fail(err, ARP_E_INVALID, 0, "migration '%s': %s (%s)", f->name, msg, state);
}

static int file_apply(PGconn *pg, const struct file *f, struct arp_err *err)
{
    int rc = command(pg, "BEGIN", "migrate begin", err);
    if (rc < 0)
        return rc;
    cleanup_pgresult PGresult *res = PQexec(pg, f->text.data);
    ExecStatusType status = PQresultStatus(res);
    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK)
        return file_error(f, pg, res, err);
    if (PQtransactionStatus(pg) != PQTRANS_INTRANS)
        return arp_fail(err, ARP_E_INVALID, 0, "migration '%s' ends the transaction it runs in", f->name);
    char version[16];
    snprintf(version, sizeof(version), "%d", f->version);
    const char *values[] = {version, f->name, f->sha256};
    static const struct sql RECORD = {
        "migrate_record", "INSERT INTO schema_migrations (version, name, sha256) VALUES ($1, $2, $3)", false};
    cleanup_pgresult PGresult *recorded = PQexecParams(pg, RECORD.text, 3, NULL, values, NULL, NULL, 1);
    if (PQresultStatus(recorded) != PGRES_COMMAND_OK)
        return sql_error(pg, recorded, &RECORD, err);
    return command(pg, "COMMIT", "migrate commit", err);
}

/* What is recorded must be what is there. ret_applied: how many files are applied already. */
static int check_applied(PGconn *pg, const struct files *fs, size_t *ret_applied, struct arp_err *err)
{
    static const struct sql APPLIED = {
        "migrate_applied", "SELECT version, name, sha256 FROM schema_migrations ORDER BY version", true};
    cleanup_pgresult PGresult *res = PQexecParams(pg, APPLIED.text, 0, NULL, NULL, NULL, NULL, 1);
    if (PQresultStatus(res) != PGRES_TUPLES_OK)
        return sql_error(pg, res, &APPLIED, err);
    int n = PQntuples(res);
    for (int i = 0; i < n; i++) {
        const char *name = row_bytes(res, i, 1, NULL);
        size_t at = (size_t)(row_int(res, i, 0) - 1);
        if (at >= fs->n || strcmp(fs->v[at].name, name) != 0)
            return arp_fail(err, ARP_E_CONFLICT, 0,
                "migration '%s' was applied to this database and its file is missing", name);
        if (strcmp(fs->v[at].sha256, row_bytes(res, i, 2, NULL)) != 0)
            return arp_fail(err, ARP_E_CONFLICT, 0, "migration '%s' was changed after it was applied", name);
    }
    *ret_applied = (size_t)n;
    return 0;
}

static int apply_all(PGconn *pg, const struct files *fs, unsigned *ret_applied, struct arp_err *err)
{
    /* Building an index on a large table may take its time; waiting for a lock should not. */
    int rc = command(pg,
        "SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0; SET lock_timeout = "
        "'" LOCK_WAIT "'",
        "migrate settings", err);
    if (rc == 0)
        rc = command(pg, "SELECT pg_advisory_lock(" LOCK_KEY ")", "migrate lock", err);
    if (rc == 0)
        rc = command(pg,
            "CREATE TABLE IF NOT EXISTS schema_migrations ("
            "version integer PRIMARY KEY, name text NOT NULL UNIQUE, sha256 text NOT NULL,"
            " applied_at timestamptz NOT NULL DEFAULT now())",
            "migrate table", err);
    size_t applied = 0;
    if (rc == 0)
        rc = check_applied(pg, fs, &applied, err);
    unsigned n = 0;
    for (size_t i = applied; rc == 0 && i < fs->n; i++, n++)
        rc = file_apply(pg, &fs->v[i], err);
    if (rc == 0 && ret_applied)
        *ret_applied = n;
    return rc;
}

int migrate_up(struct db *db, const char *dir, unsigned *ret_applied, struct arp_err *err)
{
    struct files fs = {0};
    int rc = files_load(dir, &fs, err);
    if (rc < 0)
        return rc;
    struct db_conn *c = NULL;
    rc = db_take(db, &c, err);
    if (rc == 0) {
        rc = apply_all(db_conn_pg(c), &fs, ret_applied, err);
        /* The lock, an open transaction and the settings end with the session. */
        db_discard(db, c);
    }
    files_done(&fs);
    return rc;
}

int migrate_check(struct db *db, struct arp_err *err)
{
    static const struct sql EXISTS = {
        "migrate_exists", "SELECT to_regclass('schema_migrations') IS NOT NULL", true};
    static const struct sql VERSION = {
        "migrate_version", "SELECT coalesce(max(version), 0) FROM schema_migrations", true};
    const struct sql_args none = {0};
    cleanup_pgresult PGresult *exists = NULL;
    int rc = db_one(db, &EXISTS, &none, "schema", &exists, err);
    if (rc < 0)
        return rc;
    int64_t version = 0;
    if (row_bool(exists, 0, 0)) {
        cleanup_pgresult PGresult *res = NULL;
        rc = db_one(db, &VERSION, &none, "schema", &res, err);
        if (rc < 0)
            return rc;
        version = row_int(res, 0, 0);
    }
    if (version < MIGRATE_SCHEMA_VERSION)
        return arp_fail(err, ARP_E_UNAVAILABLE, 0,
            "the database schema is at version %d and this program needs %d: run `arp-orchestrator migrate`",
            (int)version, MIGRATE_SCHEMA_VERSION);
    return 0;
}
