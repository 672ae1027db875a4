#include "orchestrator/store/bindings.h"

#include <pthread.h>

#include "orchestrator/store/agents.h"
#include "orchestrator/store/containers.h"
#include "tests/unit/orchestrator/store/fixture.h"

static const struct agent_fields plain = {.code_interpreter = true};

static struct container container_of(const char *user_id, const char *name)
{
    struct container_fields f = {.name = name,
        .image_name = "img:1",
        .image_digest = "sha256:aa",
        .idle_expiry_seconds = 60,
        .sandbox_profile = "\"default\""};
    struct container c = {0};
    OK(containers_insert(db, user_id, &f, 1000, &c, &err));
    return c;
}

static void bound_read_bound_again_and_unbound(void)
{
    struct container first = container_of(user_a.id, "first");
    struct container second = container_of(user_a.id, "second");
    struct binding b;
    bool created;
    OK(agents_put(db, user_a.id, "bound", &plain, 1000, NULL, NULL, &err));
    ASSERT_INT(bindings_get(db, user_a.id, "bound", &b, &err), ARP_E_NOT_FOUND);
    OK(bindings_put(db, user_a.id, "bound", first.id, &b, &created, &err));
    ASSERT_STR(b.container_id, first.id);
    ASSERT_TRUE(created && b.created_us > 0);
    OK(bindings_put(db, user_a.id, "bound", second.id, &b, &created, &err));
    ASSERT_TRUE(!created);
    OK(bindings_get(db, user_a.id, "bound", &b, &err));
    ASSERT_STR(b.container_id, second.id);
    OK(bindings_delete(db, user_a.id, "bound", &err));
    ASSERT_INT(bindings_delete(db, user_a.id, "bound", &err), ARP_E_NOT_FOUND);
    ASSERT_INT(bindings_get(db, user_a.id, "bound", &b, &err), ARP_E_NOT_FOUND);
    container_done(&first);
    container_done(&second);
}

static void an_agent_must_exist_and_run_in_containers(void)
{
    struct container c = container_of(user_a.id, "for none");
    ASSERT_INT(bindings_put(db, user_a.id, "nobody", c.id, NULL, NULL, &err), ARP_E_NOT_FOUND);
    OK(agents_put(db, user_a.id, "talker", &(struct agent_fields){0}, 1000, NULL, NULL, &err));
    ASSERT_INT(bindings_put(db, user_a.id, "talker", c.id, NULL, NULL, &err), ARP_E_CONFLICT);
    ASSERT_CONTAINS(err.msg, "code_interpreter");
    container_done(&c);
}

static void only_the_tenants_living_containers_can_be_bound(void)
{
    struct container of_b = container_of(user_b.id, "b's");
    struct container own = container_of(user_a.id, "a's");
    struct binding b;
    char missing[sizeof(err.msg)];
    ASSERT_INT(bindings_put(db, user_a.id, AGENT_BUILT_IN, NO_ID, NULL, NULL, &err), ARP_E_FIELD);
    ASSERT_STR(err.detail, "\"field\":\"containerId\"");
    memcpy(missing, err.msg, sizeof(missing));
    ASSERT_INT(bindings_put(db, user_a.id, AGENT_BUILT_IN, of_b.id, NULL, NULL, &err), ARP_E_FIELD);
    ASSERT_STR(err.msg, missing);
    sqlf("UPDATE containers SET last_used_at = now() - interval '61 seconds' WHERE id = '%s'", own.id);
    ASSERT_INT(bindings_put(db, user_a.id, AGENT_BUILT_IN, own.id, NULL, NULL, &err), ARP_E_FIELD);
    ASSERT_CONTAINS(err.msg, "expired");
    OK(containers_delete(db, user_a.id, own.id, &err));
    ASSERT_INT(bindings_put(db, user_a.id, AGENT_BUILT_IN, own.id, NULL, NULL, &err), ARP_E_FIELD);
    ASSERT_CONTAINS(err.msg, "deleted");
    ASSERT_INT(bindings_get(db, user_a.id, AGENT_BUILT_IN, &b, &err), ARP_E_NOT_FOUND);
    /* The schema says the same, whatever the code does. */
    ASSERT_STR(
        sqlf("INSERT INTO agent_containers (user_id, agent_key, container_id) VALUES ('%s', 'default', '%s') "
             "RETURNING 1",
            user_a.id, of_b.id),
        "(failed)");
    container_done(&of_b);
    container_done(&own);
}

static void a_binding_outlives_its_container_but_not_its_agent(void)
{
    struct container c = container_of(user_a.id, "mortal");
    struct binding b;
    struct agent a;
    OK(agents_put(db, user_a.id, "mortal", &plain, 1000, NULL, NULL, &err));
    OK(agents_put(db, user_a.id, AGENT_BUILT_IN, &plain, 1000, NULL, NULL, &err));
    OK(bindings_put(db, user_a.id, "mortal", c.id, NULL, NULL, &err));
    OK(bindings_put(db, user_a.id, AGENT_BUILT_IN, c.id, NULL, NULL, &err));
    OK(containers_delete(db, user_a.id, c.id, &err));
    OK(agents_get(db, user_a.id, "mortal", &a, &err));
    ASSERT_STR(a.binding, c.id);
    agent_done(&a);
    OK(agents_delete(db, user_a.id, "mortal", &err));
    ASSERT_INT(bindings_get(db, user_a.id, "mortal", &b, &err), ARP_E_NOT_FOUND);
    OK(agents_put(
        db, user_a.id, "mortal", &plain, 1000, &a, NULL, &err)); /* the next of that key is not bound */
    ASSERT_STR(a.binding, "");
    agent_done(&a);
    OK(agents_delete(db, user_a.id, AGENT_BUILT_IN, &err));
    OK(bindings_get(db, user_a.id, AGENT_BUILT_IN, &b, &err)); /* that agent is there still */
    OK(bindings_delete(db, user_a.id, AGENT_BUILT_IN, &err));
    container_done(&c);
}

static void other_tenants_bindings_do_not_exist(void)
{
    struct container of_b = container_of(user_b.id, "bound by b");
    struct container own = container_of(user_a.id, "bound by a");
    struct binding b;
    OK(agents_put(db, user_b.id, "shared-name", &plain, 1000, NULL, NULL, &err));
    OK(bindings_put(db, user_b.id, "shared-name", of_b.id, NULL, NULL, &err));
    ASSERT_INT(bindings_get(db, user_a.id, "shared-name", &b, &err), ARP_E_NOT_FOUND);
    ASSERT_INT(bindings_delete(db, user_a.id, "shared-name", &err), ARP_E_NOT_FOUND);
    ASSERT_INT(bindings_put(db, user_a.id, "shared-name", own.id, NULL, NULL, &err), ARP_E_NOT_FOUND);
    OK(bindings_put(db, user_b.id, AGENT_BUILT_IN, of_b.id, NULL, NULL, &err));
    ASSERT_INT(bindings_get(db, user_a.id, AGENT_BUILT_IN, &b, &err), ARP_E_NOT_FOUND);
    ASSERT_INT(bindings_delete(db, user_a.id, AGENT_BUILT_IN, &err), ARP_E_NOT_FOUND);
    OK(bindings_get(db, user_b.id, "shared-name", &b, &err));
    ASSERT_STR(b.container_id, of_b.id);
    container_done(&of_b);
    container_done(&own);
}

#define ROUNDS 60

/* Errors that no order of making, binding and deleting explains. */
static void *make_and_delete(void *arg)
{
    struct arp_err mine;
    intptr_t bad = 0;
    (void)arg;
    for (int i = 0; i < ROUNDS; i++) {
        int rc = agents_put(db, user_a.id, "restless", &plain, 1000, NULL, NULL, &mine);
        bad += rc != 0 && rc != ARP_E_CONFLICT;
        rc = agents_delete(db, user_a.id, "restless", &mine);
        bad += rc != 0 && rc != ARP_E_NOT_FOUND;
    }
    return (void *)bad;
}

static void *bind_it(void *container_id)
{
    struct arp_err mine;
    intptr_t bad = 0;
    for (int i = 0; i < ROUNDS; i++) {
        int rc = bindings_put(db, user_a.id, "restless", container_id, NULL, NULL, &mine);
        bad += rc != 0 && rc != ARP_E_NOT_FOUND;
    }
    return (void *)bad;
}

static void no_binding_survives_its_agent_whatever_the_order(void)
{
    struct container c = container_of(user_a.id, "restless");
    pthread_t t[4];
    struct agents all;
    for (int i = 0; i < 4; i++)
        ASSERT_INT(pthread_create(&t[i], NULL, i < 2 ? make_and_delete : bind_it, c.id), 0);
    for (int i = 0; i < 4; i++) {
        void *bad;
        pthread_join(t[i], &bad);
        ASSERT_INT((intptr_t)bad, 0);
    }
    ASSERT_INT(agents_delete(db, user_a.id, "restless", &err), ARP_E_NOT_FOUND);
    ASSERT_STR(sqlf("SELECT count(*) FROM agent_containers WHERE agent_key = 'restless'"), "0");
    char count[24];
    OK(agents_list(db, user_a.id, &all, &err));
    snprintf(count, sizeof(count), "%zu", all.n - 1); /* but the built-in one */
    ASSERT_STR(sqlf("SELECT agent_count FROM users WHERE id = '%s'", user_a.id), count);
    agents_done(&all);
    container_done(&c);
}

FIXTURE_SUITE(bindings_test, TEST(bound_read_bound_again_and_unbound),
    TEST(an_agent_must_exist_and_run_in_containers), TEST(only_the_tenants_living_containers_can_be_bound),
    TEST(a_binding_outlives_its_container_but_not_its_agent), TEST(other_tenants_bindings_do_not_exist),
    TEST(no_binding_survives_its_agent_whatever_the_order))
