/*
 * Projects: see projects.h.
 */
#include "orchestrator/store/projects.h"

#include <stdlib.h>

#include "orchestrator/store/db.intern.h"
#include "orchestrator/store/page.h"
#include "orchestrator/store/rows.h"

/* p: projects, w: its workspace */
#define COLUMNS "p.id, p.user_id, w.id, p.name, p.repo_url, p.created_at"
#define TABLES  "projects p JOIN workspaces w ON w.project_id = p.id AND w.user_id = p.user_id"

static bool map(const PGresult *r, int row, void *element)
{
    struct project *p = element;
    row_uuid(r, row, 0, p->id);
    row_uuid(r, row, 1, p->user_id);
    row_uuid(r, row, 2, p->workspace_id);
    p->created_us = row_time(r, row, 5);
    return row_text(r, row, 3, &p->name) && row_text(r, row, 4, &p->repo_url);
}

static void done(void *element)
{
    struct project *p = element;
    free(p->name);
    free(p->repo_url);
}

void project_done(struct project *p)
{
    done(p);
    *p = (struct project){0};
}

void projects_done(struct projects *ps)
{
    rows_free(ps->v, ps->n, sizeof(*ps->v), done);
    *ps = (struct projects){0};
}

int projects_insert(struct db *db, const char *user_id, const char *name, const char *repo_url,
    struct project *ret, struct arp_err *err)
{
    static const struct sql INSERT = {"projects_insert",
        "WITH p AS (INSERT INTO projects (user_id, name, repo_url) VALUES ($1, $2, $3) RETURNING *),"
        " w AS (INSERT INTO workspaces (user_id, project_id) SELECT user_id, id FROM p RETURNING id)"
        " SELECT " COLUMNS " FROM p, w",
        false};
    struct sql_args a = {0};
    args_text(&a, user_id);
    args_text(&a, name);
    args_text(&a, repo_url);
    cleanup_pgresult PGresult *res = NULL;
    int rc = id_check(user_id, "user", err);
    if (rc == 0)
        rc = db_one(db, &INSERT, &a, "project", &res, err);
    if (rc == ARP_E_CONFLICT)
        return arp_fail(err, rc, 0, "the user has a project of that name");
    if (rc == 0 && ret)
        rc = row_to(res, sizeof(*ret), map, done, ret, err);
    return rc;
}

int projects_get(struct db *db, const char *user_id, const char *id, struct project *ret, struct arp_err *err)
{
    static const struct sql GET = {"projects_get",
        "SELECT " COLUMNS " FROM " TABLES " WHERE p.user_id = $1 AND p.id = $2 AND p.deleted_at IS NULL",
        true};
    struct sql_args a = {0};
    args_text(&a, user_id);
    args_text(&a, id);
    cleanup_pgresult PGresult *res = NULL;
    int rc = id_check(id, "project", err);
    if (rc == 0)
        rc = db_one(db, &GET, &a, "project", &res, err);
    return rc < 0 ? rc : row_to(res, sizeof(*ret), map, done, ret, err);
}

int projects_list(struct db *db, const char *user_id, unsigned limit, const char *cursor,
    struct projects *ret, struct arp_err *err)
{
    static const struct sql LIST = {"projects_list",
        "SELECT " COLUMNS " FROM " TABLES " WHERE p.user_id = $1 AND p.deleted_at IS NULL"
        " AND (p.created_at, p.id) < (" SQL_TIME(
            "$2") ", $3::uuid) ORDER BY p.created_at DESC, p.id DESC LIMIT $4",
        true};
    return page_of_user(
        db, &LIST, user_id, limit, cursor, sizeof(*ret->v), map, done, (void **)&ret->v, &ret->n, err);
}

int projects_delete(struct db *db, const char *user_id, const char *id, struct arp_err *err)
{
    static const struct sql DELETE = {"projects_delete",
        "WITH p AS (SELECT id, EXISTS (SELECT 1 FROM runs WHERE project_id = projects.id AND status IN "
        "('queued', 'running')) AS busy"
        " FROM projects WHERE user_id = $1 AND id = $2 AND deleted_at IS NULL FOR UPDATE),"
        " d AS (UPDATE projects SET deleted_at = now() FROM p WHERE projects.id = p.id AND NOT p.busy)"
        " SELECT busy FROM p",
        false};
    struct sql_args a = {0};
    args_text(&a, user_id);
    args_text(&a, id);
    cleanup_pgresult PGresult *res = NULL;
    int rc = id_check(id, "project", err);
    if (rc == 0)
        rc = db_one(db, &DELETE, &a, "project", &res, err);
    if (rc == 0 && row_bool(res, 0, 0))
        return arp_fail(err, ARP_E_BUSY, 0, "the project has a run in progress");
    return rc;
}
