/*
 * Event schema: see event.h.
 */
#include "shared/event.h"

#include <stdlib.h>
#include <string.h>

#include "shared/limits.h"
#include "shared/uuid.h"

static const char *const type_names[] = {
#define X(name, type, sse) type,
    EVENT_TYPES(X) EVENT_WORKFLOW_TYPES(X)
#undef X
        ""};

static const char *const sse_names[] = {
#define X(name, type, sse) sse,
    EVENT_TYPES(X) EVENT_WORKFLOW_TYPES(X)
#undef X
        "event"};

const char *event_type_name(enum event_type t)
{
    return type_names[t];
}

const char *event_sse_name(enum event_type t)
{
    return sse_names[t];
}

static enum event_type type_of_n(const char *name, size_t len)
{
    for (int t = 0; t < EVENT_UNKNOWN; t++) {
        if (strlen(type_names[t]) == len && memcmp(type_names[t], name, len) == 0)
            return (enum event_type)t;
    }
    return EVENT_UNKNOWN;
}

enum event_type event_type_of(const char *name)
{
    return type_of_n(name, strlen(name));
}

bool event_is_of_workflow(enum event_type t)
{
    return t >= EVENT_WORKFLOW_STARTED && t <= EVENT_WORKFLOW_COMPLETED;
}

/* The member that says whose line it is. */
static const char *id_name(bool of_workflow)
{
    return of_workflow ? "workflowRunId" : "runId";
}

void event_open(struct json *j, struct buf *out, enum event_type t, const char *id)
{
    char ts[CLOCK_ISO_LEN + 1];
    clock_iso_now(ts);
    json_init(j, out);
    json_obj_open(j);
    json_kstr(j, "ts", ts);
    json_kstr(j, id_name(event_is_of_workflow(t)), id);
    json_kstr(j, "type", type_names[t]);
}

void event_close(struct json *j, size_t start, struct chain *c)
{
    chain_stamp(c, j);
    json_obj_close(j);
    if (!j->out->error)
        chain_advance(c, j->out->data + start, j->out->len - start);
}

/* Required members of each type; what else a line has is free. Those of the spec (4.2) first. */
struct need {
    enum event_type type;
    const char *name;
    enum json_kind kind;
};
static const struct need needs[] = {
    {EVENT_RUN_STARTED, "userId", JSON_STRING},
    {EVENT_RUN_STARTED, "projectId", JSON_STRING},
    {EVENT_RUN_STARTED, "workspaceId", JSON_STRING},
    {EVENT_RUN_STARTED, "prompt", JSON_STRING},
    {EVENT_RUN_TOKEN, "sequence", JSON_INT},
    {EVENT_RUN_TOKEN, "delta", JSON_STRING},
    {EVENT_RUN_COMMAND_STARTED, "command", JSON_STRING},
    {EVENT_RUN_COMMAND_STARTED, "cwd", JSON_STRING},
    {EVENT_RUN_COMMAND_FINISHED, "command", JSON_STRING},
    {EVENT_RUN_COMMAND_FINISHED, "cwd", JSON_STRING},
    {EVENT_RUN_COMMAND_FINISHED, "exitCode", JSON_INT},
    {EVENT_RUN_COMMAND_FINISHED, "stdout", JSON_STRING},
    {EVENT_RUN_COMMAND_FINISHED, "stderr", JSON_STRING},
    {EVENT_RUN_DIFF_READY, "diffSummary", JSON_OBJECT},
    {EVENT_RUN_COMPLETED, "status", JSON_STRING},
    /* not of the spec: where the run is, and what the orchestrator joins with processes.jsonl */
    {EVENT_TOOL_CONTEXT, "container_context", JSON_OBJECT},
    {EVENT_RUN_PROCESS, "phase", JSON_STRING},
    {EVENT_RUN_PROCESS, "at", JSON_STRING},
    {EVENT_RUN_PROCESS, "commandId", JSON_INT},
    {EVENT_RUN_PROCESS, "pid", JSON_INT},
    {EVENT_RUN_MODEL_CALL, "call", JSON_INT},
    {EVENT_RUN_MODEL_CALL, "lane", JSON_STRING},
    {EVENT_RUN_MODEL_CALL, "path", JSON_STRING},
    {EVENT_RUN_MODEL_CALL, "status", JSON_INT},
    {EVENT_RUN_MODEL_CALL, "reqSha256", JSON_STRING},
    {EVENT_RUN_MODEL_CALL, "reqBytes", JSON_INT},
    {EVENT_RUN_MODEL_CALL, "respSha256", JSON_STRING},
    {EVENT_RUN_MODEL_CALL, "respBytes", JSON_INT},
    {EVENT_RUN_MODEL_CALL, "cut", JSON_BOOL},
    {EVENT_WORKFLOW_STEP_STARTED, "step", JSON_INT},
    {EVENT_WORKFLOW_STEP_STARTED, "runId", JSON_STRING},
    {EVENT_WORKFLOW_STEP_FINISHED, "step", JSON_INT},
    {EVENT_WORKFLOW_STEP_FINISHED, "status", JSON_STRING},
    {EVENT_WORKFLOW_COMPLETED, "status", JSON_STRING},
};

static int check_fields(enum event_type t, const cJSON *obj, struct arp_err *err)
{
    for (size_t i = 0; i < sizeof(needs) / sizeof(needs[0]); i++) {
        if (needs[i].type != t)
            continue;
        if (!json_is_kind(cJSON_GetObjectItemCaseSensitive(obj, needs[i].name), needs[i].kind))
            return arp_fail_field(err, needs[i].name, "%s has no valid '%s'", type_names[t], needs[i].name);
    }
    if (t == EVENT_RUN_DIFF_READY) {
        const cJSON *sum = cJSON_GetObjectItemCaseSensitive(obj, "diffSummary");
        static const char *const counts[] = {"filesChanged", "insertions", "deletions"};
        for (size_t i = 0; i < 3; i++) {
            if (json_get_int(sum, counts[i], -1) < 0)
                return arp_fail_field(err, counts[i], "diffSummary has no valid '%s'", counts[i]);
        }
    }
    if (t == EVENT_RUN_COMPLETED) {
        const char *status = json_get_str(obj, "status");
        if (strcmp(status, "succeeded") != 0 && strcmp(status, "failed") != 0 &&
            strcmp(status, "timeout") != 0)
            return arp_fail_field(err, "status", "RunCompleted status is '%.32s'", status);
    }
    return 0;
}

/* Whose line it is that is being checked. */
struct subject {
    bool workflow;
    const char *id;
};

/* Base members, chain and fields of a parsed line. */
static int check_parsed(const char *line, size_t len, const struct subject *of, struct chain *c,
    struct event_info *e, struct arp_err *err)
{
    if (!cJSON_IsObject(e->obj))
        return arp_fail(err, ARP_E_JSON, 0, "an event line must be a JSON object");
    const char *ts = json_get_str(e->obj, "ts");
    int64_t us;
    if (!ts || clock_parse_iso(ts, &us, err) != 0)
        return arp_fail_field(err, "ts", "an event line has no valid 'ts'");
    const char *id = json_get_str(e->obj, id_name(of->workflow));
    if (!id || strcmp(id, of->id) != 0)
        return arp_fail_field(err, id_name(of->workflow), "an event line names another run than %s", of->id);
    const char *type = json_get_str(e->obj, "type");
    if (!type)
        return arp_fail_field(err, "type", "an event line has no 'type'");
    e->type = event_type_of(type);
    if (event_is_of_workflow(e->type) != of->workflow)
        return arp_fail(
            err, ARP_E_CORRUPT, 0, "a %.32s in the log of a %s", type, of->workflow ? "workflow run" : "run");
    e->seq = c->next_seq;
    uint64_t seq;
    enum event_type peeked;
    if (!event_peek(line, len, &seq, &peeked) || seq != c->next_seq || peeked != e->type)
        return arp_fail(err, ARP_E_CORRUPT, 0,
            "an event line does not begin with ts, runId, type and end with seq, prev");
    int rc = check_fields(e->type, e->obj, err);
    return rc ? rc : chain_accept(c, line, len, e->obj, err);
}

static int check_line(const char *line, size_t len, const struct subject *of, struct chain *c,
    struct event_info *ret, struct arp_err *err)
{
    if (len > LIMIT_LINE)
        return arp_fail(err, ARP_E_TOO_LARGE, 0, "an event line of %zu bytes", len);
    if (memchr(line, '\n', len))
        return arp_fail(err, ARP_E_JSON, 0, "an event line with a line break");
    struct event_info e = {.type = EVENT_UNKNOWN};
    int rc = json_parse_line(line, len, &e.obj, err);
    if (rc == 0)
        rc = check_parsed(line, len, of, c, &e, err);
    if (rc) {
        event_info_done(&e);
        return rc;
    }
    *ret = e;
    return 0;
}

int event_check(const char *line, size_t len, const char *run_id, struct chain *c, struct event_info *ret,
    struct arp_err *err)
{
    return check_line(line, len, &(struct subject){.id = run_id}, c, ret, err);
}

int event_check_workflow(const char *line, size_t len, const char *workflow_run_id, struct chain *c,
    struct event_info *ret, struct arp_err *err)
{
    return check_line(line, len, &(struct subject){.workflow = true, .id = workflow_run_id}, c, ret, err);
}

void event_info_done(struct event_info *e)
{
    cJSON_Delete(e->obj);
    e->obj = NULL;
}

/* The fixed head of every line, byte by byte:  {"ts":"<24>","runId":"<36>","type":"<name>"  or with "workflowRunId" */
#define HEAD_TS       "{\"ts\":\""
#define HEAD_RUN      "\",\"runId\":\""
#define HEAD_WORKFLOW "\",\"workflowRunId\":\""
#define HEAD_TYPE     "\",\"type\":\""
#define TAIL_PREV     ",\"prev\":\""
#define TAIL_SEQ      ",\"seq\":"

static bool has_at(const char *line, size_t len, size_t at, const char *text)
{
    size_t n = strlen(text);
    return len >= at + n && memcmp(line + at, text, n) == 0;
}

/* Where the type's name begins; 0: the head is another. */
static size_t peek_type_at(const char *line, size_t len, bool *ret_workflow)
{
    size_t at = sizeof(HEAD_TS) - 1 + CLOCK_ISO_LEN;
    if (!has_at(line, len, 0, HEAD_TS))
        return 0;
    *ret_workflow = has_at(line, len, at, HEAD_WORKFLOW);
    if (!*ret_workflow && !has_at(line, len, at, HEAD_RUN))
        return 0;
    at += (*ret_workflow ? sizeof(HEAD_WORKFLOW) : sizeof(HEAD_RUN)) - 1 + UUID_LEN;
    return has_at(line, len, at, HEAD_TYPE) ? at + sizeof(HEAD_TYPE) - 1 : 0;
}

bool event_peek(const char *line, size_t len, uint64_t *ret_seq, enum event_type *ret_type)
{
    const size_t tail = sizeof(TAIL_PREV) - 1 + SHA256_HEX_LEN + 2;
    bool of_workflow;
    size_t type_at = peek_type_at(line, len, &of_workflow);
    if (type_at == 0 || len < type_at + tail || !has_at(line, len, len - tail, TAIL_PREV) ||
        !has_at(line, len, len - 2, "\"}"))
        return false;
    const char *type_end = memchr(line + type_at, '"', len - type_at);
    /* seq: digits just before the tail, with its key before them */
    size_t at = len - tail;
    size_t end = at;
    while (at > type_at && line[at - 1] >= '0' && line[at - 1] <= '9')
        at--;
    if (!type_end || at == end || end - at > 19 || at < type_at + sizeof(TAIL_SEQ) - 1 ||
        !has_at(line, len, at - (sizeof(TAIL_SEQ) - 1), TAIL_SEQ))
        return false;
    enum event_type type = type_of_n(line + type_at, (size_t)(type_end - (line + type_at)));
    if (event_is_of_workflow(type) != of_workflow)
        return false;
    uint64_t seq = 0;
    for (; at < end; at++)
        seq = seq * 10 + (uint64_t)(line[at] - '0');
    *ret_seq = seq;
    *ret_type = type;
    return true;
}
