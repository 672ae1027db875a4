/*
 * What the signed statement says, compared with what is in the bundle: see checks.h and docs/formats/statement.md.
 */
#include <stdlib.h>
#include <string.h>

#include "cli/checks.h"
#include "shared/model.h"

const cJSON *json_at(const cJSON *obj, const char *path)
{
    while (obj && *path) {
        char name[64];
        size_t len = strcspn(path, "/");
        if (len >= sizeof(name))
            return NULL;
        memcpy(name, path, len);
        name[len] = '\0';
        obj = cJSON_GetObjectItemCaseSensitive(obj, name);
        path += len + (path[len] == '/');
    }
    return obj;
}

const char *json_str_at(const cJSON *obj, const char *path)
{
    return cJSON_GetStringValue(json_at(obj, path));
}

static bool text_is(const char *got, const char *want)
{
    return got && strcmp(got, want) == 0;
}

/* One {"name", "digest":{"sha256"}} must be the digest of the file of that name. */
static void named_digest(
    const struct verification *v, const cJSON *item, const char *name, const char *where, struct check *c)
{
    const struct packed_file *f = packed_find(&v->zip, name);
    const char *digest = json_str_at(item, "digest/sha256");
    if (!f)
        check_fail(c, "%s of the statement names %.80s, which is not in the bundle", where, name);
    else if (!text_is(digest, f->sha256))
        check_fail(c, "%s of the statement gives %.80s another digest than the file has", where, name);
}

void statement_byproducts(const struct verification *v, const char *const *names, size_t n, struct check *c)
{
    const cJSON *list = json_at(v->statement, "predicate/runDetails/byproducts");
    for (size_t i = 0; i < n; i++) {
        const cJSON *item, *found = NULL;
        cJSON_ArrayForEach(item, list)
        {
            if (text_is(json_str_at(item, "name"), names[i]))
                found = item;
        }
        if (found)
            named_digest(v, found, names[i], "byproduct", c);
        else
            check_fail(c, "the statement has no byproduct %s", names[i]);
    }
}

bool statement_subject_is_file(const struct verification *v, const cJSON *item, struct check *c)
{
    const char *name = json_str_at(item, "name");
    size_t prefix = strlen(v->zip.run_id);
    if (!name || strncmp(name, v->zip.run_id, prefix) != 0 || name[prefix] != '/')
        return false;
    named_digest(v, item, name + prefix + 1, "subject", c);
    return true;
}

void statement_kind(const struct verification *v, const char *build_type, const char *what, struct check *c)
{
    if (!text_is(json_str_at(v->statement, "_type"), "https://in-toto.io/Statement/v1") ||
        !text_is(json_str_at(v->statement, "predicateType"), "https://slsa.dev/provenance/v1") ||
        !text_is(json_str_at(v->statement, "predicate/buildDefinition/buildType"), build_type))
        check_fail(c, "the statement is not a SLSA provenance of %s", what);
    if (!text_is(json_str_at(v->statement, "predicate/runDetails/metadata/invocationId"), v->zip.run_id))
        check_fail(c, "the statement is about another run");
}

static void subjects_check(const struct verification *v, struct check *c)
{
    const cJSON *list = json_at(v->statement, "subject"), *item;
    size_t prefix = strlen(v->zip.run_id);
    bool tags = false, diff = false;
    cJSON_ArrayForEach(item, list)
    {
        const char *name = json_str_at(item, "name");
        if (!name) {
            check_fail(c, "a subject of the statement has no name");
            continue;
        }
        if (strcmp(name, "workspace-tree") == 0)
            continue;
        if (!statement_subject_is_file(v, item, c)) {
            check_fail(c, "the statement speaks of '%.100s', not of run %s", name, v->zip.run_id);
            continue;
        }
        tags = tags || strcmp(name + prefix + 1, "tagmanifest-sha256.txt") == 0;
        diff = diff || strcmp(name + prefix + 1, "diff.patch") == 0;
    }
    if (!tags || !diff)
        check_fail(c, "the statement does not speak of %s", tags ? "diff.patch" : "tagmanifest-sha256.txt");
}

/* The flags decide how much the later checks may ask for, so they must be there. */
static void flags_read(struct verification *v, struct check *c)
{
    const cJSON *flags = json_at(v->statement, "predicate/runDetails/metadata/arp_evidence");
    const cJSON *closed = json_at(flags, "closed"), *complete = json_at(flags, "complete"),
                *match = json_at(flags, "volumeMatch");
    if (!cJSON_IsBool(closed) || !cJSON_IsBool(complete) || !cJSON_IsBool(match)) {
        check_fail(
            c, "the statement does not say whether the record is closed, complete and equal to the volume");
        return;
    }
    v->closed = cJSON_IsTrue(closed);
    v->complete = cJSON_IsTrue(complete);
    v->volume_match = cJSON_IsTrue(match);
}

/* Which files there are follows from the engine: without this, a run's three files more could be left out as a whole. */
static void engine_check(const struct verification *v, struct check *c)
{
    const char *engine = json_str_at(v->statement, "predicate/buildDefinition/externalParameters/engine");
    bool wanted = engine && model_called_by(engine);
    if (wanted != v->engine)
        check_fail(c, "the statement is of a run of engine %.40s, the bundle has %s files of an engine's run",
            engine ? engine : "shell", v->engine ? "the" : "no");
    if (v->engine)
        statement_byproducts(v, bag_engine_files, BAG_ENGINE_FILES, c);
}

void step_statement(struct verification *v, struct check *c)
{
    static const char *const names[] = {"events.jsonl", "command_log.jsonl", "processes.jsonl",
        "outputs.json", "env_snapshot.json", "metadata.json"};
    if (!v->statement) {
        check_unable(c, "there is no readable statement");
        return;
    }
    statement_kind(v, "urn:arp:agent-run:v1", "an agent run", c);
    engine_check(v, c);
    subjects_check(v, c);
    statement_byproducts(v, names, sizeof(names) / sizeof(names[0]), c);
    flags_read(v, c);
    check_pass(c, "its subjects are the files of this bundle, run %s", v->zip.run_id);
}
