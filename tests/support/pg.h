/*
 * A Postgres of the tests' own: a private server in a new directory under /tmp, Unix socket only, without fsync, run as the user
 * "postgres" when the tests run as root; stopped and removed when the program exits. With ARP_TEST_DATABASE_URL set, that server is
 * used and the program gets a new database on it, dropped at exit. Single-threaded use.
 */
#ifndef ARP_TESTS_SUPPORT_PG_H
#define ARP_TESTS_SUPPORT_PG_H

#include <stdbool.h>

/* The URL of this program's empty database; starts the server at the first call. NULL when that failed (reason on standard error). */
const char *pg_url(void);
/* The same with the project's migrations applied. They are read from migrations/, so run tests from the top folder. */
const char *pg_url_migrated(void);
/* Run SQL outside the code under test (set-up, looking behind the scenes): the first column of the first row, "" when there is none,
 * in a buffer that lives until the next call. NULL when it failed (reason on standard error). */
const char *pg_sql(const char *sql);
/* Wait until that is what pg_sql gives; false when 30 s went by. */
bool pg_wait(const char *sql, const char *want);
/* SQL, of the sessions of this program's database that wait for a lock: a server may be shared, and its other databases are not meant. Within a
 * transaction too: what it saw of the sessions before is forgotten. what: a column, such as "count(*)". */
#define PG_WAITING(what)                                                                                     \
    "SELECT pg_stat_clear_snapshot(); SELECT " what                                                          \
    " FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
/* Wait until the database's UTC day has more than two minutes left: for tests of what is counted by the day. */
void pg_wait_out_midnight(void);
/* Stop the private server as a crash would; pg_restart brings it back. 0, or -1 when the server is a shared one. */
int pg_stop(void);
/* Stop and start the private server again, as a crash would (immediate shutdown). 0, or -1 when the server is a shared one. */
int pg_restart(void);

#endif
