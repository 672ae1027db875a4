/*
 * Which container a run was in: see choice.h.
 */
#include "tests/support/choice.h"

#include <stdio.h>
#include <string.h>

#include "tests/support/docker.h"
#include "tests/support/engine.h"
#include "tests/support/pg.h"
#include "tests/support/record.h"
#include "tests/support/suite.h"

void choice_register(const struct stack *s, const struct tenant *t, const char *name, const char *image,
    const char *members, char ret_id[40])
{
    struct reply r = {0};
    char body[512];
    snprintf(body, sizeof(body), "{\"name\":\"%s\",\"image\":\"%s\"%s}", name, image, members);
    ASSERT_INT(stack_call(s, t->key, "POST", "/containers", body, &r), 201);
    snprintf(ret_id, 40, "%s", reply_str(&r, "id"));
    reply_done(&r);
}

void choice_delete(const struct stack *s, const struct tenant *t, const char *container_id)
{
    struct reply r = {0};
    char path[80];
    snprintf(path, sizeof(path), "/containers/%s", container_id);
    ASSERT_INT(stack_call(s, t->key, "DELETE", path, NULL, &r), 204);
    reply_done(&r);
}

const char *choice_run_column(const char *run_id, const char *expression)
{
    char sql[256];
    snprintf(sql, sizeof(sql), "SELECT %s FROM runs WHERE id = '%s'", expression, run_id);
    return pg_sql(sql);
}

/* Digest of an image as ARP names it: the registry's when it has one, else the engine's id. */
static void digest_of(const char *image, char ret[80])
{
    const char *out = DOCKER("image", "inspect", "--format",
        "{{if .RepoDigests}}{{index .RepoDigests 0}}{{else}}@{{.Id}}{{end}}", image);
    ASSERT_TRUE(out && strchr(out, '@'));
    snprintf(ret, 80, "%s", strchr(out, '@') + 1);
}

/* The object of ToolContext, against the engine. */
static void expect_context(
    const struct stack *s, const struct tenant *t, const cJSON *said, const struct choice *c)
{
    char digest[80], engine_id[80];
    digest_of(c->image, digest);
    snprintf(engine_id, sizeof(engine_id), "%s", docker_container(t->workspace_id));
    ASSERT_STR(str_at(said, "agent_key"), c->agent);
    ASSERT_STR(str_at(said, "source"), c->source);
    ASSERT_STR(str_at(said, "container_id"), c->container ? c->container : engine_id);
    ASSERT_STR(str_at(said, "name"), c->name ? c->name : engine_container(s, t->workspace_id));
    ASSERT_STR(str_at(said, "engine_container_id"), engine_id);
    ASSERT_STR(str_at(said, "image_name"), c->image);
    ASSERT_STR(str_at(said, "image_digest"), digest);
    ASSERT_INT(cJSON_GetArraySize(said), 7);
}

/* The row and the answer that shows it. */
static void expect_row(const struct stack *s, const struct tenant *t, const char *run_id, const cJSON *said,
    const struct choice *c)
{
    struct reply r = {0};
    char path[80];
    cJSON *row = cJSON_Parse(choice_run_column(run_id, "container_context"));
    ASSERT_TRUE(cJSON_Compare(said, row, true));
    cJSON_Delete(row);
    ASSERT_STR(choice_run_column(run_id, "container_id"), c->container ? c->container : "");
    ASSERT_STR(choice_run_column(run_id, "agent_key"), c->agent);
    ASSERT_STR(choice_run_column(run_id, "image_digest"), str_at(said, "image_digest"));
    snprintf(path, sizeof(path), "/runs/%s", run_id);
    ASSERT_INT(stack_call(s, t->key, "GET", path, NULL, &r), 200);
    ASSERT_TRUE(cJSON_Compare(said, reply_at(&r, "container_context"), true));
    ASSERT_STR(reply_str(&r, "agentKey"), c->agent);
    ASSERT_STR(reply_str(&r, "runContext.container.source"), c->source);
    reply_done(&r);
}

void choice_expect(const struct stack *s, const struct tenant *t, const char *run_id, const struct choice *c)
{
    struct record rec;
    ASSERT_TRUE(record_open(s, t, run_id, &rec));
    ASSERT_STR(str_at(rec.events.obj[0], "type"), "RunStarted");
    ASSERT_STR(str_at(rec.events.obj[1], "type"), "ToolContext");
    ASSERT_TRUE(jsonl_find(&rec.events, "ToolContext", 1) == NULL);
    const cJSON *said = json_at(rec.events.obj[1], "container_context");
    expect_context(s, t, said, c);
    expect_row(s, t, run_id, said, c);
    ASSERT_TRUE(cJSON_Compare(said, json_at(rec.metadata, "container_context"), true));
    ASSERT_STR(str_at(rec.metadata, "imageDigest"), str_at(said, "image_digest"));
    ASSERT_STR(str_at(rec.metadata, "runContext.agent.key"), c->agent);
    ASSERT_STR(str_at(rec.metadata, "runContext.container.source"), c->source);
    ASSERT_CONTAINS(str_at(rec.commands.obj[0], "stdout"), c->prints);
    ASSERT_INT(arpctl_verify(rec.zip, keyring_file(s), NULL), 0);
    record_done(&rec);
}
