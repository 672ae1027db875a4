/*
 * Tests orchestrator/run/resolve.c against a real database and a fake engine: every combination of what the three sources may name.
 */
#include "orchestrator/run/resolve.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "orchestrator/store/containers.h"
#include "orchestrator/store/users.h"
#include "shared/limits.h"
#include "tests/support/pg.h"
#include "tests/support/suite.h"
#include "tests/unit/orchestrator/run/images_fixture.h"

#define NO_ID "00000000-0000-4000-8000-000000000000"

/* Where a container can be named, in order of precedence. */
enum place { REQUEST, SPEC, BINDING, PLACES };
static const char *const place_sources[] = {"override", "spec", "binding"};

/* What a place names. */
enum named { NONE, ALIVE, DELETED, EXPIRED, FOREIGN, MISSING, IMAGE_GONE, NAMED };
static const char *const reasons[] = {
    NULL, NULL, "deleted", "expired", "not_found", "not_found", "image_missing"};

/* What an agent does when none names any. */
enum habit { AUTO, EXPLICIT, EXPLICIT_OR_AUTO, HABITS };

static struct user user_a, user_b;
static char ids[PLACES][NAMED][UUID_LEN + 1]; /* "" for NONE */

/* Set-up happens outside any test, where CUnit can't assert. */
#define MUST(x)                                                                                              \
    do {                                                                                                     \
        if (!(x)) {                                                                                          \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, err.msg);                                     \
            abort();                                                                                         \
        }                                                                                                    \
    } while (0)

__attribute__((format(printf, 1, 2))) static void sqlf(const char *fmt, ...)
{
    char text[2048];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    MUST(pg_sql(text));
}

static void insert(const struct user *u, const char *name, const char *image, char ret_id[UUID_LEN + 1])
{
    struct container_fields f = {.name = name,
        .image_name = image,
        .cpu_millis = 500,
        .memory_bytes = 1ll << 40, /* the operator has come to allow less */
        .idle_expiry_seconds = 3600,
        .sandbox_profile = "\"strict\""};
    struct container c;
    MUST(containers_insert(env.db, u->id, &f, 1000, &c, &err) == 0);
    memcpy(ret_id, c.id, UUID_LEN + 1);
    container_done(&c);
}

static void make_containers(void)
{
    for (int p = 0; p < PLACES; p++) {
        for (int n = ALIVE; n < NAMED; n++) {
            char name[64];
            snprintf(name, sizeof(name), "%s %d", place_sources[p], n);
            insert(
                n == FOREIGN ? &user_b : &user_a, name, n == IMAGE_GONE ? "gone:1" : "tenant:1", ids[p][n]);
        }
        MUST(containers_delete(env.db, user_a.id, ids[p][DELETED], &err) == 0);
        sqlf("UPDATE containers SET last_used_at = now() - interval '2 hours' WHERE id = '%s'",
            ids[p][EXPIRED]);
        sqlf("DELETE FROM containers WHERE id = '%s'", ids[p][MISSING]);
    }
}

static void agent_key(int spec, int binding, int habit, char ret[48])
{
    snprintf(ret, 48, "s%d-b%d-h%d", spec, binding, habit);
}

/* Behind the database's own walls: a spec may name what is not there, or what is another tenant's. */
static void make_agents(void)
{
    sqlf("SET session_replication_role = replica");
    for (int s = 0; s < NAMED; s++) {
        for (int b = 0; b < NAMED; b++) {
            for (int h = 0; h < HABITS; h++) {
                char key[48];
                agent_key(s, b, h, key);
                sqlf("INSERT INTO agents (user_id, key, code_interpreter, container_id, mode, "
                     "fallback_to_auto) "
                     "VALUES ('%s', '%s', true, nullif('%s', '')::uuid, '%s', %s)",
                    user_a.id, key, ids[SPEC][s], h == AUTO ? "auto" : "explicit",
                    h == EXPLICIT_OR_AUTO ? "true" : "false");
                if (b != NONE)
                    sqlf("INSERT INTO agent_containers (user_id, agent_key, container_id) VALUES ('%s', "
                         "'%s', '%s')",
                        user_a.id, key, ids[BINDING][b]);
            }
        }
    }
    sqlf("INSERT INTO agents (user_id, key, code_interpreter, mode, fallback_to_auto) VALUES ('%s', "
         "'toolless', "
         "false, 'auto', false), ('%s', 'theirs', true, 'auto', false)",
        user_a.id, user_b.id);
    sqlf("SET session_replication_role = DEFAULT");
}

static int set_up(void)
{
    const char *url = pg_url_migrated();
    struct db *db = NULL;
    if (!url || images_up() != 0 || db_open(url, 2, &db, &err) != 0 ||
        users_insert(db, "a", -1, &user_a, &err) != 0 || users_insert(db, "b", -1, &user_b, &err) != 0) {
        fprintf(stderr, "%s\n", err.msg);
        return 1;
    }
    env.db = db;
    make_containers();
    make_agents();
    return 0;
}

static int tear_down(void)
{
    user_done(&user_a);
    user_done(&user_b);
    db_close(env.db);
    return images_down();
}

static int resolve(const char *key, const char *override_key, const char *override_id, struct run_choice *ret)
{
    struct run_override o = {(char *)override_key, (char *)override_id};
    err = (struct arp_err){0};
    return run_resolve(&env, user_a.id, &key, 1, &o, override_key != NULL, ret, &err);
}

static double counted(const char *sample)
{
    cleanup_buf struct buf page;
    buf_init(&page, 1 << 20);
    ASSERT_INT(metrics_render(env.metrics, &page, NULL), 0);
    const char *at = strstr(buf_str(&page), sample);
    return at ? strtod(at + strlen(sample), NULL) : 0;
}

/* --- the table ---------------------------------------------------------------------------------------------------------------- */

static void expect_chosen(const struct run_choice *c, const char *key, const char *source, const char *id)
{
    ASSERT_STR(c->agent.key, key);
    ASSERT_STR(container_source_name(c->source), source);
    ASSERT_STR(c->environment.id, id);
    ASSERT_STR(c->environment.image_name, *id ? "tenant:1" : "own:1");
    ASSERT_STR(c->environment.image.id, *id ? IMAGE2 : "");
    ASSERT_STR(c->sandbox_profile, *id ? "\"strict\"" : "\"default\"");
    ASSERT_INT(c->container_name != NULL, *id != '\0');
}

/* What the milestone says must come of it: the first place that names one decides, for good or ill. */
static void expect_cell(const enum named at[PLACES], enum habit habit)
{
    char key[48], want[256], sample[128];
    struct run_choice c = {0};
    agent_key(at[SPEC], at[BINDING], habit, key);
    int p = REQUEST;
    while (p < PLACES && at[p] == NONE)
        p++;
    bool refused = p < PLACES ? at[p] != ALIVE : habit == EXPLICIT;
    const char *id = p < PLACES ? ids[p][at[p]] : "";
    if (p == REQUEST) {
        snprintf(want, sizeof(want), "\"agentKey\":\"%s\",\"containerId\":\"%s\",\"reason\":\"%s\"", key, id,
            refused ? reasons[at[p]] : "");
        snprintf(sample, sizeof(sample), "arp_override_rejected_total{reason=\"%s\"} ",
            refused ? reasons[at[p]] : "");
    } else if (p < PLACES) {
        snprintf(want, sizeof(want),
            "\"agentKey\":\"%s\",\"source\":\"%s\",\"containerId\":\"%s\",\"reason\":\"%s\"", key,
            place_sources[p], id, refused ? reasons[at[p]] : "");
        snprintf(sample, sizeof(sample), "arp_container_unresolved_total{source=\"%s\",reason=\"%s\"} ",
            place_sources[p], refused ? reasons[at[p]] : "");
    } else {
        snprintf(
            want, sizeof(want), "\"agentKey\":\"%s\",\"source\":\"explicit\",\"reason\":\"not_bound\"", key);
        snprintf(sample, sizeof(sample),
            "arp_container_unresolved_total{source=\"explicit\",reason=\"not_bound\"} ");
    }
    double before = counted(sample);
    int rc = resolve(key, at[REQUEST] == NONE ? NULL : key, ids[REQUEST][at[REQUEST]], &c);
    ASSERT_INT(rc, !refused ? 0 : p == REQUEST ? ARP_E_OVERRIDE : ARP_E_CONTAINER);
    ASSERT_TRUE(counted(sample) == before + refused);
    if (refused)
        ASSERT_STR(err.detail, want);
    else
        expect_chosen(&c, key, p < PLACES ? place_sources[p] : "auto", id);
    run_choice_done(&c);
}

static void the_first_that_names_a_container_decides(void)
{
    for (int r = 0; r < NAMED; r++)
        for (int s = 0; s < NAMED; s++)
            for (int b = 0; b < NAMED; b++)
                for (int h = 0; h < HABITS; h++)
                    expect_cell(
                        (const enum named[]){(enum named)r, (enum named)s, (enum named)b}, (enum habit)h);
}

/* --- overrides ---------------------------------------------------------------------------------------------------------------- */

static void an_override_is_of_an_agent_that_takes_part_and_can(void)
{
    const char *id = ids[REQUEST][ALIVE];
    const struct {
        const char *agent; /* the run's */
        const char *key;   /* the override's */
        const char *id;    /* NULL: it was no string */
        const char *reason;
    } rows[] = {
        {"default", "coder", id, "unknown_agent"},
        {"default", "theirs", id, "unknown_agent"}, /* another tenant's */
        {"default", "Default", id, "unknown_agent"},
        {"default", "", id, "unknown_agent"},
        {"default", "coder", "x", "unknown_agent"},
        {"coder", "coder", id, "unknown_agent"},
        {"default", "s0-b0-h0", id, "agent_not_in_run"},
        {"default", "toolless", id, "agent_not_in_run"},
        {"s0-b0-h0", "default", id, "agent_not_in_run"},
        {"s0-b0-h0", "default", "x", "agent_not_in_run"},
        {"toolless", "toolless", id, "no_code_interpreter"},
        {"toolless", "toolless", "x", "no_code_interpreter"},
        {"default", "default", "x", "malformed_id"},
        {"default", "default", "", "malformed_id"},
        {"default", "default", "00000000-0000-4000-8000-00000000000A", "malformed_id"},
        {"default", "default", NULL, "malformed_id"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct run_choice c;
        char want[256];
        ASSERT_INT(resolve(rows[i].agent, rows[i].key, rows[i].id, &c), ARP_E_OVERRIDE);
        snprintf(want, sizeof(want), "\"agentKey\":\"%s\",\"containerId\":\"%s\",\"reason\":\"%s\"",
            rows[i].key, rows[i].id ? rows[i].id : "", rows[i].reason);
        ASSERT_STR(err.detail, want);
    }
}

static void foreign_and_missing_read_alike(void)
{
    static const char *const keys[][2] = {
        {"s0-b0-h0", "s0-b0-h0"}, {"s4-b0-h0", "s5-b0-h0"}, {"s0-b4-h0", "s0-b5-h0"}};
    for (int p = 0; p < PLACES; p++) {
        char said[2][ARP_ERR_MSG_MAX];
        for (int i = 0; i < 2; i++) {
            struct run_choice c;
            const char *id = ids[p][i ? MISSING : FOREIGN];
            ASSERT_TRUE(resolve(keys[p][i], p == REQUEST ? keys[p][i] : NULL, id, &c) != 0);
            /* All that differs is the agent's key, which the two had to differ in. */
            const char *after = strchr(err.msg, p == REQUEST ? ':' : '(');
            snprintf(said[i], sizeof(said[i]), "%s", after ? after : "");
            ASSERT_CONTAINS(said[i], "there is no such container");
        }
        ASSERT_STR(said[0], said[1]);
    }
}

static void the_first_bad_override_is_named_before_a_bad_agent(void)
{
    const char *keys[] = {"nobody", "toolless", "s2-b0-h0"};
    struct run_override good_and_bad[] = {{(char *)keys[2], ids[REQUEST][ALIVE]},
        {(char *)"default", ids[REQUEST][ALIVE]}, {(char *)keys[2], (char *)"x"}};
    struct run_choice c[3];
    ASSERT_INT(run_resolve(&env, user_a.id, keys, 3, good_and_bad, 3, c, &err), ARP_E_OVERRIDE);
    ASSERT_CONTAINS(err.detail, "\"agentKey\":\"default\"");
    ASSERT_CONTAINS(err.detail, "\"reason\":\"agent_not_in_run\"");
    ASSERT_INT(run_resolve(&env, user_a.id, keys, 3, good_and_bad, 1, c, &err), ARP_E_FIELD);
    ASSERT_STR(err.detail, "\"field\":\"agent\"");
}

static void an_agent_must_exist_and_have_code_interpreter(void)
{
    static const char *const keys[] = {"nobody", "theirs", "", "toolless", "Default", "a b", "' OR 1=1"};
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        struct run_choice c;
        ASSERT_INT(resolve(keys[i], NULL, NULL, &c), ARP_E_FIELD);
        ASSERT_STR(err.detail, "\"field\":\"agent\"");
    }
}

static void agents_of_one_request_are_resolved_each_for_itself(void)
{
    static const char *const keys[] = {"s1-b0-h0", "default", "s0-b1-h1", "s2-b2-h1"};
    struct run_override o = {(char *)keys[3], ids[REQUEST][ALIVE]};
    struct run_choice c[4];
    err = (struct arp_err){0};
    ASSERT_INT(run_resolve(&env, user_a.id, keys, 4, &o, 1, c, &err), 0);
    expect_chosen(&c[0], keys[0], "spec", ids[SPEC][ALIVE]);
    expect_chosen(&c[1], keys[1], "auto", "");
    expect_chosen(&c[2], keys[2], "binding", ids[BINDING][ALIVE]);
    expect_chosen(&c[3], keys[3], "override", ids[REQUEST][ALIVE]);
    for (int i = 0; i < 4; i++)
        run_choice_done(&c[i]);
}

static void the_built_in_agent_can_be_bound(void)
{
    struct run_choice c;
    ASSERT_INT(resolve("default", NULL, NULL, &c), 0);
    ASSERT_TRUE(c.agent.built_in);
    expect_chosen(&c, "default", "auto", "");
    run_choice_done(&c);
    sqlf("INSERT INTO agent_containers (user_id, agent_key, container_id) VALUES ('%s', 'default', '%s')",
        user_a.id, ids[BINDING][ALIVE]);
    ASSERT_INT(resolve("default", NULL, NULL, &c), 0);
    expect_chosen(&c, "default", "binding", ids[BINDING][ALIVE]);
    run_choice_done(&c);
    sqlf("DELETE FROM agent_containers WHERE user_id = '%s' AND agent_key = 'default'", user_a.id);
}

static void a_container_in_use_does_not_expire(void)
{
    struct run_choice c;
    char sql[512];
    ASSERT_INT(resolve("default", "default", ids[REQUEST][EXPIRED], &c), ARP_E_OVERRIDE);
    snprintf(sql, sizeof(sql),
        "WITH p AS (INSERT INTO projects (user_id, name) VALUES ('%s', 'p') RETURNING id, user_id), w AS "
        "(INSERT INTO "
        "workspaces (project_id, user_id, volume_name) SELECT id, user_id, 'v' FROM p RETURNING id, "
        "project_id, "
        "user_id) SELECT id || ' ' || project_id FROM w",
        user_a.id);
    char place[80];
    snprintf(place, sizeof(place), "%s", pg_sql(sql));
    ASSERT_TRUE(strlen(place) == 73);
    sqlf("INSERT INTO runs (user_id, project_id, workspace_id, streaming, prompt, engine, run_context, "
         "container_id) "
         "VALUES ('%s', '%s', '%.36s', false, '', 'shell', '{}', '%s')",
        user_a.id, place + 37, place, ids[REQUEST][EXPIRED]);
    ASSERT_INT(resolve("default", "default", ids[REQUEST][EXPIRED], &c), 0);
    run_choice_done(&c);
    sqlf("DELETE FROM runs WHERE user_id = '%s'", user_a.id);
}

static void a_row_is_applied_within_the_servers_limits_and_pins_the_image(void)
{
    struct run_choice c;
    ASSERT_INT(resolve("default", "default", ids[REQUEST][ALIVE], &c), 0);
    ASSERT_STR(c.container_name, "override 1");
    ASSERT_STR(c.environment.image.digest, MANIFEST);
    ASSERT_STR(c.environment.image.digest_kind, RUNTIME_DIGEST_REPO);
    ASSERT_INT(c.environment.nano_cpus, 500000000);
    ASSERT_INT(c.environment.memory_bytes, 1 << 30);
    ASSERT_INT(c.environment.pids_limit, 256);
    run_choice_done(&c);
}

static void an_engine_that_fails_is_nobodys_bad_choice(void)
{
    char id[UUID_LEN + 1];
    struct run_choice c;
    insert(&user_a, "unlucky", "broken:1", id);
    ASSERT_INT(resolve("default", "default", id, &c), ARP_E_RUNTIME);
    insert(&user_a, "no agent in it", "plain:1", id);
    ASSERT_INT(resolve("default", "default", id, &c), ARP_E_OVERRIDE);
    ASSERT_CONTAINS(err.detail, "\"reason\":\"image_missing\"");
}

/* --- the choice on record ----------------------------------------------------------------------------------------------------- */

static const char *or_null(const char *s)
{
    return s ? s : "(null)";
}

static void expect_same(const struct run_choice *a, const struct run_choice *b)
{
    ASSERT_STR(a->agent.key, b->agent.key);
    ASSERT_INT(a->agent.built_in, b->agent.built_in);
    ASSERT_INT(a->agent.code_interpreter, b->agent.code_interpreter);
    ASSERT_INT(a->agent.mode, b->agent.mode);
    ASSERT_INT(a->agent.fallback_to_auto, b->agent.fallback_to_auto);
    ASSERT_STR(or_null(a->agent.engine), or_null(b->agent.engine));
    ASSERT_STR(or_null(a->agent.model), or_null(b->agent.model));
    ASSERT_STR(or_null(a->agent.instructions), or_null(b->agent.instructions));
    ASSERT_INT(a->source, b->source);
    ASSERT_STR(or_null(a->container_name), or_null(b->container_name));
    ASSERT_STR(a->sandbox_profile, b->sandbox_profile);
    ASSERT_STR(a->environment.id, b->environment.id);
    ASSERT_STR(a->environment.image_name, b->environment.image_name);
    ASSERT_STR(a->environment.image.id, b->environment.image.id);
    ASSERT_STR(a->environment.image.digest, b->environment.image.digest);
    ASSERT_STR(a->environment.image.digest_kind, b->environment.image.digest_kind);
    ASSERT_INT(a->environment.nano_cpus, b->environment.nano_cpus);
    ASSERT_INT(a->environment.memory_bytes, b->environment.memory_bytes);
    ASSERT_INT(a->environment.pids_limit, b->environment.pids_limit);
}

static void what_was_chosen_reads_back_as_it_was(void)
{
    static const char *const keys[] = {"default", "s1-b0-h1", "s0-b1-h2", "s0-b0-h0", "full"};
    sqlf("INSERT INTO agents (user_id, key, code_interpreter, mode, fallback_to_auto, engine, model, "
         "instructions) "
         "VALUES ('%s', 'full', true, 'explicit', true, 'shell', 'm\"1', E'be \\n\"brief\" \xc3\xa4 \\\\')",
        user_a.id);
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        cleanup_buf struct buf text, again;
        cleanup_cjson cJSON *doc = NULL;
        struct run_choice made, read;
        buf_init(&text, 1 << 20);
        buf_init(&again, 1 << 20);
        ASSERT_INT(resolve(keys[i], NULL, NULL, &made), 0);
        ASSERT_INT(run_choice_write(&made, &text, &err), 0);
        ASSERT_INT(json_parse(text.data, text.len, &doc, &err), 0);
        ASSERT_INT(run_choice_read(doc, &read, &err), 0);
        expect_same(&made, &read);
        ASSERT_INT(run_choice_write(&read, &again, &err), 0);
        ASSERT_STR(buf_str(&again), buf_str(&text));
        run_choice_done(&made);
        run_choice_done(&read);
    }
}

#define AGENT_OK                                                                                             \
    "\"agent\":{\"key\":\"a\",\"builtIn\":false,\"tools\":[],\"mode\":\"auto\",\"fallbackToAuto\":false}"
#define LIMITS_OK "\"limits\":{\"nanoCpus\":1,\"memoryBytes\":1,\"pids\":1}"
#define REST_OK   "\"imageName\":\"i\",\"sandboxProfile\":\"default\""

static void damaged_choices_are_refused(void)
{
    static const char *const good =
        "{" AGENT_OK ",\"container\":{\"agentKey\":\"a\",\"source\":\"auto\"," REST_OK "," LIMITS_OK "}}";
    static const char *const texts[] = {
        "{}",
        "{" AGENT_OK "}",
        "{" AGENT_OK ",\"container\":{}}",
        "{" AGENT_OK ",\"container\":7}",
        "{\"container\":{\"agentKey\":\"a\",\"source\":\"auto\"," REST_OK "," LIMITS_OK "}}",
        "{" AGENT_OK ",\"container\":{\"agentKey\":\"b\",\"source\":\"auto\"," REST_OK "," LIMITS_OK "}}",
        "{" AGENT_OK ",\"container\":{\"agentKey\":\"a\",\"source\":\"guess\"," REST_OK "," LIMITS_OK "}}",
        "{" AGENT_OK ",\"container\":{\"agentKey\":\"a\",\"source\":\"spec\"," REST_OK "," LIMITS_OK "}}",
        "{" AGENT_OK ",\"container\":{\"agentKey\":\"a\",\"source\":\"auto\",\"id\":\"" NO_ID "\"," REST_OK
        "," LIMITS_OK "}}",
        "{" AGENT_OK ",\"container\":{\"agentKey\":\"a\",\"source\":\"spec\",\"id\":\"" NO_ID "0\"," REST_OK
        "," LIMITS_OK "}}",
        "{" AGENT_OK ",\"container\":{\"agentKey\":\"a\",\"source\":\"auto\"," LIMITS_OK "}}",
        "{" AGENT_OK ",\"container\":{\"agentKey\":\"a\",\"source\":\"auto\"," REST_OK "}}",
        "{" AGENT_OK ",\"container\":{\"agentKey\":\"a\",\"source\":\"auto\"," REST_OK
        ",\"limits\":{\"nanoCpus\":1,\"memoryBytes\":0,\"pids\":1}}}",
        "{\"agent\":{\"key\":\"a\",\"mode\":\"maybe\"},\"container\":{\"agentKey\":\"a\",\"source\":"
        "\"auto\"," REST_OK "," LIMITS_OK "}}",
    };
    struct run_choice c;
    cleanup_cjson cJSON *whole = cJSON_Parse(good);
    ASSERT_INT(run_choice_read(whole, &c, &err), 0);
    run_choice_done(&c);
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        cleanup_cjson cJSON *doc = cJSON_Parse(texts[i]);
        ASSERT_TRUE(doc != NULL);
        ASSERT_INT(run_choice_read(doc, &c, &err), ARP_E_CORRUPT);
    }
}

TEST_SUITE_WITH(resolve_test, set_up, tear_down, TEST(the_first_that_names_a_container_decides),
    TEST(an_override_is_of_an_agent_that_takes_part_and_can), TEST(foreign_and_missing_read_alike),
    TEST(the_first_bad_override_is_named_before_a_bad_agent),
    TEST(an_agent_must_exist_and_have_code_interpreter),
    TEST(agents_of_one_request_are_resolved_each_for_itself), TEST(the_built_in_agent_can_be_bound),
    TEST(a_container_in_use_does_not_expire),
    TEST(a_row_is_applied_within_the_servers_limits_and_pins_the_image),
    TEST(an_engine_that_fails_is_nobodys_bad_choice), TEST(what_was_chosen_reads_back_as_it_was),
    TEST(damaged_choices_are_refused))
