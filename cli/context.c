/*
 * Where and for whom the run was made: metadata.json, env_snapshot.json, RunStarted and the statement must tell the same story.
 * See checks.h.
 */
#include <stdio.h>
#include <string.h>

#include "cli/checks.h"

/* The value at path in doc, when it is there and not null, must be want; want NULL: the other side says nothing, so must doc. */
static void same_text(const cJSON *doc, const char *doc_name, const char *path, const char *want,
    const char *other, struct check *c)
{
    const cJSON *got = json_at(doc, path);
    if (!got || cJSON_IsNull(got))
        return;
    if (!cJSON_IsString(got) || !want || strcmp(got->valuestring, want) != 0)
        check_fail(c, "%s of %s is not what %s says", path, doc_name, other);
}

static cJSON *object_of(const struct verification *v, const char *file, struct check *c)
{
    const struct packed_file *f = packed_find(&v->zip, file);
    cJSON *obj = NULL;
    if (json_parse_line(f->data, f->size, &obj, NULL) == 0 && cJSON_IsObject(obj))
        return obj;
    check_fail(c, "%s is not a JSON object", file);
    cJSON_Delete(obj);
    return NULL;
}

/* The digest of algorithm that the statement's dependencies give, or NULL. */
static const char *dependency(const struct verification *v, const char *uri_prefix, const char *algorithm)
{
    const cJSON *item;
    cJSON_ArrayForEach(item, json_at(v->statement, "predicate/buildDefinition/resolvedDependencies"))
    {
        const char *uri = json_str_at(item, "uri");
        if (uri && strncmp(uri, uri_prefix, strlen(uri_prefix)) == 0)
            return json_str_at(json_at(item, "digest"), algorithm);
    }
    return NULL;
}

static void document_check(const struct verification *v, const cJSON *doc, const char *name, struct check *c)
{
    char image[80];
    const char *hex = dependency(v, "docker://", "sha256");
    snprintf(image, sizeof(image), "sha256:%.64s", hex ? hex : "");
    same_text(doc, name, "runId", v->zip.run_id, "the bundle", c);
    same_text(doc, name, "imageDigest", hex ? image : NULL, "the statement", c);
    same_text(doc, name, "gitCommit", dependency(v, "git+file:", "gitCommit"), "the statement", c);
}

static void owner_check(const struct verification *v, const cJSON *doc, const char *name, struct check *c)
{
    const char *base = "predicate/buildDefinition/internalParameters/";
    char path[96];
    static const char *const ids[] = {"userId", "workspaceId"};
    for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
        snprintf(path, sizeof(path), "%s%s", base, ids[i]);
        same_text(doc, name, ids[i], json_str_at(v->statement, path), "the statement", c);
    }
    same_text(doc, name, "projectId",
        json_str_at(v->statement, "predicate/buildDefinition/externalParameters/projectId"), "the statement",
        c);
}

/* metadata.json repeats the flags that the statement signs. */
static void flags_check(const struct verification *v, const cJSON *metadata, struct check *c)
{
    const struct {
        const char *name;
        bool want;
    } flags[] = {{"closed", v->closed}, {"complete", v->complete}, {"volumeMatch", v->volume_match}};
    for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
        const cJSON *got = json_at(metadata, flags[i].name);
        if (got && (!cJSON_IsBool(got) || cJSON_IsTrue(got) != flags[i].want))
            check_fail(c, "%s of metadata.json is not what the statement says", flags[i].name);
    }
}

static void prompt_check(const struct verification *v, const cJSON *started, struct check *c)
{
    const char *want =
        json_str_at(v->statement, "predicate/buildDefinition/externalParameters/prompt/digest/sha256");
    const char *prompt = json_str_at(started, "prompt");
    char hex[SHA256_HEX_LEN + 1];
    if (!want || !started)
        return;
    sha256_hex_of(prompt ? prompt : "", prompt ? strlen(prompt) : 0, hex);
    if (strcmp(hex, want) != 0)
        check_fail(c, "the prompt in RunStarted is not the one the statement names");
}

void step_environment(struct verification *v, struct check *c)
{
    cleanup_cjson cJSON *metadata = object_of(v, "metadata.json", c);
    cleanup_cjson cJSON *snapshot = object_of(v, "env_snapshot.json", c);
    cleanup_cjson cJSON *started = v->run_started.text ? line_parse(&v->run_started) : NULL;
    const char *run_id = json_str_at(metadata, "runId");
    if (metadata && (!run_id || strcmp(run_id, v->zip.run_id) != 0))
        check_fail(c, "metadata.json belongs to another run");
    if (!v->statement) {
        check_unable(c, "there is no readable statement to compare with");
        return;
    }
    document_check(v, metadata, "metadata.json", c);
    document_check(v, snapshot, "env_snapshot.json", c);
    owner_check(v, metadata, "metadata.json", c);
    owner_check(v, started, "RunStarted", c);
    flags_check(v, metadata, c);
    prompt_check(v, started, c);
    check_pass(c, "run, owner, image, commit and prompt are the same in metadata.json, env_snapshot.json, "
                  "RunStarted and the statement");
}
