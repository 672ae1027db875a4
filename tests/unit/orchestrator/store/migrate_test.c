#include "orchestrator/store/migrate.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/support/pg.h"
#include "tests/support/process.h"
#include "tests/support/suite.h"

static struct db *db;
static struct arp_err err;
static char dir[64];

static void write_file(const char *name, const char *text)
{
    char path[160];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    FILE *f = fopen(path, "w");
    ASSERT_TRUE(f != NULL);
    fputs(text, f);
    fclose(f);
}

static void remove_file(const char *name)
{
    char path[160];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    unlink(path);
}

static int up(void)
{
    temp_make(dir);
    return !pg_url() || db_open(pg_url(), 8, &db, &err) < 0;
}

static int down(void)
{
    db_close(db);
    return temp_remove(dir);
}

/* Each test starts from an empty schema and the two files. */
static void reset(void)
{
    CU_ASSERT(pg_sql("DROP SCHEMA public CASCADE; CREATE SCHEMA public") != NULL);
    temp_remove(dir);
    ASSERT_TRUE(mkdir(dir, 0700) == 0);
    write_file("0001_one.sql", "CREATE TABLE one (x int);\nINSERT INTO one VALUES (1);\n");
    write_file("0002_two.sql", "CREATE TABLE two (x int);\n");
    write_file("README.md", "not a migration");
}

static void second_time_there_is_nothing_to_do(void)
{
    unsigned applied = 9;
    reset();
    ASSERT_INT(migrate_up(db, dir, &applied, &err), 0);
    ASSERT_INT(applied, 2);
    ASSERT_INT(migrate_up(db, dir, &applied, &err), 0);
    ASSERT_INT(applied, 0);
    write_file("0003_three.sql", "ALTER TABLE one ADD y int;");
    ASSERT_INT(migrate_up(db, dir, &applied, &err), 0);
    ASSERT_INT(applied, 1);
    ASSERT_STR(pg_sql("SELECT string_agg(version || name || length(sha256), ' ' ORDER BY version) FROM "
                      "schema_migrations"),
        "10001_one.sql64 20002_two.sql64 30003_three.sql64");
}

static void changed_file_is_refused_by_name(void)
{
    reset();
    ASSERT_INT(migrate_up(db, dir, NULL, &err), 0);
    write_file("0001_one.sql", "CREATE TABLE one (x int); -- harmless\n");
    ASSERT_INT(migrate_up(db, dir, NULL, &err), ARP_E_CONFLICT);
    ASSERT_CONTAINS(err.msg, "0001_one.sql");
    ASSERT_CONTAINS(err.msg, "changed");
}

static void missing_file_is_refused_by_name(void)
{
    reset();
    ASSERT_INT(migrate_up(db, dir, NULL, &err), 0);
    remove_file("0002_two.sql");
    ASSERT_INT(migrate_up(db, dir, NULL, &err), ARP_E_CONFLICT);
    ASSERT_CONTAINS(err.msg, "0002_two.sql");
    write_file("0002_renamed.sql", "CREATE TABLE two (x int);\n");
    ASSERT_INT(migrate_up(db, dir, NULL, &err), ARP_E_CONFLICT);
    ASSERT_CONTAINS(err.msg, "0002_two.sql");
}

static void numbers_have_no_gap_and_names_a_form(void)
{
    reset();
    write_file("0004_four.sql", "SELECT 1;");
    ASSERT_INT(migrate_up(db, dir, NULL, &err), ARP_E_CONFLICT);
    ASSERT_CONTAINS(err.msg, "0004_four.sql");
    remove_file("0004_four.sql");
    write_file("0002_again.sql", "SELECT 1;");
    ASSERT_INT(migrate_up(db, dir, NULL, &err), ARP_E_CONFLICT);
    remove_file("0002_again.sql");
    write_file("0003-three.sql", "SELECT 1;");
    ASSERT_INT(migrate_up(db, dir, NULL, &err), ARP_E_INVALID);
    ASSERT_CONTAINS(err.msg, "0003-three.sql");
    ASSERT_INT(migrate_up(db, "/nonexistent", NULL, &err), ARP_E_IO);
    ASSERT_STR(pg_sql("SELECT to_regclass('one') IS NULL"), "t");
}

static void failing_file_leaves_nothing_and_is_named_with_its_line(void)
{
    unsigned applied;
    reset();
    write_file("0003_bad.sql", "CREATE TABLE three (x int);\n\nINSERT INTO nowhere VALUES (1);\n");
    ASSERT_INT(migrate_up(db, dir, NULL, &err), ARP_E_INVALID);
    ASSERT_CONTAINS(err.msg, "'0003_bad.sql', line 3");
    ASSERT_CONTAINS(err.msg, "nowhere");
    ASSERT_STR(pg_sql("SELECT to_regclass('two') IS NOT NULL AND to_regclass('three') IS NULL"), "t");
    write_file("0003_bad.sql", "CREATE TABLE three (x int); COMMIT;");
    ASSERT_INT(migrate_up(db, dir, NULL, &err), ARP_E_INVALID);
    ASSERT_CONTAINS(err.msg, "ends the transaction");
    CU_ASSERT(pg_sql("DROP TABLE three") != NULL);
    write_file("0003_bad.sql", "CREATE TABLE three (x int);");
    ASSERT_INT(migrate_up(db, dir, &applied, &err), 0);
    ASSERT_INT(applied, 1);
}

static void *migrate_thread(void *ret)
{
    unsigned applied = 0;
    int rc = migrate_up(db, dir, &applied, NULL);
    *(int *)ret = rc < 0 ? rc : (int)applied;
    return NULL;
}

static void concurrent_migrators_apply_each_file_once(void)
{
    pthread_t t[4];
    int applied[4];
    reset();
    write_file("0002_two.sql", "CREATE TABLE two (x int); SELECT pg_sleep(0.1);");
    for (int i = 0; i < 4; i++)
        pthread_create(&t[i], NULL, migrate_thread, &applied[i]);
    int sum = 0;
    for (int i = 0; i < 4; i++) {
        pthread_join(t[i], NULL);
        CU_ASSERT(applied[i] == 0 || applied[i] == 2);
        sum += applied[i];
    }
    ASSERT_INT(sum, 2);
    ASSERT_STR(pg_sql("SELECT count(*) FROM one"), "1");
}

static void check_asks_for_the_version_of_this_program(void)
{
    reset();
    ASSERT_INT(migrate_check(db, &err), ARP_E_UNAVAILABLE);
    ASSERT_CONTAINS(err.msg, "version 0");
    ASSERT_CONTAINS(err.msg, "arp-orchestrator migrate");
    ASSERT_INT(migrate_up(db, dir, NULL, &err), 0);
    ASSERT_INT(migrate_check(db, &err), ARP_E_UNAVAILABLE);
    CU_ASSERT(pg_sql("DROP SCHEMA public CASCADE; CREATE SCHEMA public") != NULL);
    ASSERT_TRUE(pg_url_migrated() != NULL);
    ASSERT_INT(migrate_check(db, &err), 0);
    char version[16];
    snprintf(version, sizeof(version), "%d", MIGRATE_SCHEMA_VERSION);
    ASSERT_STR(pg_sql("SELECT max(version) FROM schema_migrations"), version);
}

static void every_tenant_table_has_the_tenants_id(void)
{
    ASSERT_TRUE(pg_url_migrated() != NULL);
    ASSERT_STR(
        pg_sql("SELECT coalesce(string_agg(t.table_name, ' '), '') FROM information_schema.tables t"
               " WHERE table_schema = 'public' AND table_name NOT IN ('users', 'leases', 'custody_days', "
               "'schema_migrations') AND NOT EXISTS"
               " (SELECT 1 FROM information_schema.columns c WHERE c.table_name = t.table_name AND "
               "column_name = 'user_id'"
               " AND is_nullable = 'NO')"),
        "");
}

TEST_SUITE_WITH(migrate_test, up, down, TEST(second_time_there_is_nothing_to_do),
    TEST(changed_file_is_refused_by_name), TEST(missing_file_is_refused_by_name),
    TEST(numbers_have_no_gap_and_names_a_form), TEST(failing_file_leaves_nothing_and_is_named_with_its_line),
    TEST(concurrent_migrators_apply_each_file_once), TEST(check_asks_for_the_version_of_this_program),
    TEST(every_tenant_table_has_the_tenants_id))
