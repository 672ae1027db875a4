/*
 * v0.3, who runs where: each cell of the precedence table (request, agent's definition, binding, auto) through the API, in real containers
 * of two images beside the server's own. What a run's command prints of its image agrees with every record of the run; what is refused makes
 * nothing and costs nothing; and a container that is deleted between its choice and its use is never run in.
 */
#include <libpq-fe.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/support/choice.h"
#include "tests/support/docker.h"
#include "tests/support/pg.h"
#include "tests/support/record.h"
#include "tests/support/suite.h"

#define NO_ID "00000000-0000-4000-8000-000000000000"
/* What a tag means is remembered for 5 s. */
#define IMAGE_CACHE_S 6
#define AGENT         "tester"
#define DEFINITION    "{\"tools\":[\"code_interpreter\"]%s}"

static struct stack *stack;
static char red[64], blue[64]; /* images with a marker; the server's own has none */
static char passing[64];       /* one that goes away */

static int set_up(void)
{
    snprintf(red, sizeof(red), "arp-test-red:%d", (int)getpid());
    snprintf(blue, sizeof(blue), "arp-test-blue:%d", (int)getpid());
    snprintf(passing, sizeof(passing), "arp-test-passing:%d", (int)getpid());
    if (!docker_image_mark(red, "red") || !docker_image_mark(blue, "blue") ||
        !docker_image_mark(passing, "passing"))
        return 1;
    stack = stack_start((const char *const[]){"ARP_LEASE_SECONDS=2", "ARP_BUNDLE_SCAN_SECONDS=1",
        "ARP_WORKSPACE_MEMORY_MB=512", "ARP_WORKSPACE_PIDS=200", NULL});
    return stack ? 0 : 1;
}

static int tear_down(void)
{
    int code = stack ? stack_stop(stack) : 1;
    docker_image_remove(red);
    docker_image_remove(blue);
    docker_image_remove(passing);
    return code;
}

static void make_tenant(const char *name, struct tenant *t)
{
    ASSERT_TRUE(stack_tenant(stack, name, -1, t));
}

/* --- who names what ------------------------------------------------------------------------------------------------------------ */

/* Where a container can be named, in order of precedence. */
enum place { REQUEST, SPEC, BINDING, PLACES };
static const char *const sources[] = {"override", "spec", "binding", "auto"};

/* What each place names; NULL: nothing. */
struct named {
    const char *at[PLACES];
    const char *mode; /* members of the definition, text that begins with a comma, or "" */
};

/* One call that must answer status. */
static void call(const struct tenant *t, const char *method, const char *path, const char *body, long status)
{
    struct reply r = {0};
    long got = stack_call(stack, t->key, method, path, body, &r);
    if (got != status)
        fprintf(stderr, "%s %s %s: %s\n", method, path, body ? body : "", r.body);
    ASSERT_INT(got, status);
    reply_done(&r);
}

static void unbind(const struct tenant *t)
{
    struct reply r = {0};
    stack_call(stack, t->key, "DELETE", "/agents/" AGENT "/binding", NULL, &r);
    reply_done(&r);
}

/* Define the agent and bind it as n says. */
static void define(const struct tenant *t, const struct named *n)
{
    struct reply r = {0};
    char members[256], body[320];
    snprintf(
        members, sizeof(members), n->at[SPEC] ? "%s,\"containerId\":\"%s\"" : "%s", n->mode, n->at[SPEC]);
    snprintf(body, sizeof(body), DEFINITION, members);
    stack_call(stack, t->key, "PUT", "/agents/" AGENT, body, &r);
    if (r.status != 200 && r.status != 201)
        fprintf(stderr, "%s\n", r.body);
    ASSERT_TRUE(r.status == 200 || r.status == 201);
    unbind(t);
    if (n->at[BINDING]) {
        snprintf(body, sizeof(body), "{\"containerId\":\"%s\"}", n->at[BINDING]);
        call(t, "PUT", "/agents/" AGENT "/binding", body, 201);
    }
    reply_done(&r);
}

/* A message of the agent with n's override. Static buffer. */
static const char *body_of(const struct named *n, const char *commands)
{
    static char body[512];
    char overrides[160] = "";
    if (n->at[REQUEST])
        snprintf(
            overrides, sizeof(overrides), ",\"container_overrides\":{\"" AGENT "\":\"%s\"}", n->at[REQUEST]);
    snprintf(body, sizeof(body), "{\"agent\":\"" AGENT "\",\"commands\":%s%s}", commands, overrides);
    return body;
}

static void run_to_success(const struct tenant *t, const char *body, char ret_run[40])
{
    struct reply r = {0};
    long status = run_post(stack, t, body, &r);
    if (status != 200 || strcmp(reply_str(&r, "status"), "succeeded") != 0)
        fprintf(stderr, "%s: %s\n", body, r.body);
    ASSERT_INT(status, 200);
    ASSERT_STR(reply_str(&r, "status"), "succeeded");
    snprintf(ret_run, 40, "%s", reply_str(&r, "runId"));
    reply_done(&r);
}

static int count(const struct tenant *t, const char *what)
{
    char sql[256];
    snprintf(sql, sizeof(sql),
        strcmp(what, "runs") == 0 ? "SELECT count(*) FROM runs WHERE user_id = '%s'"
                                  : "SELECT coalesce(sum(runs), 0) FROM usage_daily WHERE user_id = '%s'",
        t->user_id);
    return atoi(pg_sql(sql));
}

/* --- what is chosen ------------------------------------------------------------------------------------------------------------ */

/* Define, run, and hold the run against the first place that names a container. image, name: of each of the places' containers. */
static void expect_cell(
    const struct tenant *t, const struct named *n, const char *const *images, const char *const *names)
{
    char run[40];
    int p = REQUEST;
    while (p < PLACES && !n->at[p])
        p++;
    define(t, n);
    run_to_success(t, body_of(n, WHICH_IMAGE), run);
    struct choice c = {.agent = AGENT, .source = sources[p], .image = docker_image(), .prints = "plain"};
    if (p < PLACES) {
        c.container = n->at[p];
        c.name = names[p];
        c.image = images[p];
        c.prints = images[p] == red ? "red" : "blue";
    }
    choice_expect(stack, t, run, &c);
}

/* All subsets of the three places; the one that decides has the other image than those behind it, and the other way round. */
static void the_first_that_names_a_container_decides(void)
{
    struct tenant t;
    char ids[2][PLACES][40];
    static const char *const names[2][PLACES] = {{"r0", "s0", "b0"}, {"r1", "s1", "b1"}};
    make_tenant("precedence", &t);
    for (int i = 0; i < 2; i++)
        for (int p = 0; p < PLACES; p++)
            choice_register(stack, &t, names[i][p], i ? blue : red, "", ids[i][p]);
    for (int subset = 1; subset < 1 << PLACES; subset++) {
        for (int turn = 0; turn < 2; turn++) {
            struct named n = {.mode = turn ? ",\"mode\":\"explicit\"" : ""};
            const char *images[PLACES], *cell_names[PLACES];
            int set = turn;
            for (int p = 0; p < PLACES; p++) {
                if (!(subset & 1 << p))
                    continue;
                n.at[p] = ids[set][p];
                images[p] = set ? blue : red;
                cell_names[p] = names[set][p];
                set = !turn; /* all behind the first */
            }
            expect_cell(&t, &n, images, cell_names);
        }
    }
    const struct named none = {.mode = ""};
    const struct named fallback = {.mode = ",\"mode\":\"explicit\",\"fallbackToAuto\":true"};
    expect_cell(&t, &none, NULL, NULL);
    expect_cell(&t, &fallback, NULL, NULL);
}

/* What is named behind the one that decides is not even looked at. */
static void what_is_not_asked_may_be_dead(void)
{
    struct tenant t;
    char alive[40], dead[40], other[40];
    make_tenant("not asked", &t);
    choice_register(stack, &t, "alive", red, "", alive);
    choice_register(stack, &t, "dead", blue, "", dead);
    choice_register(stack, &t, "other", blue, "", other);
    const struct named by_request = {{alive, dead, dead}, ""}, by_spec = {{NULL, alive, dead}, ""};
    const struct choice request = {AGENT, "override", alive, "alive", red, "red"};
    const struct choice spec = {AGENT, "spec", alive, "alive", red, "red"};
    char run[40], sql[160];
    define(&t, &by_request);
    choice_delete(stack, &t, dead);
    run_to_success(&t, body_of(&by_request, WHICH_IMAGE), run);
    choice_expect(stack, &t, run, &request);
    const struct named late = {{NULL, alive, other}, ""};
    define(&t, &late);
    snprintf(sql, sizeof(sql), "UPDATE containers SET deleted_at = now() WHERE id = '%s'", other);
    ASSERT_TRUE(pg_sql(sql) != NULL);
    run_to_success(&t, body_of(&by_spec, WHICH_IMAGE), run);
    choice_expect(stack, &t, run, &spec);
}

static void an_agents_engine_runs_the_prompt(void)
{
    struct tenant t;
    char id[40], run[40];
    struct reply r = {0};
    make_tenant("engine", &t);
    choice_register(stack, &t, "c", red, "", id);
    const struct named n = {{NULL, NULL, id}, ",\"engine\":\"shell\",\"instructions\":\"be brief\""};
    define(&t, &n);
    run_to_success(&t, "{\"agent\":\"" AGENT "\",\"prompt\":\"cat /marker\"}", run);
    choice_expect(stack, &t, run, &(struct choice){AGENT, "binding", id, "c", red, "red"});
    char path[80];
    snprintf(path, sizeof(path), "/runs/%s", run);
    ASSERT_INT(stack_call(stack, t.key, "GET", path, NULL, &r), 200);
    ASSERT_STR(reply_str(&r, "runContext.agent.instructions"), "be brief");
    ASSERT_STR(reply_str(&r, "runContext.agentKey"), AGENT);
    ASSERT_INT(
        run_post(stack, &t, "{\"prompt\":\"cat /marker\"}", &r), 400); /* the built-in agent has no engine */
    ASSERT_STR(reply_str(&r, "error.details.field"), "commands");
    reply_done(&r);
}

/* --- what is refused ----------------------------------------------------------------------------------------------------------- */

/* Both message routes refuse; nothing is made, nothing is counted but the metric. */
static void expect_refused(
    const struct tenant *t, const struct named *n, const char *code, const char *source, const char *reason)
{
    struct reply r = {0};
    char path[80], sample[160];
    const char *id =
        source
            ? (strcmp(source, "explicit") == 0 ? NULL : n->at[strcmp(source, "spec") == 0 ? SPEC : BINDING])
            : n->at[REQUEST];
    if (source)
        snprintf(sample, sizeof(sample), "arp_container_unresolved_total{source=\"%s\",reason=\"%s\"}",
            source, reason);
    else
        snprintf(sample, sizeof(sample), "arp_override_rejected_total{reason=\"%s\"}", reason);
    double before = stack_metric(stack, sample);
    for (int stream = 0; stream < 2; stream++) {
        snprintf(path, sizeof(path), "/projects/%s/message%s", t->project_id, stream ? "/stream" : "");
        ASSERT_INT(stack_call(stack, t->key, "POST", path, body_of(n, WHICH_IMAGE), &r), 400);
        ASSERT_STR(reply_str(&r, "error.code"), code);
        ASSERT_STR(reply_str(&r, "error.details.agentKey"), AGENT);
        ASSERT_STR(reply_str(&r, "error.details.reason"), reason);
        if (id)
            ASSERT_STR(reply_str(&r, "error.details.containerId"), id);
        else
            ASSERT_TRUE(reply_at(&r, "error.details.containerId") == NULL);
        if (source)
            ASSERT_STR(reply_str(&r, "error.details.source"), source);
    }
    ASSERT_TRUE(stack_metric(stack, sample) == (before < 0 ? 0 : before) + 2);
    reply_done(&r);
}

/* A tenant's containers in every state. */
struct states {
    char alive[40];
    char bad[5][40];
    const char *reason[5];
};
#define FOREIGN 2 /* and those behind it: no route lets an agent name them */

static void make_states(
    const struct tenant *t, const struct tenant *stranger, const char *prefix, struct states *ret)
{
    static const char *const reasons[] = {"deleted", "expired", "not_found", "not_found", "image_missing"};
    static const char *const states[] = {"deleted", "expired", "foreign", NULL, "imageless"};
    char name[64];
    snprintf(name, sizeof(name), "%s alive", prefix);
    choice_register(stack, t, name, red, "", ret->alive);
    for (int i = 0; i < 5; i++) {
        snprintf(name, sizeof(name), "%s %s", prefix, states[i] ? states[i] : "");
        if (states[i])
            choice_register(stack, i == FOREIGN ? stranger : t, name, i == 4 ? passing : blue,
                i == 1 ? ",\"idleExpirySeconds\":60" : "", ret->bad[i]);
        else
            snprintf(ret->bad[i], sizeof(ret->bad[i]), NO_ID);
        ret->reason[i] = reasons[i];
    }
}

/* Behind the walls of routes and database: put the id where no request could. */
static void force(const struct tenant *t, const char *table, const char *id)
{
    char sql[512];
    snprintf(sql, sizeof(sql),
        "SET session_replication_role = replica; UPDATE %s SET container_id = '%s' WHERE user_id = '%s'; SET "
        "session_replication_role = DEFAULT",
        table, id, t->user_id);
    ASSERT_TRUE(pg_sql(sql) != NULL);
}

static void what_an_agent_can_not_name_reads_alike(const struct tenant *t, const struct states *s)
{
    struct reply foreign = {0}, missing = {0};
    char body[200];
    for (int spec = 0; spec < 2; spec++) {
        struct reply *const replies[] = {&foreign, &missing};
        for (int i = 0; i < 2; i++) {
            char members[80];
            snprintf(members, sizeof(members), ",\"containerId\":\"%s\"", s->bad[FOREIGN + i]);
            if (spec)
                snprintf(body, sizeof(body), DEFINITION, members);
            else
                snprintf(body, sizeof(body), "{%s}", members + 1);
            ASSERT_INT(stack_call(stack, t->key, "PUT", spec ? "/agents/" AGENT : "/agents/" AGENT "/binding",
                           body, replies[i]),
                400);
        }
        ASSERT_STR(foreign.body, missing.body);
    }
    reply_done(&foreign);
    reply_done(&missing);
}

static void what_can_not_be_used_refuses_the_run_and_asks_nobody_else(void)
{
    struct tenant t, stranger;
    struct states s;
    char sql[200];
    make_tenant("refused", &t);
    make_tenant("refused stranger", &stranger);
    make_states(&t, &stranger, "c", &s);
    const struct named good = {{NULL, s.alive, s.alive}, ""};
    define(&t, &good);
    what_an_agent_can_not_name_reads_alike(&t, &s);
    choice_delete(stack, &t, s.bad[0]);
    snprintf(sql, sizeof(sql),
        "UPDATE containers SET last_used_at = now() - interval '1 hour' WHERE id = '%s'", s.bad[1]);
    ASSERT_TRUE(pg_sql(sql) != NULL);
    docker_image_remove(passing);
    sleep(IMAGE_CACHE_S);
    for (int i = 0; i < 5; i++) {
        const struct named by_request = {{s.bad[i], s.alive, s.alive}, ""};
        expect_refused(&t, &by_request, "invalid_container_override", NULL, s.reason[i]);
    }
    for (int i = 0; i < 5; i++) {
        const struct named by_spec = {{NULL, s.bad[i], s.alive}, ""};
        force(&t, "agents", s.bad[i]);
        expect_refused(&t, &by_spec, "container_unresolved", "spec", s.reason[i]);
    }
    static const char *const modes[] = {
        "", ",\"mode\":\"explicit\"", ",\"mode\":\"explicit\",\"fallbackToAuto\":true"};
    for (int i = 0; i < 5; i++) {
        const struct named base = {{NULL, NULL, s.alive}, modes[i % 3]},
                           by_binding = {{NULL, NULL, s.bad[i]}, ""};
        define(&t, &base);
        force(&t, "agent_containers", s.bad[i]);
        expect_refused(&t, &by_binding, "container_unresolved", "binding", s.reason[i]);
    }
    const struct named explicit = {.mode = ",\"mode\":\"explicit\""};
    define(&t, &explicit);
    expect_refused(&t, &explicit, "container_unresolved", "explicit", "not_bound");
    ASSERT_INT(count(&t, "runs"), 0);
    ASSERT_INT(count(&t, "quota"), 0);
    ASSERT_STR(docker_container(t.workspace_id), "");
    ASSERT_STR(docker_volume(t.workspace_id), "");
}

static void an_agent_must_exist_and_be_able(void)
{
    struct tenant t;
    struct reply r = {0};
    char id[40], body[256];
    make_tenant("able", &t);
    choice_register(stack, &t, "c", red, "", id);
    call(&t, "PUT", "/agents/talker", "{\"tools\":[]}", 201);
    static const char *const agents[] = {"talker", "nobody", "", "../x"};
    for (size_t i = 0; i < sizeof(agents) / sizeof(agents[0]); i++) {
        snprintf(body, sizeof(body), "{\"agent\":\"%s\",\"commands\":[[\"true\"]]}", agents[i]);
        ASSERT_INT(run_post(stack, &t, body, &r), 400);
        ASSERT_STR(reply_str(&r, "error.code"), "invalid_field");
        ASSERT_STR(reply_str(&r, "error.details.field"), "agent");
    }
    static const struct {
        const char *agent, *key, *reason;
    } rows[] = {{"talker", "talker", "no_code_interpreter"}, {"default", "talker", "agent_not_in_run"},
        {"talker", "default", "agent_not_in_run"}, {"default", "nobody", "unknown_agent"}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        snprintf(body, sizeof(body),
            "{\"agent\":\"%s\",\"commands\":[[\"true\"]],\"container_overrides\":{\"%s\":\"%s\"}}",
            rows[i].agent, rows[i].key, id);
        ASSERT_INT(run_post(stack, &t, body, &r), 400);
        ASSERT_STR(reply_str(&r, "error.code"), "invalid_container_override");
        ASSERT_STR(reply_str(&r, "error.details.reason"), rows[i].reason);
    }
    ASSERT_INT(count(&t, "runs"), 0);
    ASSERT_INT(count(&t, "quota"), 0);
    reply_done(&r);
}

/* --- while it is deleted ------------------------------------------------------------------------------------------------------- */

/* A message or a deletion on a thread of its own. */
struct sent {
    pthread_t thread;
    const struct tenant *t;
    const char *method;
    char path[80];
    char body[512];
    struct reply reply;
    pthread_barrier_t *line; /* where the racers start; NULL: no race */
    useconds_t start_us;     /* the head start the other one has */
};

static void *send_it(void *arg)
{
    struct sent *s = arg;
    if (s->line)
        pthread_barrier_wait(s->line);
    usleep(s->start_us);
    stack_call(stack, s->t->key, s->method, s->path, s->body[0] ? s->body : NULL, &s->reply);
    return NULL;
}

static void begin_message(struct sent *s, const struct tenant *t, const char *body)
{
    s->t = t;
    s->method = "POST";
    snprintf(s->path, sizeof(s->path), "/projects/%s/message", t->project_id);
    snprintf(s->body, sizeof(s->body), "%s", body);
    ASSERT_INT(pthread_create(&s->thread, NULL, send_it, s), 0);
}

/* Open a transaction that has done sql, and hold it. */
static PGconn *hold(const char *sql)
{
    PGconn *c = PQconnectdb(pg_url());
    PQclear(PQexec(c, "BEGIN"));
    PGresult *r = PQexec(c, sql);
    ASSERT_INT(PQresultStatus(r), PGRES_COMMAND_OK);
    PQclear(r);
    return c;
}

static void let_go(PGconn *c, const char *how)
{
    PQclear(PQexec(c, how));
    PQfinish(c);
}

/* Wait until the admission of a run waits for a row that somebody holds. */
static void wait_for_admission(void)
{
    for (int i = 0; i < 1000; i++) {
        /* The server shows the first 1024 bytes of a statement: by its beginning it is told. */
        if (strcmp(pg_sql("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND "
                          "wait_event_type = 'Lock' AND query LIKE 'WITH place AS %'"),
                "1") == 0)
            return;
        usleep(10000);
    }
    CU_FAIL_FATAL("no admission waits");
}

/* Every place, found alive, is deleted before the run is admitted: the run is refused by the name of what happened. */
static void a_container_deleted_between_choice_and_admission_is_never_run_in(void)
{
    struct tenant t;
    make_tenant("between", &t);
    for (int p = 0; p < PLACES; p++) {
        char id[40], sql[160];
        struct named n = {.mode = ""};
        struct sent message = {0};
        choice_register(stack, &t, sources[p], red, "", id);
        n.at[p] = id;
        define(&t, &n);
        snprintf(sql, sizeof(sql), "UPDATE containers SET deleted_at = now() WHERE id = '%s'", id);
        PGconn *deleter = hold(sql);
        begin_message(&message, &t, body_of(&n, WHICH_IMAGE));
        wait_for_admission();
        let_go(deleter, "COMMIT");
        pthread_join(message.thread, NULL);
        ASSERT_INT(message.reply.status, 400);
        ASSERT_STR(reply_str(&message.reply, "error.code"),
            p == REQUEST ? "invalid_container_override" : "container_unresolved");
        ASSERT_STR(reply_str(&message.reply, "error.details.reason"), "deleted");
        ASSERT_STR(reply_str(&message.reply, "error.details.containerId"), id);
        reply_done(&message.reply);
    }
    ASSERT_INT(count(&t, "runs"), 0);
    ASSERT_INT(count(&t, "quota"), 0);
    ASSERT_STR(docker_volume(t.workspace_id), "");
}

/* What was bound is deleted and something else bound in its place, at one moment, before the run is admitted: it is in what is bound now, and
 * all its records say so. */
static void a_run_that_is_resolved_again_says_what_it_got(void)
{
    struct tenant t;
    char first[40], second[40], sql[400];
    struct sent message = {0};
    make_tenant("rebound", &t);
    choice_register(stack, &t, "first", red, "", first);
    choice_register(stack, &t, "second", blue, "", second);
    const struct named n = {{NULL, NULL, first}, ""};
    define(&t, &n);
    snprintf(sql, sizeof(sql),
        "UPDATE containers SET deleted_at = now() WHERE id = '%s'; UPDATE agent_containers SET container_id "
        "= '%s' "
        "WHERE user_id = '%s'",
        first, second, t.user_id);
    PGconn *swapper = hold(sql);
    begin_message(&message, &t, body_of(&n, WHICH_IMAGE));
    wait_for_admission();
    let_go(swapper, "COMMIT");
    pthread_join(message.thread, NULL);
    ASSERT_INT(message.reply.status, 200);
    choice_expect(stack, &t, reply_str(&message.reply, "runId"),
        &(struct choice){AGENT, "binding", second, "second", blue, "blue"});
    ASSERT_INT(count(&t, "runs"), 1);
    ASSERT_INT(count(&t, "quota"), 1);
    reply_done(&message.reply);
}

#define ROUNDS 12

/* The deletion starts a little later each round, so that it meets the message at another place of its way. */
static void a_run_that_races_a_deletion_is_in_the_container_or_is_not(void)
{
    struct tenant t;
    pthread_barrier_t line;
    int ran = 0;
    make_tenant("races", &t);
    define(&t, &(struct named){.mode = ""});
    pthread_barrier_init(&line, NULL, 2);
    for (int i = 0; i < ROUNDS; i++) {
        char id[40], name[16];
        struct sent message = {.line = &line},
                    deletion = {.line = &line, .t = &t, .method = "DELETE", .start_us = (useconds_t)i * 1000};
        snprintf(name, sizeof(name), "c%d", i);
        choice_register(stack, &t, name, i % 2 ? red : blue, "", id);
        snprintf(deletion.path, sizeof(deletion.path), "/containers/%s", id);
        ASSERT_INT(pthread_create(&deletion.thread, NULL, send_it, &deletion), 0);
        const struct named n = {{id}, ""};
        begin_message(&message, &t, body_of(&n, WHICH_IMAGE));
        pthread_join(deletion.thread, NULL);
        pthread_join(message.thread, NULL);
        ASSERT_INT(deletion.reply.status, 204);
        if (message.reply.status == 200)
            choice_expect(stack, &t, reply_str(&message.reply, "runId"),
                &(struct choice){AGENT, "override", id, name, i % 2 ? red : blue, i % 2 ? "red" : "blue"});
        else
            ASSERT_STR(reply_str(&message.reply, "error.details.reason"), "deleted");
        ran += message.reply.status == 200;
        reply_done(&message.reply);
        reply_done(&deletion.reply);
    }
    pthread_barrier_destroy(&line);
    ASSERT_INT(count(&t, "runs"), ran);
    ASSERT_INT(count(&t, "quota"), ran);
    fprintf(stderr, "%d of %d ran\n", ran, ROUNDS);
}

/* --- the terminal -------------------------------------------------------------------------------------------------------------- */

static int arpctl_run(const struct tenant *t, const char *const *args, char **ret_out)
{
    const char *argv[16] = {"env"};
    char key[128], url[128], project[80];
    size_t n = 1;
    snprintf(key, sizeof(key), "ARP_API_KEY=%s", t->key);
    snprintf(url, sizeof(url), "ARP_URL=%s", stack_url(stack));
    snprintf(project, sizeof(project), "ARP_PROJECT=%s", t->project_id);
    const char *const head[] = {key, url, project, program_path("arpctl"), "run"};
    for (size_t i = 0; i < sizeof(head) / sizeof(head[0]); i++)
        argv[n++] = head[i];
    for (; *args && n < 15; args++)
        argv[n++] = *args;
    argv[n] = NULL;
    return process_run(argv, NULL, ret_out);
}

static void arpctl_names_agents_and_containers(void)
{
    struct tenant t;
    char id[40], override[80], *out = NULL;
    make_tenant("terminal", &t);
    choice_register(stack, &t, "c", blue, "", id);
    define(&t, &(struct named){.mode = ",\"engine\":\"shell\""});
    snprintf(override, sizeof(override), AGENT "=%s", id);
    ASSERT_INT(
        arpctl_run(&t,
            (const char *const[]){"--agent", AGENT, "--override", override, "--prompt", "cat /marker", NULL},
            &out),
        0);
    ASSERT_CONTAINS(out, "blue");
    free(out);
    ASSERT_INT(arpctl_run(&t, (const char *const[]){"--override", override, "--", "true", NULL}, &out), 2);
    ASSERT_CONTAINS(out, "takes no part");
    free(out);
    ASSERT_INT(arpctl_run(&t, (const char *const[]){"--override", AGENT, "--", "true", NULL}, &out), 2);
    ASSERT_CONTAINS(out, "AGENT=CONTAINER");
    free(out);
    ASSERT_INT(arpctl_run(&t, (const char *const[]){"--agent", AGENT, NULL}, &out), 2);
    free(out);
}

TEST_SUITE_WITH(resolution_test, set_up, tear_down, TEST(the_first_that_names_a_container_decides),
    TEST(what_is_not_asked_may_be_dead), TEST(an_agents_engine_runs_the_prompt),
    TEST(an_agent_must_exist_and_be_able),
    TEST(a_container_deleted_between_choice_and_admission_is_never_run_in),
    TEST(a_run_that_is_resolved_again_says_what_it_got),
    TEST(a_run_that_races_a_deletion_is_in_the_container_or_is_not), TEST(arpctl_names_agents_and_containers),
    TEST(what_can_not_be_used_refuses_the_run_and_asks_nobody_else))
