/*
 * Requests for workflow runs: see request.h.
 */
#include "orchestrator/workflow/request.h"

#include <stdlib.h>
#include <string.h>

#include "shared/json.h"
#include "shared/limits.h"

/* A body and what its escapes may grow to. */
#define CANONICAL_MAX (8u * LIMIT_BODY)
/* Versions are the database's integers. */
#define VERSION_MAX INT32_MAX

#define HEAD "{\"v\":1,\"request\":"

static int write_canonical(struct workflow_request *r, struct arp_err *err)
{
    struct json j;
    json_init(&j, &r->canonical);
    json_obj_open(&j);
    json_kstr(&j, "projectId", r->project_id);
    json_kstr(&j, "input", r->input);
    if (r->version)
        json_kint(&j, "version", r->version);
    else
        json_knull(&j, "version");
    json_key(&j, "container_overrides");
    json_obj_open(&j);
    for (size_t i = 0; i < r->override_count; i++)
        json_kstr(&j, r->overrides[i].agent_key, r->overrides[i].container_id);
    json_obj_close(&j);
    json_obj_close(&j);
    return buf_error(&r->canonical, err);
}

static int read_body(const cJSON *body, struct workflow_request *r, struct arp_err *err)
{
    static const struct json_field fields[] = {{"projectId", JSON_STRING, true},
        {"input", JSON_STRING, false}, {"version", JSON_INT, false},
        {"container_overrides", JSON_OBJECT, false}};
    int rc = json_check_object(body, fields, sizeof(fields) / sizeof(fields[0]), "", err);
    if (rc)
        return rc;
    const char *input = json_get_str(body, "input");
    if (input && strlen(input) > LIMIT_PROMPT)
        return arp_fail_field(err, "input", "'input' is over %u bytes", LIMIT_PROMPT);
    r->version = json_get_int(body, "version", 0);
    const cJSON *version = cJSON_GetObjectItemCaseSensitive(body, "version");
    if (version && !cJSON_IsNull(version) && (r->version < 1 || r->version > VERSION_MAX))
        return arp_fail_field(err, "version", "'version' must be from 1 to %d", VERSION_MAX);
    r->project_id = strdup(json_get_str(body, "projectId"));
    r->input = strdup(input ? input : "");
    if (!r->project_id || !r->input)
        return arp_fail(err, ARP_E_NOMEM, 0, "request");
    rc = run_overrides_read(cJSON_GetObjectItemCaseSensitive(body, "container_overrides"), &r->overrides,
        &r->override_count, err);
    return rc ? rc : write_canonical(r, err);
}

int workflow_request_parse(const char *body, size_t len, struct workflow_request *ret, struct arp_err *err)
{
    cleanup_cjson cJSON *root = NULL;
    int rc = json_parse(body, len, &root, err);
    if (rc)
        return rc;
    struct workflow_request r = {0};
    buf_init(&r.canonical, CANONICAL_MAX);
    rc = read_body(root, &r, err);
    if (rc) {
        workflow_request_done(&r);
        return rc;
    }
    *ret = r;
    return 0;
}

void workflow_request_done(struct workflow_request *r)
{
    free(r->project_id);
    free(r->input);
    run_overrides_free(r->overrides, r->override_count);
    buf_done(&r->canonical);
    *r = (struct workflow_request){0};
}

void workflow_choices_done(struct workflow_choices *cs)
{
    for (size_t i = 0; i < cs->n; i++)
        run_choice_done(&cs->v[i]);
    free(cs->v);
    *cs = (struct workflow_choices){0};
}

const struct run_choice *workflow_choices_find(const struct workflow_choices *cs, const char *agent_key)
{
    for (size_t i = 0; i < cs->n; i++) {
        if (strcmp(cs->v[i].agent.key, agent_key) == 0)
            return &cs->v[i];
    }
    return NULL;
}

int workflow_context_write(
    const struct workflow_request *r, const struct workflow_choices *cs, struct buf *out, struct arp_err *err)
{
    struct json j;
    buf_append_str(out, HEAD);
    buf_append(out, r->canonical.data, r->canonical.len);
    json_init(&j, out);
    j.need_comma = true;
    json_key(&j, "agents");
    json_obj_open(&j);
    for (size_t i = 0; i < cs->n; i++) {
        json_key(&j, cs->v[i].agent.key);
        json_obj_open(&j);
        run_choice_write_members(&cs->v[i], &j);
        json_obj_close(&j);
    }
    json_obj_close(&j);
    json_obj_close(&j);
    return buf_error(out, err);
}

bool workflow_context_is_of(const char *context, const struct workflow_request *r)
{
    static const char next[] = ",\"agents\":{";
    size_t head = sizeof(HEAD) - 1;
    size_t n = r->canonical.len;
    return strncmp(context, HEAD, head) == 0 && strncmp(context + head, buf_str(&r->canonical), n) == 0 &&
           strncmp(context + head + n, next, sizeof(next) - 1) == 0;
}

int workflow_context_read(const char *context, struct workflow_choices *ret, struct arp_err *err)
{
    cleanup_cjson cJSON *root = NULL;
    if (json_parse(context, strlen(context), &root, err))
        return arp_fail(err, ARP_E_CORRUPT, 0, "the workflow run's context is not JSON");
    const cJSON *agents = cJSON_GetObjectItemCaseSensitive(root, "agents");
    size_t n = (size_t)cJSON_GetArraySize(agents);
    struct workflow_choices cs = {.v = calloc(n + 1, sizeof(*cs.v))};
    if (!cs.v)
        return arp_fail(err, ARP_E_NOMEM, 0, "choices of a workflow run");
    int rc = 0;
    for (const cJSON *a = agents ? agents->child : NULL; a && rc == 0; a = a->next) {
        rc = run_choice_read(a, &cs.v[cs.n], err);
        cs.n += rc == 0;
    }
    if (rc) {
        workflow_choices_done(&cs);
        return rc;
    }
    *ret = cs;
    return 0;
}
