/*
 * Closing days of custody: trees, heads and proofs as a reader checks them, by the definitions of RFC 9162 section 2.1.3.2.
 */
#include "orchestrator/run/custodian.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "orchestrator/run/warm.h"
#include "orchestrator/store/custody.h"
#include "orchestrator/store/leases.h"
#include "shared/json.h"
#include "tests/unit/orchestrator/store/fixture.h"

#define RUNS_N 37

static char state_dir[64];
static struct signer *signer;
static struct config cfg = {.lease_s = 60};
static struct run_env env = {.cfg = &cfg, .holder = "me"};

static int up(void)
{
    snprintf(state_dir, sizeof(state_dir), "/tmp/arp-custodian-XXXXXX");
    if (!mkdtemp(state_dir) || signer_start(state_dir, &signer, NULL) || fixture_up())
        return 1;
    env.db = db;
    env.warm = warm_new();
    return env.warm == NULL;
}

static int down(void)
{
    static const char *const names[] = {
        "/keys/seal.pem", "/keys/sealed.log", "/keys/custody.log", "/keys", ""};
    signer_stop(signer);
    warm_free(env.warm);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        char path[128];
        snprintf(path, sizeof(path), "%s%s", state_dir, names[i]);
        remove(path);
    }
    return fixture_down();
}

static void lines_on(const char *when, const char *run_id, int n)
{
    clock_at(when);
    sqlf("SELECT custody_append('%s', '%s', 'downloaded', NULL, NULL, NULL, NULL, '', NULL) FROM "
         "generate_series(1, %d)",
        run_id, user_a.id, n);
}

static unsigned sign_days(void)
{
    unsigned n;
    OK(custodian_sign_days(&env, signer, &n, &err));
    return n;
}

static void hash_pair(const unsigned char *l, const unsigned char *r, unsigned char ret[32])
{
    unsigned char in[65] = {1};
    memcpy(in + 1, l, 32);
    memcpy(in + 33, r, 32);
    sha256_of(in, sizeof(in), ret);
}

static void root_by_path(const struct custody_line *l, uint64_t size, unsigned char r[32])
{
    unsigned char in[33] = {0};
    sha256_of(l->line, strlen(l->line), in + 1);
    sha256_of(in, sizeof(in), r);
    uint64_t fn = (uint64_t)l->leaf, sn = size - 1;
    for (size_t i = 0; i < l->path->n; i++) {
        ASSERT_TRUE(sn != 0);
        if ((fn & 1) || fn == sn) {
            hash_pair(l->path->hash[i], r, r);
            for (; !(fn & 1) && fn != 0; fn >>= 1)
                sn >>= 1;
        } else {
            hash_pair(r, l->path->hash[i], r);
        }
        fn >>= 1;
        sn >>= 1;
    }
    ASSERT_INT(sn, 0);
}

/* Every line of run_id must lead to the root that its day's head signs. Returns how many are proven. */
static size_t check_run(const char *run_id)
{
    struct custody_lines ls = {0};
    struct custody_heads hs = {0};
    size_t proven = 0;
    OK(custody_read(db, user_a.id, run_id, -1, 10000, &ls, &err));
    OK(custody_days(db, 100, NULL, &hs, &err));
    for (size_t i = 0; i < ls.n; i++) {
        for (size_t d = 0; d < hs.n; d++) {
            if (strcmp(hs.v[d].day, ls.v[i].day) != 0)
                continue;
            cleanup_cjson cJSON *head = NULL;
            unsigned char root[32];
            char text[7 + SHA256_HEX_LEN + 1] = "sha256:";
            OK(json_parse(hs.v[d].head, strlen(hs.v[d].head), &head, &err));
            root_by_path(&ls.v[i], (uint64_t)json_get_int(head, "lines", 0), root);
            hex_encode(root, sizeof(root), text + 7);
            ASSERT_STR(json_get_str(head, "root"), text);
            proven++;
        }
    }
    custody_lines_done(&ls);
    custody_heads_done(&hs);
    return proven;
}

static void every_line_of_a_day_leads_to_its_signed_root(void)
{
    struct run_admitted runs[RUNS_N];
    for (int i = 0; i < RUNS_N; i++) {
        runs[i] = admit_a();
        lines_on("2020-03-01T12:00:00Z", runs[i].id, 1 + i % 3);
    }
    lines_on("2020-03-04T01:00:00Z", runs[0].id, 2);
    ASSERT_INT(sign_days(), 3); /* 2 and 3 March without a line */
    ASSERT_INT(sign_days(), 0);
    for (int i = 0; i < RUNS_N; i++)
        ASSERT_INT(check_run(runs[i].id), 1 + i % 3);
    struct custody_heads hs = {0};
    OK(custody_days(db, 100, NULL, &hs, &err));
    ASSERT_INT(hs.n, 3);
    ASSERT_CONTAINS(hs.v[2].head, "\"day\":\"2020-03-01\",\"lines\":73,");
    ASSERT_CONTAINS(hs.v[2].head, "\"prevHead\":null");
    for (size_t i = 0; i < 2; i++) {
        char prev[SHA256_HEX_LEN + 1];
        sha256_hex_of(hs.v[i + 1].head, strlen(hs.v[i + 1].head), prev);
        ASSERT_CONTAINS(hs.v[i].head, prev);
        ASSERT_CONTAINS(hs.v[i].head, "\"lines\":0,\"root\":\"sha256:e3b0c442");
    }
    custody_heads_done(&hs);
}

static void a_day_of_more_than_a_page_is_proven_too(void)
{
    struct run_admitted r = admit_a();
    lines_on("2020-03-05T12:00:00Z", r.id, 2 * CUSTODY_PROOFS_MAX + 1);
    clock_at("2020-03-06T00:00:00Z");
    ASSERT_INT(sign_days(), 2);
    ASSERT_INT(check_run(r.id), 2 * CUSTODY_PROOFS_MAX + 1);
}

static void a_crash_between_signing_and_entering_is_resumed(void)
{
    struct run_admitted r = admit_a();
    lines_on("2020-03-06T12:00:00Z", r.id, 5);
    clock_at("2020-03-07T00:00:00Z");
    /* the signer signs, the database refuses the row: as if the process had died in between */
    sqlf("ALTER TABLE custody_days ADD CONSTRAINT crash CHECK (day <> '2020-03-06' OR head IS NULL)");
    unsigned n;
    ASSERT_INT(custodian_sign_days(&env, signer, &n, &err), ARP_E_INVALID);
    ASSERT_CONTAINS(err.msg, "2020-03-06");
    sqlf("ALTER TABLE custody_days DROP CONSTRAINT crash");
    ASSERT_INT(sign_days(), 1);
    ASSERT_INT(check_run(r.id), 5);
}

static void a_day_changed_behind_the_stores_back_is_not_signed_again(void)
{
    struct run_admitted r = admit_a();
    lines_on("2020-03-07T12:00:00Z", r.id, 5);
    clock_at("2020-03-08T00:00:00Z");
    sqlf("ALTER TABLE custody_days ADD CONSTRAINT crash CHECK (day <> '2020-03-07' OR head IS NULL)");
    unsigned n;
    ASSERT_TRUE(custodian_sign_days(&env, signer, &n, &err) < 0);
    sqlf("ALTER TABLE custody_days DROP CONSTRAINT crash");
    sqlf("ALTER TABLE custody DISABLE TRIGGER custody_append_only");
    sqlf("UPDATE custody SET digest = sha256('other') WHERE run_id = '%s' AND seq = 2", r.id);
    ASSERT_INT(custodian_sign_days(&env, signer, &n, &err), ARP_E_CONFLICT);
    sqlf(
        "UPDATE custody SET digest = sha256(convert_to(line, 'UTF8')) WHERE run_id = '%s' AND seq = 2", r.id);
    sqlf("ALTER TABLE custody ENABLE TRIGGER custody_append_only");
    ASSERT_INT(sign_days(), 1);
}

static void only_one_of_several_closes_a_day(void)
{
    struct run_admitted r = admit_a();
    int64_t epoch;
    lines_on("2020-03-08T12:00:00Z", r.id, 1);
    clock_at("2020-03-09T00:00:00Z");
    OK(leases_take(db, "custody", "another", 60000, &epoch, &err));
    ASSERT_INT(sign_days(), 0);
    OK(leases_release(db, "custody", "another", epoch, &err));
    ASSERT_INT(sign_days(), 1);
}

TEST_SUITE_WITH(custodian_test, up, down, TEST(every_line_of_a_day_leads_to_its_signed_root),
    TEST(a_day_of_more_than_a_page_is_proven_too), TEST(a_crash_between_signing_and_entering_is_resumed),
    TEST(a_day_changed_behind_the_stores_back_is_not_signed_again), TEST(only_one_of_several_closes_a_day))
