/*
 * The record of an engine's run: what its program printed, and the calls of models with their parts and answers. See checks.h and
 * docs/formats/model_log.md. Whether agent and orchestrator tell the same of a call is reconciliation's (reconciliation.c): no defect of the record.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/checks.h"
#include "shared/model.h"
#include "shared/model_canonical.h"
#include "shared/model_request.h"

/* What the parts of one request have in all: the bytes of the largest, each written anew as six (U+007F), with room. */
#define REQUEST_BYTES_MAX (8ull * MODEL_REQUEST_MAX)
/* What those of all requests that are put together have: minutes of work. A long run repeats a megabyte in each of some thousand calls. */
#define WORK_BYTES_MAX (128ull * MODEL_REQUEST_MAX)

void step_model_log_chain(struct verification *v, struct check *c)
{
    log_walk(v, &v->model_log, "model_log.jsonl", "runId", c);
    v->model_lines = log_split(v, &v->model_log, "model_log.jsonl", &v->model_line_count);
}

void step_engine_log(struct verification *v, struct check *c)
{
    const struct packed_file *f = packed_find(&v->zip, "engine.jsonl");
    if (!v->run_completed.text) {
        check_unable(c, "there is no sound RunCompleted");
        return;
    }
    cleanup_cjson cJSON *done = line_parse(&v->run_completed);
    if (json_str_at(done, "engineSha256"))
        file_digest_check(v, done, "engineSha256", "engine.jsonl", c);
    else if (f->size > 0 && !v->complete)
        check_unable(c, "engine.jsonl has %zu bytes and no digest; the record is not complete", f->size);
    else if (f->size > 0)
        check_fail(c, "engine.jsonl has %zu bytes, RunCompleted knows of none", f->size);
    check_pass(c, "%zu bytes that the engine's program printed: its own word, kept as it came", f->size);
}

/* --- model_log.jsonl ------------------------------------------------------------------------------------------------------------ */

struct model_walk {
    const struct verification *v;
    struct check *c;
    size_t kept, unkept, rebuilt;
    uint64_t bytes; /* of the parts that were put together */
};

/* A blob that the line says was kept: parts are listed when all of them were, an answer when it was. NULL when it is not there. */
static const struct packed_file *kept_blob(
    struct model_walk *w, size_t k, const cJSON *digest, const char *what)
{
    const char *hex = sha256_hex_in(cJSON_GetStringValue(digest));
    const struct packed_file *blob = hex ? find_blob(w->v, hex) : NULL;
    if (!hex)
        check_fail(w->c, "model call %zu: %s is no digest", k, what);
    else if (blob)
        w->kept++;
    else if (w->v->complete)
        check_fail(w->c, "model call %zu: the blob of %s is missing", k, what);
    else
        w->unkept++;
    return blob;
}

/* The parts of one request; [0] is the document with null where the others stand. */
struct parts {
    const struct packed_file *const *v;
    size_t n, next;
};

/* Put the next parts in place of the nulls of an array. False: a part is no JSON, or memory is too short. */
static bool fill(cJSON *array, struct parts *p)
{
    for (cJSON *item = cJSON_IsArray(array) ? array->child : NULL, *after; item; item = after) {
        cJSON *part = NULL;
        after = item->next;
        if (!cJSON_IsNull(item) || p->next == p->n)
            continue;
        const struct packed_file *f = p->v[p->next++];
        if (model_json(f->data, f->size, &part, NULL) != 0)
            return false;
        if (!cJSON_ReplaceItemViaPointer(array, item, part)) {
            cJSON_Delete(part);
            return false;
        }
    }
    return true;
}

/* The request that its parts make up. False: they don't fit. It is not written anew: a text within the limit can become one that is over it. */
static bool rebuild(struct parts *p, cJSON **ret)
{
    static const char *const history[] = {"input", "messages", "contents"};
    cJSON *doc = NULL;
    if (p->n == 0 || model_json(p->v[0]->data, p->v[0]->size, &doc, NULL) != 0)
        return false;
    p->next = 1;
    bool fits = fill(cJSON_GetObjectItemCaseSensitive(doc, "tools"), p);
    for (size_t i = 0; i < sizeof(history) / sizeof(history[0]); i++)
        fits = fits && fill(cJSON_GetObjectItemCaseSensitive(doc, history[i]), p);
    *ret = doc;
    return fits && p->next == p->n;
}

/* The canonical digests of what the parts make up must be those of the line. */
static void request_check(struct model_walk *w, size_t k, const cJSON *line, struct parts *p)
{
    const char *method = json_str_at(line, "method"), *path = json_str_at(line, "path"),
               *dialect = json_str_at(line, "dialect");
    const char *full = sha256_hex_in(json_str_at(line, "fullSha256")),
               *shape = sha256_hex_in(json_str_at(line, "shapeSha256"));
    char got_full[SHA256_HEX_LEN + 1] = "", got_shape[SHA256_HEX_LEN + 1] = "";
    struct model_route route;
    cleanup_cjson cJSON *doc = NULL;
    bool fits = rebuild(p, &doc) && method && path && dialect &&
                model_route_of(method, path, &route, NULL) == 0 &&
                strcmp(dialect, model_dialect_name(route.dialect)) == 0 &&
                model_canonical_digests(doc, got_full, got_shape, NULL) == 0;
    if (!fits || !full || !shape || strcmp(full, got_full) != 0 || strcmp(shape, got_shape) != 0)
        check_fail(w->c,
            "model call %zu: its parts do not make up the request that the line gives the digest of", k);
    else
        w->rebuilt++;
}

/* May they be put together? A few lines can name one blob many thousand times, so this is asked before anything is parsed. */
static bool is_bounded(struct model_walk *w, size_t k, const struct parts *p)
{
    uint64_t bytes = 0;
    size_t values = 0;
    for (size_t i = 0; i < p->n; i++)
        bytes += p->v[i]->size;
    if (bytes > REQUEST_BYTES_MAX || w->bytes + bytes > WORK_BYTES_MAX) {
        check_unable(w->c, "model call %zu: its parts are too much to be put together", k);
        return false;
    }
    w->bytes += bytes;
    for (size_t i = 0; i < p->n; i++)
        values += model_json_values(p->v[i]->data, p->v[i]->size);
    if (values > MODEL_VALUES_MAX)
        check_fail(w->c, "model call %zu: its parts hold more values than a request can have", k);
    return values <= MODEL_VALUES_MAX;
}

static void parts_check(struct model_walk *w, size_t k, const cJSON *line, const cJSON *list)
{
    const struct packed_file *blobs[MODEL_PARTS_MAX];
    struct parts p = {.v = blobs};
    const cJSON *item;
    bool whole = true;
    if (cJSON_GetArraySize(list) > MODEL_PARTS_MAX) {
        check_fail(w->c, "model call %zu: it lists more parts than a request can have", k);
        return;
    }
    cJSON_ArrayForEach(item, list)
    {
        const struct packed_file *blob = kept_blob(w, k, item, "a part of the request");
        whole = whole && blob;
        if (whole)
            blobs[p.n++] = blob;
    }
    if (whole && is_bounded(w, k, &p))
        request_check(w, k, line, &p);
}

/* Parts and answer of a line whose policy is full. */
static void blobs_check(struct model_walk *w, size_t k, const cJSON *line)
{
    const cJSON *list = json_at(line, "parts"), *answer = json_at(line, "respBlob");
    if (cJSON_IsArray(list))
        parts_check(w, k, line, list);
    if (!answer || cJSON_IsNull(answer))
        return;
    const struct packed_file *blob = kept_blob(w, k, answer, "the answer");
    const char *digest = sha256_hex_in(json_str_at(line, "respSha256"));
    const cJSON *bytes = json_at(line, "respBytes");
    if (blob && (!digest || strcmp(digest, blob->sha256) != 0 || !cJSON_IsNumber(bytes) ||
                    bytes->valuedouble != (double)blob->size))
        check_fail(
            w->c, "model call %zu: the blob of the answer is not what the line gives size and digest of", k);
}

static bool is_count(const cJSON *v)
{
    return cJSON_IsNumber(v) && v->valuedouble >= 0 && v->valuedouble <= 9007199254740992.0 &&
           v->valuedouble == (double)(uint64_t)v->valuedouble;
}

/* The member of a line that is not what the format says, or NULL. */
static const char *line_defect(const cJSON *line)
{
    static const char *const digests[] = {"reqSha256", "fullSha256", "shapeSha256", "respSha256"};
    static const char *const counts[] = {"call", "attempt", "reqBytes", "respBytes"};
    const char *type = json_str_at(line, "type"), *lane = json_str_at(line, "lane"),
               *policy = json_str_at(line, "policy");
    if (!type || strcmp(type, "model_call") != 0)
        return "type";
    if (!lane || (strcmp(lane, "main") != 0 && strcmp(lane, "side") != 0))
        return "lane";
    if (!policy ||
        (strcmp(policy, "none") != 0 && strcmp(policy, "digest") != 0 && strcmp(policy, "full") != 0))
        return "policy";
    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++)
        if (!is_count(json_at(line, counts[i])))
            return counts[i];
    for (size_t i = 0; i < sizeof(digests) / sizeof(digests[0]); i++) {
        const cJSON *v = json_at(line, digests[i]);
        if (v && !cJSON_IsNull(v) && !sha256_hex_in(cJSON_GetStringValue(v)))
            return digests[i];
    }
    return cJSON_IsBool(json_at(line, "cut")) ? NULL : "cut";
}

void step_model_log(struct verification *v, struct check *c)
{
    struct model_walk w = {.v = v, .c = c};
    if (!v->model_log.ok) {
        check_unable(c, "the chain of model_log.jsonl is not sound");
        return;
    }
    for (size_t k = 0; k < v->model_line_count && c->verdict != CHECK_FAIL; k++) {
        cleanup_cjson cJSON *line = line_parse(&v->model_lines[k]);
        const char *defect = line ? line_defect(line) : "form";
        const char *policy = json_str_at(line, "policy");
        if (defect)
            check_fail(c, "model call %zu has no valid %s", k, defect);
        else if (strcmp(policy, "full") == 0)
            blobs_check(&w, k, line);
    }
    if (w.unkept)
        check_unable(c,
            "%zu of the parts and answers of model calls are not in the bundle, only their digests",
            w.unkept);
    check_pass(c,
        "%zu attempts at model calls; %zu parts and answers are in the bundle, %zu requests made up of their "
        "parts",
        v->model_line_count, w.kept, w.rebuilt);
}
