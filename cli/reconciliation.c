/*
 * reconciliation.json: what is found is the auditor's to judge and no defect of the bundle; that the numbers are those of the files is checked.
 * See checks.h and docs/formats/reconciliation.md.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/checks.h"
#include "cli/recount.h"

/* Findings of one kind that are listed. */
#define LISTED_MAX 500
/* Programs outside the commands that are listed. */
#define PROGRAMS_MAX 64

static void number_check(
    const cJSON *doc, const char *path, uint64_t want, const char *where, struct check *c)
{
    const cJSON *got = json_at(doc, path);
    if (!cJSON_IsNumber(got))
        check_fail(c, "%s does not count %s", where, path);
    else if (got->valuedouble != (double)want)
        check_fail(c, "%s counts %.0f of %s, the files of the bundle give %" PRIu64, where, got->valuedouble,
            path, want);
}

static void counts_check(
    const cJSON *counts, const struct verify_reconciliation *want, const char *where, struct check *c)
{
#define X(member, name) number_check(counts, name, want->member, where, c);
    VERIFY_RECONCILIATION(X)
#undef X
}

static void list_check(const cJSON *doc, const char *path, uint64_t count, struct check *c)
{
    const cJSON *list = json_at(doc, path);
    uint64_t want = count < LISTED_MAX ? count : LISTED_MAX;
    if (!cJSON_IsArray(list) || (uint64_t)cJSON_GetArraySize(list) != want)
        check_fail(c, "reconciliation.json does not list %" PRIu64 " of %s", want, path);
}

/* Which programs they are is not counted again: where the list is not full, its numbers make up all execs. */
static void outside_check(const cJSON *doc, uint64_t want, struct check *c)
{
    const cJSON *list = json_at(doc, "outside/programs"), *item;
    double sum = 0;
    number_check(doc, "outside/execs", want, "reconciliation.json", c);
    cJSON_ArrayForEach(item, list)
    {
        const cJSON *execs = json_at(item, "execs");
        sum += cJSON_IsNumber(execs) ? execs->valuedouble : 0;
    }
    if (!cJSON_IsArray(list) || sum > (double)want ||
        (cJSON_GetArraySize(list) < PROGRAMS_MAX && sum != (double)want))
        check_fail(c,
            "reconciliation.json lists programs of %.0f execs outside, the files of the bundle give %" PRIu64,
            sum, want);
}

/* What stands in the document against what was counted. */
static void document_check(
    const struct verification *v, const cJSON *doc, const struct recount *r, struct check *c)
{
    const struct verify_reconciliation *n = &r->counts;
    const char *run_id = json_str_at(doc, "runId");
    if (!run_id || strcmp(run_id, v->zip.run_id) != 0)
        check_fail(c, "reconciliation.json belongs to another run");
    counts_check(json_at(doc, "counts"), n, "reconciliation.json", c);
    number_check(doc, "modelCalls/attempts", r->attempts, "reconciliation.json", c);
    number_check(doc, "modelCalls/refused", r->refused, "reconciliation.json", c);
    number_check(doc, "edits/calls", r->edit_calls, "reconciliation.json", c);
    number_check(doc, "over", 0, "reconciliation.json", c); /* else there was no counting anew */
    const cJSON *commands_ran = json_at(doc, "edits/commandsRan");
    if (!cJSON_IsBool(commands_ran) || cJSON_IsTrue(commands_ran) != (n->ran > 0))
        check_fail(c, "reconciliation.json does not tell whether commands ran");
    outside_check(doc, r->outside, c);
    list_check(doc, "matched", n->matched, c);
    list_check(doc, "missing", n->missing, c);
    list_check(doc, "unattributed", n->unattributed, c);
    list_check(doc, "misreported", n->misreported, c);
    list_check(doc, "edits/unexplainedPaths", n->unexplained, c);
    list_check(doc, "modelCalls/side", r->side_calls, c);
    list_check(doc, "modelCalls/differ", n->calls_differ, c);
    const struct packed_file *f = packed_find(&v->zip, "metadata.json");
    cleanup_cjson cJSON *metadata = NULL;
    if (json_parse_line(f->data, f->size, &metadata, NULL) != 0 || !json_at(metadata, "reconciliation"))
        check_fail(c, "metadata.json does not tell the counts of reconciliation.json");
    else
        counts_check(json_at(metadata, "reconciliation"), n, "metadata.json", c);
}

void step_reconciliation(struct verification *v, struct check *c)
{
    const struct packed_file *f = packed_find(&v->zip, "reconciliation.json");
    cleanup_cjson cJSON *doc = NULL;
    struct recount r;
    const char *why;
    if (!v->events.ok || !v->command_log.ok || !v->process_log.ok || !v->model_log.ok ||
        !v->run_completed.text) {
        check_unable(c, "a chain is not sound, or there is no RunCompleted");
        return;
    }
    if (json_parse(f->data, f->size, &doc, NULL) != 0) {
        check_fail(c, "reconciliation.json is not JSON");
        return;
    }
    const cJSON *version = json_at(doc, "v");
    if (!cJSON_IsNumber(version) || version->valuedouble != 1) {
        check_unable(c, "reconciliation.json was made by other rules than this program knows");
        return;
    }
    if (!recount_make(v, &r, &why)) {
        check_unable(c, "not counted anew: %s", why);
        return;
    }
    document_check(v, doc, &r, c);
    v->reconciled = c->verdict != CHECK_FAIL;
    v->reconciliation = r.counts;
    const struct verify_reconciliation *n = &r.counts;
    check_pass(c,
        "%" PRIu64 " matched, %" PRIu64 " missing, %" PRIu64 " unattributed (%" PRIu64 " set-up), %" PRIu64
        " misreported, %" PRIu64 " of %" PRIu64 " changed paths unexplained, %" PRIu64 " of %" PRIu64
        " model calls told differently",
        n->matched, n->missing, n->unattributed, n->setup, n->misreported, n->unexplained, n->changed_paths,
        n->calls_differ, n->model_calls);
}
