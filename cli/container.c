/*
 * Which container the run was in: the ToolContext event, metadata.json and the statement must tell the same container_context, and what it
 * says must be what the other records say of agent, container and image. See checks.h and docs/formats/events.md.
 */
#include <string.h>

#include "cli/checks.h"

/* All of them stand in every container_context, none is null. */
static const char *const members[] = {
    "agent_key", "source", "container_id", "name", "engine_container_id", "image_name", "image_digest"};
#define MEMBERS (sizeof(members) / sizeof(members[0]))

/* Everything that speaks of the container; NULL where it says nothing. */
struct told {
    const cJSON *event, *metadata, *statement; /* the container_context of each */
    const cJSON *document;                     /* metadata.json as a whole */
    const cJSON *snapshot;                     /* env_snapshot.json as a whole */
};

static void shape_check(const cJSON *context, const char *where, struct check *c)
{
    static const char *const sources[] = {"override", "spec", "binding", "auto"};
    const char *source = json_str_at(context, "source");
    bool known = false;
    for (size_t i = 0; i < sizeof(sources) / sizeof(sources[0]); i++)
        known = known || (source && strcmp(source, sources[i]) == 0);
    for (size_t i = 0; i < MEMBERS; i++) {
        const char *text = json_str_at(context, members[i]);
        if (!text || !*text)
            check_fail(c, "%s of container_context in %s is missing", members[i], where);
    }
    if (!known)
        check_fail(c, "source of container_context in %s is none of override, spec, binding, auto", where);
}

void same_context(const cJSON *a, const char *a_name, const cJSON *b, const char *b_name, struct check *c)
{
    for (size_t i = 0; i < MEMBERS; i++)
        if (!cJSON_Compare(json_at(a, members[i]), json_at(b, members[i]), true))
            check_fail(c, "%s of container_context differs between %s and %s", members[i], a_name, b_name);
    if (!cJSON_Compare(a, b, true))
        check_fail(c, "container_context has other members in %s than in %s", a_name, b_name);
}

/* A document that gives the value at path must give want. */
static void agree(const cJSON *doc, const char *doc_name, const char *path, const cJSON *context,
    const char *member, struct check *c)
{
    const cJSON *got = json_at(doc, path);
    if (got && !cJSON_IsNull(got) && !cJSON_Compare(got, json_at(context, member), true))
        check_fail(c, "%s of container_context is not the %s of %s", member, path, doc_name);
}

static void image_check(
    const struct verification *v, const struct told *t, const cJSON *context, struct check *c)
{
    agree(t->document, "metadata.json", "imageName", context, "image_name", c);
    agree(t->document, "metadata.json", "imageDigest", context, "image_digest", c);
    agree(t->snapshot, "env_snapshot.json", "imageName", context, "image_name", c);
    agree(t->snapshot, "env_snapshot.json", "imageDigest", context, "image_digest", c);
    const char *name = json_str_at(context, "image_name"), *digest = json_str_at(context, "image_digest");
    const cJSON *item;
    cJSON_ArrayForEach(item, json_at(v->statement, "predicate/buildDefinition/resolvedDependencies"))
    {
        const char *uri = json_str_at(item, "uri"), *hex = json_str_at(item, "digest/sha256");
        if (!uri || strncmp(uri, "docker://", 9) != 0)
            continue;
        if (!name || strcmp(uri + 9, name) != 0)
            check_fail(c, "image_name of container_context is not the image the statement depends on");
        if (!hex || !digest || strncmp(digest, "sha256:", 7) != 0 || strcmp(digest + 7, hex) != 0)
            check_fail(c, "image_digest of container_context is not the image the statement depends on");
    }
}

/* What was resolved before the run began: the run context decides, the container_context tells what came of it. */
static void choice_check(const struct told *t, const cJSON *context, struct check *c)
{
    static const char where[] = "metadata.json";
    const char *source = json_str_at(context, "source");
    agree(t->document, where, "runContext/container/agentKey", context, "agent_key", c);
    agree(t->document, where, "runContext/agentKey", context, "agent_key", c);
    agree(t->document, where, "runContext/agent/key", context, "agent_key", c);
    agree(t->document, where, "runContext/container/source", context, "source", c);
    agree(t->document, where, "runContext/container/imageName", context, "image_name", c);
    agree(t->document, where, "runContext/container/imageDigest", context, "image_digest", c);
    if (source && strcmp(source, "auto") == 0) {
        /* The server's own environment has no id of its own: the engine's stands for it. */
        const cJSON *own = json_at(t->document, "runContext/container/id");
        if (own && !cJSON_IsNull(own))
            check_fail(c, "source of container_context is auto, the run context names a container");
        agree(context, "itself", "engine_container_id", context, "container_id", c);
        agree(t->snapshot, "env_snapshot.json", "container/name", context, "name", c);
    } else {
        agree(t->document, where, "runContext/container/id", context, "container_id", c);
        agree(t->document, where, "runContext/container/name", context, "name", c);
    }
    agree(t->snapshot, "env_snapshot.json", "container/id", context, "engine_container_id", c);
}

bool between_digest(
    const struct packed_file *f, const char *begin, const char *end, char ret_hex[SHA256_HEX_LEN + 1])
{
    const char *from = memmem(f->data, f->size, begin, strlen(begin));
    from = from ? from + strlen(begin) : NULL;
    const char *to = from ? memmem(from, f->size - (size_t)(from - f->data), end, strlen(end)) : NULL;
    if (to)
        sha256_hex_of(from, (size_t)(to - from), ret_hex);
    return to != NULL;
}

/* env_snapshot.json gives the digest of the run context's bytes; metadata.json holds them as they are. */
static void run_context_check(const struct verification *v, const struct told *t, struct check *c)
{
    const char *want = json_str_at(t->snapshot, "runContextSha256");
    const char *end = t->metadata ? ",\"container_context\":{\"agent_key\":" : ",\"container_context\":null";
    char hex[SHA256_HEX_LEN + 1];
    if (!want)
        return;
    if (!between_digest(packed_find(&v->zip, "metadata.json"), "\"runContext\":", end, hex) ||
        strcmp(hex, want) != 0)
        check_fail(c, "runContext of metadata.json is not the one env_snapshot.json gives the digest of");
}

/* The accounts against one another. Returns the one to go on with, NULL when there is none. */
static const cJSON *accounts_check(const struct told *t, struct check *c)
{
    if (t->event && t->metadata)
        same_context(t->event, "ToolContext", t->metadata, "metadata.json", c);
    else if (t->event || t->metadata)
        check_fail(c, "container_context is missing in %s", t->event ? "metadata.json" : "events.jsonl");
    if (!t->statement)
        check_unable(c, "the statement says nothing of the container: it was sealed by an older version");
    else if (t->event && cJSON_IsObject(t->statement))
        same_context(t->event, "ToolContext", t->statement, "the statement", c);
    else if (t->event || cJSON_IsObject(t->statement))
        check_fail(c, "container_context is missing in %s", t->event ? "the statement" : "events.jsonl");
    return t->event;
}

static void contexts_check(const struct verification *v, const struct told *t, struct check *c)
{
    const cJSON *context = accounts_check(t, c);
    const cJSON *agent = json_at(v->statement, "predicate/buildDefinition/externalParameters/agent");
    if (agent && !cJSON_IsNull(agent) && context &&
        !cJSON_Compare(agent, json_at(context, "agent_key"), true))
        check_fail(c, "agent_key of container_context is not the agent of the statement");
    if (context) {
        shape_check(context, "ToolContext", c);
        image_check(v, t, context, c);
        choice_check(t, context, c);
    }
    run_context_check(v, t, c);
    if (!context) {
        check_pass(c, "the run never had a container");
        return;
    }
    check_pass(c,
        "agent %s ran in container %s (%s), image %s: the same in ToolContext, metadata.json, "
        "env_snapshot.json and the statement",
        json_str_at(context, "agent_key"), json_str_at(context, "container_id"),
        json_str_at(context, "source"), json_str_at(context, "image_name"));
}

void step_container_context(struct verification *v, struct check *c)
{
    if (!v->events.ok || !v->statement) {
        check_unable(c, "the chain of events.jsonl is not sound, or there is no readable statement");
        return;
    }
    const struct text_line *line = &v->tool_context;
    const struct packed_file *meta = packed_find(&v->zip, "metadata.json");
    const struct packed_file *env = packed_find(&v->zip, "env_snapshot.json");
    cleanup_cjson cJSON *event = line->text ? line_parse(line) : NULL;
    cleanup_cjson cJSON *metadata = NULL;
    cleanup_cjson cJSON *snapshot = NULL;
    if (json_parse_line(meta->data, meta->size, &metadata, NULL) ||
        json_parse_line(env->data, env->size, &snapshot, NULL)) {
        check_fail(c, "metadata.json or env_snapshot.json is not JSON");
        return;
    }
    if (line->text && (!json_at(event, "container_context") || memmem(line->text, line->len, "\\u0000", 6)))
        check_fail(c, "ToolContext has no container_context, or one that holds U+0000");
    struct told t = {
        .event = json_at(event, "container_context"),
        .metadata = json_at(metadata, "container_context"),
        .statement = json_at(v->statement, "predicate/buildDefinition/internalParameters/container_context"),
        .document = metadata,
        .snapshot = snapshot,
    };
    if (cJSON_IsNull(t.metadata))
        t.metadata = NULL;
    contexts_check(v, &t, c);
}
