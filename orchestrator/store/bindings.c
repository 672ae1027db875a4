/*
 * Bindings: see bindings.h.
 */
#include "orchestrator/store/bindings.h"

#include "orchestrator/store/agents.h"
#include "orchestrator/store/containers.h"
#include "orchestrator/store/db.intern.h"
#include "orchestrator/store/rows.h"

static void map(const PGresult *r, struct binding *b)
{
    row_uuid(r, 0, 0, b->container_id);
    b->created_us = row_time(r, 0, 1);
}

static int check_agent(struct db *db, const char *user_id, const char *agent_key, struct arp_err *err)
{
    struct agent agent = {0};
    int rc = agents_get(db, user_id, agent_key, &agent, err);
    if (rc == 0 && !agent.code_interpreter)
        rc = arp_fail(
            err, ARP_E_CONFLICT, 0, "the agent has no code_interpreter: nothing of it runs in a container");
    agent_done(&agent);
    return rc;
}

int bindings_put(struct db *db, const char *user_id, const char *agent_key, const char *container_id,
    struct binding *ret, bool *ret_created, struct arp_err *err)
{
    /* xmax is the transaction that replaced a version of the row: none of a row that was inserted. */
    static const struct sql PUT = {"bindings_put",
        "INSERT INTO agent_containers (user_id, agent_key, container_id) VALUES ($1, $2, $3)"
        " ON CONFLICT (user_id, agent_key) DO UPDATE SET container_id = excluded.container_id, created_at = "
        "now() RETURNING container_id, created_at, xmax = 0",
        false};
    struct sql_args a = {0};
    args_text(&a, user_id);
    args_text(&a, agent_key);
    args_text(&a, container_id);
    cleanup_pgresult PGresult *res = NULL;
    /* What the checks found may change before the row is written: a missing agent the schema refuses, the rest who resolves a run. */
    int rc = check_agent(db, user_id, agent_key, err);
    if (rc == 0)
        rc = containers_check_usable(db, user_id, container_id, err);
    if (rc == 0)
        rc = db_one(db, &PUT, &a, "agent", &res, err);
    if (rc == ARP_E_NOT_FOUND)
        return arp_fail(err, rc, 0, "agent not found");
    if (rc < 0)
        return rc;
    if (ret)
        map(res, ret);
    if (ret_created)
        *ret_created = row_bool(res, 0, 2);
    return 0;
}

int bindings_get(
    struct db *db, const char *user_id, const char *agent_key, struct binding *ret, struct arp_err *err)
{
    static const struct sql GET = {"bindings_get",
        "SELECT container_id, created_at FROM agent_containers WHERE user_id = $1 AND agent_key = $2", true};
    struct sql_args a = {0};
    args_text(&a, user_id);
    args_text(&a, agent_key);
    cleanup_pgresult PGresult *res = NULL;
    int rc = id_check(user_id, "user", err);
    if (rc == 0)
        rc = db_one(db, &GET, &a, "binding", &res, err);
    if (rc == 0)
        map(res, ret);
    return rc;
}

int bindings_delete(struct db *db, const char *user_id, const char *agent_key, struct arp_err *err)
{
    static const struct sql DELETE = {
        "bindings_delete", "DELETE FROM agent_containers WHERE user_id = $1 AND agent_key = $2", false};
    struct sql_args a = {0};
    args_text(&a, user_id);
    args_text(&a, agent_key);
    int rc = id_check(user_id, "user", err);
    return rc < 0 ? rc : db_change(db, &DELETE, &a, "binding", err);
}
