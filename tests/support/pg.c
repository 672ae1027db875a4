/*
 * A Postgres of the tests' own: see pg.h.
 */
#include "tests/support/pg.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <libpq-fe.h>
#include <pwd.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "orchestrator/store/migrate.h"
#include "tests/support/process.h"

#define BIN        "/usr/lib/postgresql/15/bin/"
#define START_MS   30000
#define URL_FORMAT "postgresql://postgres@/postgres?host=%s"

static char dir[64];     /* of the private server; "" when shared */
static char url[2048];   /* of this program's database; "" before the first call */
static char admin[2048]; /* shared server: where databases are made */
static char database[64];
static pid_t server;
static pid_t owner;
static PGconn *side; /* for pg_sql */

/* In a child: become the user that may run a server. */
static void become_postgres(void)
{
    const struct passwd *pw = geteuid() == 0 ? getpwnam("postgres") : NULL;
    if (geteuid() != 0)
        return;
    if (!pw || setgroups(0, NULL) < 0 || setgid(pw->pw_gid) < 0 || setuid(pw->pw_uid) < 0) {
        perror("become the user postgres");
        _exit(127);
    }
}

/* Start argv with output to dir/log. */
static pid_t spawn(const char *const argv[])
{
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid != 0)
        return pid;
    become_postgres();
    /* After setuid, which clears it: the server ends with the test, however the test ends. */
    prctl(PR_SET_PDEATHSIG, SIGQUIT);
    if (getppid() != parent)
        _exit(127);
    char log[96];
    snprintf(log, sizeof(log), "%s/log", dir);
    int fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (chdir(dir) < 0 || fd < 0 || dup2(fd, 1) < 0 || dup2(fd, 2) < 0)
        _exit(127);
    setenv("LC_ALL", "C.UTF-8", 1);
    execv(argv[0], (char *const *)argv); /* execv(2) does not change them; POSIX keeps its old type */
    _exit(127);
}

static void show_log(void)
{
    char path[96];
    char line[512];
    snprintf(path, sizeof(path), "%s/log", dir);
    FILE *f = fopen(path, "r");
    while (f && fgets(line, sizeof(line), f))
        fputs(line, stderr);
    if (f)
        fclose(f);
}

static int server_start(void)
{
    char data[96];
    char socket_dir[128];
    snprintf(data, sizeof(data), "%s/data", dir);
    snprintf(socket_dir, sizeof(socket_dir), "unix_socket_directories=%s", dir);
    const char *const argv[] = {BIN "postgres", "-D", data, "-c", "listen_addresses=", "-c", socket_dir, "-c",
        "fsync=off", "-c", "full_page_writes=off", "-c", "max_connections=120", "-c", "shared_buffers=32MB",
        "-c", "jit=off", NULL};
    server = spawn(argv);
    for (int waited = 0; server > 0 && waited < START_MS; waited += 20) {
        if (PQping(url) == PQPING_OK)
            return 0;
        if (waitpid(server, NULL, WNOHANG) == server)
            break;
        nanosleep(&(struct timespec){0, 20000000}, NULL);
    }
    show_log();
    return -1;
}

static void server_stop(void)
{
    if (server <= 0)
        return;
    kill(server, SIGQUIT);
    waitpid(server, NULL, 0);
    server = 0;
}

static void clean_up(void)
{
    if (getpid() != owner) /* a forked child of the test */
        return;
    PQfinish(side);
    side = NULL;
    server_stop();
    if (*dir)
        temp_remove(dir);
    if (*database) {
        PGconn *c = PQconnectdb(admin);
        char sql[128];
        snprintf(sql, sizeof(sql), "DROP DATABASE %s WITH (FORCE)", database);
        PQclear(PQexec(c, sql));
        PQfinish(c);
    }
}

static int private_server(void)
{
    snprintf(dir, sizeof(dir), "/tmp/arp-test-pg-XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    const struct passwd *pw = getpwnam("postgres");
    if (geteuid() == 0 && (!pw || chown(dir, pw->pw_uid, pw->pw_gid) < 0))
        return -1;
    snprintf(url, sizeof(url), URL_FORMAT, dir);
    char data[96];
    snprintf(data, sizeof(data), "%s/data", dir);
    const char *const argv[] = {BIN "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8",
        "--locale=C.UTF-8", "--no-sync", "--no-instructions", NULL};
    int status = -1;
    pid_t pid = spawn(argv);
    if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0) {
        show_log();
        return -1;
    }
    return server_start();
}

/* The conninfo text of shared with another database name. */
static void with_database(const char *shared)
{
    PQconninfoOption *options = PQconninfoParse(shared, NULL);
    size_t n = 0;
    for (const PQconninfoOption *o = options; o && o->keyword; o++) {
        const char *value = strcmp(o->keyword, "dbname") == 0 ? database : o->val;
        if (!value || strpbrk(value, "'\\"))
            continue;
        n += (size_t)snprintf(url + n, sizeof(url) - n, "%s='%s' ", o->keyword, value);
        if (n >= sizeof(url))
            break;
    }
    PQconninfoFree(options);
}

static int shared_server(const char *shared)
{
    snprintf(admin, sizeof(admin), "%s", shared);
    char sql[128];
    char name[64];
    snprintf(name, sizeof(name), "arp_test_%ld_%ld", (long)getpid(), (long)time(NULL));
    snprintf(sql, sizeof(sql), "CREATE DATABASE %s", name);
    PGconn *c = PQconnectdb(admin);
    PGresult *res = PQexec(c, sql);
    bool made = PQresultStatus(res) == PGRES_COMMAND_OK;
    if (!made)
        fprintf(stderr, "create a test database: %s", PQerrorMessage(c));
    PQclear(res);
    PQfinish(c);
    if (!made)
        return -1;
    memcpy(database, name, sizeof(database));
    with_database(shared);
    return 0;
}

const char *pg_url(void)
{
    if (*url)
        return url;
    owner = getpid();
    atexit(clean_up);
    const char *shared = getenv("ARP_TEST_DATABASE_URL");
    int rc = shared && *shared ? shared_server(shared) : private_server();
    if (rc == 0)
        return url;
    fprintf(stderr, "no test database\n");
    clean_up();
    *url = '\0';
    return NULL;
}

const char *pg_url_migrated(void)
{
    struct arp_err err;
    cleanup_db struct db *db = NULL;
    if (!pg_url())
        return NULL;
    if (db_open(url, 1, &db, &err) < 0 || migrate_up(db, "migrations", NULL, &err) < 0) {
        fprintf(stderr, "migrate the test database: %s\n", err.msg);
        return NULL;
    }
    return url;
}

const char *pg_sql(const char *sql)
{
    static char value[64 << 10];
    if (!side || PQstatus(side) != CONNECTION_OK) {
        PQfinish(side);
        side = PQconnectdb(pg_url());
        PQclear(PQexec(side, "SET client_min_messages = error"));
    }
    PGresult *res = PQexec(side, sql);
    ExecStatusType status = PQresultStatus(res);
    bool ok = status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK;
    if (!ok)
        fprintf(stderr, "%s: %s", sql, PQerrorMessage(side));
    snprintf(
        value, sizeof(value), "%s", PQntuples(res) > 0 && PQnfields(res) > 0 ? PQgetvalue(res, 0, 0) : "");
    PQclear(res);
    return ok ? value : NULL;
}

bool pg_wait(const char *sql, const char *want)
{
    for (int i = 0; i < 1500; i++) {
        const char *got = pg_sql(sql);
        if (got && strcmp(got, want) == 0)
            return true;
        nanosleep(&(struct timespec){0, 20000000}, NULL);
    }
    return false;
}

static long seconds_left_of_today(void)
{
    const char *left = pg_sql("SELECT 86400 - floor(extract(epoch FROM now()))::bigint % 86400");
    return left ? strtol(left, NULL, 10) : 86400;
}

void pg_wait_out_midnight(void)
{
    for (long left = seconds_left_of_today(); left <= 120; left = seconds_left_of_today())
        sleep((unsigned)left);
}

int pg_stop(void)
{
    if (!*dir)
        return -1;
    PQfinish(side);
    side = NULL;
    server_stop();
    return 0;
}

int pg_restart(void)
{
    return pg_stop() == 0 ? server_start() : -1;
}
