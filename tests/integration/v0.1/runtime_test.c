/*
 * workspace.c against the real container engine and the real workspace image (real_engine.h).
 */
#include <stdlib.h>
#include <string.h>

#include "orchestrator/runtime/workspace.h"
#include "shared/limits.h"
#include "tests/support/real_engine.h"
#include "tests/support/suite.h"

static struct real_engine real;
static struct arp_err err;

static int set_up(void)
{
    return real_engine_open(&real);
}

static int tear_down(void)
{
    real_engine_close(&real);
    return 0;
}

static void workspace_goes_warm_cool_warm_and_away(void)
{
    struct runtime_workspace first;
    struct runtime_workspace again;
    struct runtime_item *items = NULL;
    size_t n = 0;
    ASSERT_INT(runtime_ensure(real.rt, real.workspace, runtime_own(real.rt), &first, &err), 0);
    ASSERT_TRUE(first.created && !first.state.busy);
    ASSERT_INT(runtime_ensure(real.rt, real.workspace, runtime_own(real.rt), &again, &err), 0);
    ASSERT_TRUE(!again.created);
    ASSERT_STR(again.container_id, first.container_id);

    ASSERT_INT(runtime_list(real.rt, &items, &n, &err), 0);
    ASSERT_INT(n, 1);
    ASSERT_STR(items[0].workspace_id, real.workspace);
    ASSERT_TRUE(items[0].running && items[0].has_volume);
    free(items);

    ASSERT_INT(runtime_cool(real.rt, real.workspace, &err), 0);
    ASSERT_INT(runtime_cool(real.rt, real.workspace, &err), 0);
    ASSERT_INT(runtime_list(real.rt, &items, &n, &err), 0);
    ASSERT_INT(n, 1);
    ASSERT_TRUE(!items[0].running && items[0].container_id[0] == '\0' && items[0].has_volume);
    free(items);

    ASSERT_INT(runtime_ensure(real.rt, real.workspace, runtime_own(real.rt), &again, &err), 0);
    ASSERT_TRUE(again.created && strcmp(again.container_id, first.container_id) != 0);
    ASSERT_INT(runtime_destroy(real.rt, real.workspace, &err), 0);
    ASSERT_INT(runtime_list(real.rt, &items, &n, &err), 0);
    ASSERT_INT(n, 0);
    free(items);
}

static void agent_refuses_a_wrong_token(void)
{
    struct runtime_workspace ws;
    struct agent_state state;
    cleanup_buf struct buf metadata;
    buf_init(&metadata, LIMIT_METADATA);
    ASSERT_INT(runtime_ensure(real.rt, real.workspace, runtime_own(real.rt), &ws, &err), 0);
    ASSERT_INT(agent_metadata(&ws.agent, &metadata, &err), 0);
    ASSERT_CONTAINS(buf_str(&metadata), "\"os\"");
    ws.agent.token[0] ^= 1;
    ASSERT_INT(agent_health(&ws.agent, 10000, &state, &err), ARP_E_AGENT);
}

TEST_SUITE_WITH(runtime_test, set_up, tear_down, TEST(workspace_goes_warm_cool_warm_and_away),
    TEST(agent_refuses_a_wrong_token))
