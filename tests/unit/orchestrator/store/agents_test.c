#include "orchestrator/store/agents.h"

#include <pthread.h>
#include <stdlib.h>

#include "orchestrator/store/bindings.h"
#include "orchestrator/store/containers.h"
#include "tests/unit/orchestrator/store/fixture.h"

static const struct agent_fields plain = {.code_interpreter = true};

static struct container container_of(const char *user_id, const char *name)
{
    struct container_fields f = {
        .name = name, .image_name = "img:1", .image_digest = "sha256:aa", .sandbox_profile = "\"default\""};
    struct container c = {0};
    OK(containers_insert(db, user_id, &f, 1000, &c, &err));
    return c;
}

static int count_of(const struct user *u)
{
    return (int)strtol(sqlf("SELECT agent_count FROM users WHERE id = '%s'", u->id), NULL, 10);
}

/* Put a spec without a limit; says whether it was made. */
static bool put(const char *user_id, const char *key, const struct agent_fields *f)
{
    bool created = false;
    OK(agents_put(db, user_id, key, f, 1000, NULL, &created, &err));
    return created;
}

static void every_tenant_has_the_built_in_agent(void)
{
    struct agent a;
    OK(agents_get(db, user_a.id, AGENT_BUILT_IN, &a, &err));
    ASSERT_STR(a.key, "default");
    ASSERT_TRUE(a.built_in && a.code_interpreter && !a.fallback_to_auto);
    ASSERT_INT(a.mode, AGENT_AUTO);
    ASSERT_STR(a.container_id, "");
    ASSERT_STR(a.binding, "");
    ASSERT_TRUE(!a.engine && !a.model && !a.instructions && !a.provider);
    ASSERT_INT(a.created_us, 0);
    ASSERT_INT(a.updated_us, 0);
    agent_done(&a);
    ASSERT_INT(agents_delete(db, user_a.id, AGENT_BUILT_IN, &err), ARP_E_NOT_FOUND);
}

static void what_was_put_is_read_back_and_replaced_whole(void)
{
    struct container c = container_of(user_a.id, "for whole");
    struct agent made, read;
    struct agent_fields f = {true, c.id, AGENT_EXPLICIT, true, "shell", "m-1", "be brief\n", "main"};
    bool created = false;
    OK(agents_put(db, user_a.id, "whole", &f, 1000, &made, &created, &err));
    ASSERT_TRUE(created);
    OK(agents_get(db, user_a.id, "whole", &read, &err));
    ASSERT_STR(read.key, "whole");
    ASSERT_TRUE(!read.built_in && read.code_interpreter && read.fallback_to_auto);
    ASSERT_STR(read.container_id, c.id);
    ASSERT_INT(read.mode, AGENT_EXPLICIT);
    ASSERT_STR(read.engine, "shell");
    ASSERT_STR(read.model, "m-1");
    ASSERT_STR(read.instructions, "be brief\n");
    ASSERT_STR(read.provider, "main");
    ASSERT_TRUE(read.created_us > 0 && read.created_us == made.created_us);
    agent_done(&read);
    OK(agents_put(db, user_a.id, "whole", &(struct agent_fields){0}, 1000, &read, &created, &err));
    ASSERT_TRUE(!created);
    ASSERT_TRUE(!read.built_in && !read.code_interpreter && !read.fallback_to_auto);
    ASSERT_STR(read.container_id, "");
    ASSERT_INT(read.mode, AGENT_AUTO);
    ASSERT_TRUE(!read.engine && !read.model && !read.instructions && !read.provider);
    ASSERT_INT(read.created_us, made.created_us);
    ASSERT_TRUE(read.updated_us > made.updated_us);
    agent_done(&read);
    agent_done(&made);
    container_done(&c);
}

static void a_spec_takes_the_built_in_agents_place_until_deleted(void)
{
    struct agent a;
    ASSERT_TRUE(put(user_b.id, AGENT_BUILT_IN, &(struct agent_fields){.mode = AGENT_EXPLICIT}));
    OK(agents_get(db, user_b.id, AGENT_BUILT_IN, &a, &err));
    ASSERT_TRUE(!a.built_in && !a.code_interpreter);
    ASSERT_INT(a.mode, AGENT_EXPLICIT);
    agent_done(&a);
    OK(agents_get(db, user_a.id, AGENT_BUILT_IN, &a, &err)); /* nobody else's */
    ASSERT_TRUE(a.built_in);
    agent_done(&a);
    OK(agents_delete(db, user_b.id, AGENT_BUILT_IN, &err));
    OK(agents_get(db, user_b.id, AGENT_BUILT_IN, &a, &err));
    ASSERT_TRUE(a.built_in && a.code_interpreter);
    agent_done(&a);
}

static void the_list_has_each_agent_once_in_order(void)
{
    struct user u;
    struct agents all;
    OK(users_insert(db, "lister", -1, &u, &err));
    OK(agents_list(db, u.id, &all, &err));
    ASSERT_INT(all.n, 1);
    ASSERT_TRUE(all.v[0].built_in);
    agents_done(&all);
    static const char *const keys[] = {"zeta", "Alpha", "beta", "0"};
    for (size_t i = 0; i < 4; i++)
        ASSERT_TRUE(put(u.id, keys[i], &plain));
    struct container c = container_of(u.id, "bound");
    OK(bindings_put(db, u.id, "beta", c.id, NULL, NULL, &err));
    OK(agents_list(db, u.id, &all, &err));
    static const char *const sorted[] = {"0", "Alpha", "beta", "default", "zeta"};
    ASSERT_INT(all.n, 5);
    for (size_t i = 0; i < all.n && i < 5; i++) {
        ASSERT_STR(all.v[i].key, sorted[i]);
        ASSERT_INT(all.v[i].built_in, i == 3);
        ASSERT_STR(all.v[i].binding, i == 2 ? c.id : "");
    }
    agents_done(&all);
    ASSERT_TRUE(put(u.id, AGENT_BUILT_IN, &plain));
    OK(agents_list(db, u.id, &all, &err));
    ASSERT_INT(all.n, 5);
    ASSERT_TRUE(!all.v[3].built_in);
    agents_done(&all);
    container_done(&c);
    user_done(&u);
}

static void other_tenants_agents_do_not_exist(void)
{
    struct agent a;
    ASSERT_TRUE(put(user_b.id, "of-b", &plain));
    int before = count_of(&user_b);
    ASSERT_INT(agents_get(db, user_a.id, "of-b", &a, &err), ARP_E_NOT_FOUND);
    ASSERT_INT(agents_delete(db, user_a.id, "of-b", &err), ARP_E_NOT_FOUND);
    ASSERT_INT(agents_get(db, user_a.id, "' OR true --", &a, &err), ARP_E_NOT_FOUND);
    ASSERT_INT(agents_get(db, "x", AGENT_BUILT_IN, &a, &err), ARP_E_NOT_FOUND);
    ASSERT_TRUE(put(user_a.id, "of-b", &(struct agent_fields){0})); /* a's own; b's stays */
    OK(agents_get(db, user_b.id, "of-b", &a, &err));
    ASSERT_TRUE(a.code_interpreter);
    agent_done(&a);
    OK(agents_delete(db, user_a.id, "of-b", &err));
    OK(agents_delete(db, user_b.id, "of-b", &err));
    ASSERT_INT(agents_delete(db, user_b.id, "of-b", &err), ARP_E_NOT_FOUND);
    ASSERT_INT(agents_get(db, user_b.id, "of-b", &a, &err), ARP_E_NOT_FOUND);
    ASSERT_INT(count_of(&user_b), before - 1);
}

static void a_spec_names_only_the_tenants_living_containers(void)
{
    struct container of_b = container_of(user_b.id, "not a's");
    struct container own = container_of(user_a.id, "own");
    char missing[sizeof(err.msg)];
    struct agent a;
    struct agent_fields f = {.code_interpreter = true, .container_id = NO_ID};
    ASSERT_INT(agents_put(db, user_a.id, "picky", &f, 1000, NULL, NULL, &err), ARP_E_FIELD);
    ASSERT_STR(err.detail, "\"field\":\"containerId\"");
    memcpy(missing, err.msg, sizeof(missing));
    f.container_id = of_b.id;
    ASSERT_INT(agents_put(db, user_a.id, "picky", &f, 1000, NULL, NULL, &err), ARP_E_FIELD);
    ASSERT_STR(err.msg, missing);
    f.container_id = "not a UUID";
    ASSERT_INT(agents_put(db, user_a.id, "picky", &f, 1000, NULL, NULL, &err), ARP_E_FIELD);
    ASSERT_STR(err.msg, missing);
    ASSERT_INT(agents_get(db, user_a.id, "picky", &a, &err), ARP_E_NOT_FOUND);
    f.container_id = own.id;
    ASSERT_TRUE(put(user_a.id, "picky", &f));
    /* The spec stays when its container goes: who resolves a run says so. */
    OK(containers_delete(db, user_a.id, own.id, &err));
    OK(agents_get(db, user_a.id, "picky", &a, &err));
    ASSERT_STR(a.container_id, own.id);
    agent_done(&a);
    ASSERT_INT(agents_put(db, user_a.id, "picky", &f, 1000, NULL, NULL, &err), ARP_E_FIELD);
    /* The schema says the same, whatever the code does. */
    ASSERT_STR(
        sqlf("UPDATE agents SET container_id = '%s' WHERE user_id = '%s' AND key = 'picky' RETURNING 1",
            of_b.id, user_a.id),
        "(failed)");
    container_done(&of_b);
    container_done(&own);
}

#define LIMIT   5
#define THREADS 12

static struct user crowd;

static void *put_one(void *arg)
{
    char key[16];
    struct arp_err mine;
    snprintf(key, sizeof(key), "k%d", (int)(intptr_t)arg);
    return (void *)(intptr_t)agents_put(db, crowd.id, key, &plain, LIMIT, NULL, NULL, &mine);
}

static void *put_the_same(void *arg)
{
    struct arp_err mine;
    bool created = false;
    (void)arg;
    int rc = agents_put(db, crowd.id, "same", &plain, LIMIT, NULL, &created, &mine);
    return (void *)(intptr_t)(rc < 0 ? rc : created);
}

/* How many of the threads' results equal want. */
static int crowd_of(void *(*fn)(void *), int want, int *ret_failed)
{
    pthread_t t[THREADS];
    int n = 0;
    *ret_failed = 0;
    for (intptr_t i = 0; i < THREADS; i++)
        ASSERT_INT(pthread_create(&t[i], NULL, fn, (void *)i), 0);
    for (int i = 0; i < THREADS; i++) {
        void *rc;
        pthread_join(t[i], &rc);
        n += (intptr_t)rc == want;
        *ret_failed += (intptr_t)rc < 0;
    }
    return n;
}

static void many_at_once_get_exactly_the_limit(void)
{
    int failed;
    OK(users_insert(db, "agent crowd", -1, &crowd, &err));
    ASSERT_INT(crowd_of(put_one, 0, &failed), LIMIT);
    ASSERT_INT(failed, THREADS - LIMIT);
    ASSERT_INT(agents_put(db, crowd.id, "one-more", &plain, LIMIT, NULL, NULL, &err), ARP_E_CONFLICT);
    ASSERT_STR(err.detail, "\"agentsPerUser\":5");
    struct agents all;
    OK(agents_list(db, crowd.id, &all, &err));
    ASSERT_INT(all.n, LIMIT + 1);
    const char *one = all.v[0].built_in ? all.v[1].key : all.v[0].key;
    ASSERT_TRUE(!put(crowd.id, one, &plain)); /* replacing takes no place */
    OK(agents_delete(db, crowd.id, one, &err));
    /* One key, wanted by all at once, is made once, and nobody is refused for it. */
    ASSERT_INT(crowd_of(put_the_same, 1, &failed), 1);
    ASSERT_INT(failed, 0);
    ASSERT_INT(count_of(&crowd), LIMIT);
    agents_done(&all);
    user_done(&crowd);
}

FIXTURE_SUITE(agents_test, TEST(every_tenant_has_the_built_in_agent),
    TEST(what_was_put_is_read_back_and_replaced_whole),
    TEST(a_spec_takes_the_built_in_agents_place_until_deleted), TEST(the_list_has_each_agent_once_in_order),
    TEST(other_tenants_agents_do_not_exist), TEST(a_spec_names_only_the_tenants_living_containers),
    TEST(many_at_once_get_exactly_the_limit))
