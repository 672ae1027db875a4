/*
 * The bundles of a workflow run's steps: what the bundle lists of them, and the files themselves. See checks.h and
 * docs/formats/workflow_bundle.md.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/checks.h"
#include "shared/limits.h"
#include "shared/uuid.h"

#define LIST "data/bundles-sha256.txt"

/* The digest that the step's bundle is listed with; NULL when it has no run, or its bundle could not be made. */
static const char *listed_digest(const cJSON *step)
{
    const char *hex = json_str_at(step, "bundle/sha256");
    return json_str_at(step, "runId") && hex && sha256_hex_ok(hex) ? hex : NULL;
}

static void bundle_name(const cJSON *step, char ret[UUID_LEN + 8])
{
    snprintf(ret, UUID_LEN + 8, "%.36s.zip", json_str_at(step, "runId"));
}

/* The next line of the list and the next subject must be this step's. */
static void listed_check(
    const struct verification *v, const cJSON *step, size_t *at, int subject, struct check *c)
{
    const struct packed_file *f = packed_find(&v->zip, LIST);
    const cJSON *item = cJSON_GetArrayItem(json_at(v->statement, "subject"), subject);
    const char *digest = listed_digest(step), *key = json_str_at(step, "key");
    const char *name = json_str_at(item, "name"), *signed_digest = json_str_at(item, "digest/sha256");
    char want[UUID_LEN + 8], got_digest[SHA256_HEX_LEN + 1], got[64];
    bundle_name(step, want);
    if (*at >= f->size || !manifest_line(f, at, got_digest, got, sizeof(got)) || strcmp(got, want) != 0)
        check_fail(c, LIST " does not list %s of step %s in its place", want, key);
    else if (!digest || strcmp(got_digest, digest) != 0)
        check_fail(c, LIST " gives %s of step %s another digest than workflow.json", want, key);
    if (!name || strcmp(name, want) != 0)
        check_fail(c, "the statement does not speak of %s of step %s in its place", want, key);
    else if (!signed_digest || !digest || strcmp(signed_digest, digest) != 0)
        check_fail(c, "the statement gives %s of step %s another digest than workflow.json", want, key);
}

/* Status, digest and size belong together. */
static void entry_check(const cJSON *step, struct check *c)
{
    const cJSON *bundle = json_at(step, "bundle"), *size = json_at(bundle, "sizeBytes");
    const char *key = json_str_at(step, "key"), *status = json_str_at(bundle, "status");
    bool ready = status && strcmp(status, "ready") == 0, error = status && strcmp(status, "error") == 0;
    if (!ready && !error)
        check_fail(c, "the bundle of step %s has no known status", key);
    if (ready != (listed_digest(step) != NULL) || ready != (bool)cJSON_IsNumber(size) ||
        (error && (!cJSON_IsNull(json_at(bundle, "sha256")) || !cJSON_IsNull(size))))
        check_fail(c, "the bundle of step %s has a digest or a size that its status does not allow", key);
}

void step_bundles(struct verification *v, struct check *c)
{
    const cJSON *step;
    size_t at = 0, missing = 0;
    int subject = 1;
    if (!v->document || !v->statement) {
        check_unable(c, "there is no readable workflow.json or statement");
        return;
    }
    cJSON_ArrayForEach(step, json_at(v->document, "steps"))
    {
        if (!json_str_at(step, "runId"))
            continue;
        entry_check(step, c);
        if (listed_digest(step))
            listed_check(v, step, &at, subject++, c);
        else
            missing++;
    }
    if (at != packed_find(&v->zip, LIST)->size)
        check_fail(c, LIST " lists more than the steps' bundles");
    if (cJSON_GetArraySize(json_at(v->statement, "subject")) != subject)
        check_fail(c, "the statement speaks of more than the steps' bundles");
    if ((missing == 0) != v->complete)
        check_fail(c, "the statement says complete:%s, %zu bundles of steps were not sealed",
            v->complete ? "true" : "false", missing);
    v->bundles_listed = (size_t)subject - 1;
    if (missing)
        check_unable(c, "%zu bundles of steps could not be made; there is nothing to compare with", missing);
    check_pass(c, "%d bundles, the same in " LIST ", workflow.json and the statement", subject - 1);
}

/* --- the files ------------------------------------------------------------------------------------------------------------------- */

/* eventsHead of the line that ended the step, or NULL. */
static bool events_head(const struct verification *v, const cJSON *step, char ret[SHA256_HEX_LEN + 1])
{
    for (size_t n = 0; n < v->workflow_line_count; n++) {
        cleanup_cjson cJSON *line = line_parse(&v->workflow_lines[n]);
        const char *type = json_str_at(line, "type"), *head = json_str_at(line, "eventsHead");
        if (type && strcmp(type, "WorkflowStepFinished") == 0 && head && sha256_hex_ok(head) &&
            cJSON_Compare(json_at(line, "step"), json_at(step, "step"), true)) {
            memcpy(ret, head, SHA256_HEX_LEN + 1);
            return true;
        }
    }
    return false;
}

/* What the run's own record says of itself against what the workflow says of the step. */
static void record_check(
    const struct verification *v, const cJSON *step, const struct verification *run, struct check *c)
{
    static const char *const owners[] = {"userId", "projectId", "workspaceId"};
    const char *key = json_str_at(step, "key");
    const struct packed_file *f = packed_find(&run->zip, "metadata.json");
    cleanup_cjson cJSON *doc = NULL;
    char head[SHA256_HEX_LEN + 1];
    if (json_parse_line(f->data, f->size, &doc, NULL)) {
        check_fail(c, "%s: metadata.json is not JSON", key);
        return;
    }
    for (size_t i = 0; i < 3; i++)
        if (!cJSON_Compare(json_at(doc, owners[i]), json_at(v->document, owners[i]), true))
            check_fail(c, "%s: its run has another %s than the workflow run", key, owners[i]);
    const cJSON *of = json_at(doc, "runContext/workflow");
    const char *run_of = json_str_at(of, "runId");
    if (!run_of || strcmp(run_of, v->zip.run_id) != 0 ||
        !cJSON_Compare(json_at(of, "step"), json_at(step, "step"), true) ||
        !cJSON_Compare(json_at(of, "stepKey"), json_at(step, "key"), true))
        check_fail(c, "%s: its run was not made as this step of this workflow run", key);
    if (!cJSON_Compare(json_at(doc, "status"), json_at(step, "runStatus"), true))
        check_fail(c, "%s: its run has another status than workflow.json says", key);
    const cJSON *told = json_at(doc, "container_context"), *want = json_at(step, "container_context");
    if (cJSON_IsObject(told) && cJSON_IsObject(want))
        same_context(told, "the run's bundle", want, "workflow.json", c);
    else if (cJSON_IsObject(told) || cJSON_IsObject(want))
        check_fail(c, "%s: container_context is missing in %s", key,
            cJSON_IsObject(told) ? "workflow.json" : "the run's bundle");
    if (!events_head(v, step, head) || strcmp(head, run->events.head) != 0)
        check_fail(c, "%s: the run's events end otherwise than workflow.jsonl says", key);
}

/* The first reason of that weight in a report. */
static const char *reason_in(const struct verify_report *r, enum check_verdict verdict)
{
    for (size_t i = 0; i < r->count; i++)
        if (r->checks[i].verdict == verdict)
            return r->checks[i].reason;
    return "its record says of itself that it is not closed, not complete, or not equal to the volume";
}

static void file_check(struct verification *v, const cJSON *step, const char *path,
    const struct verify_options *o, struct check *c)
{
    const struct verify_options options = {.keys = o->keys, .strict = o->strict};
    const char *key = json_str_at(step, "key"), *run_id = json_str_at(step, "runId");
    const char *listed = listed_digest(step);
    struct verification run = {0};
    struct verify_report report;
    char hex[SHA256_HEX_LEN + 1] = "";
    enum verify_exit code = verification_make(path, &options, &run, &report);
    if (run.zip.map)
        sha256_hex_of(run.zip.map, run.zip.map_size, hex);
    if (!listed || strcmp(hex, listed) != 0)
        check_fail(c, "%s: %s.zip is not the file that is listed: its digest is %s", key, run_id,
            hex[0] ? hex : "not to be had");
    if (code == VERIFY_FAILED || code == VERIFY_UNUSABLE)
        check_fail(c, "%s: %s.zip: %.200s", key, run_id,
            reason_in(&report, code == VERIFY_FAILED ? CHECK_FAIL : CHECK_UNABLE));
    else if (run.workflow || strcmp(run.zip.run_id, run_id) != 0)
        check_fail(c, "%s: %s.zip is the bundle of another run", key, run_id);
    else
        record_check(v, step, &run, c);
    if (code == VERIFY_UNTRUSTED)
        check_unable(c, "%s: %s.zip is intact, but: %.200s", key, run_id, reason_in(&report, CHECK_UNABLE));
    check_pass(c, "%s: %s.zip is the file that is listed, and a sound bundle of this step", key, run_id);
    verification_done(&run);
}

void workflow_bundles_verify(struct verification *v, const struct verify_options *o, struct verify_report *r)
{
    const cJSON *step;
    cJSON_ArrayForEach(step, json_at(v->document, "steps"))
    {
        char name[UUID_LEN + 8], path[PATH_MAX];
        if (!listed_digest(step) || r->count == VERIFY_CHECKS_MAX)
            continue;
        struct check *c = &r->checks[r->count++];
        c->name = "step-bundle";
        bundle_name(step, name);
        int n = snprintf(path, sizeof(path), "%s/%s", o->steps_dir, name);
        if (!json_str_at(step, "key") || !uuid_ok(json_str_at(step, "runId")) || n < 0 ||
            (size_t)n >= sizeof(path)) {
            check_fail(c, "a step has no key or no valid run");
            continue;
        }
        if (access(path, F_OK) != 0) {
            check_unable(c, "%s: %s is not there", json_str_at(step, "key"), name);
            continue;
        }
        r->bundles_checked++;
        file_check(v, step, path, o, c);
        r->bundles_accepted += c->verdict == CHECK_PASS;
    }
}
