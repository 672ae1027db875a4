/*
 * A workflow's definition: see definition.h.
 */
#include "orchestrator/workflow/definition.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "orchestrator/run/request.h"
#include "orchestrator/store/agents.h"
#include "orchestrator/store/key.h"
#include "shared/json.h"

#define BIT(i) (UINT64_C(1) << (i))
_Static_assert(LIMIT_WORKFLOW_STEPS <= 64, "sets of steps are 64 bits");

/* A member of a step, for errors: "steps[3].prompt". */
#define PATH_MAX_LEN 160
static const char *path_of(char path[PATH_MAX_LEN], size_t step, const char *member)
{
    snprintf(path, PATH_MAX_LEN, "steps[%zu].%s", step, member);
    return path;
}

/* The step's key beside the path; *rc goes through. */
static int name_step(int rc, const struct step_definition *s, struct arp_err *err)
{
    if (rc)
        arp_err_detail_str(err, "step", s->key);
    return rc;
}

/* --- members -------------------------------------------------------------------------------------------------------------- */

static int check_step_key(const struct workflow_definition *d, size_t i, const char *key, struct arp_err *err)
{
    char path[PATH_MAX_LEN];
    size_t len = strlen(key);
    path_of(path, i, "key");
    if (len == 0 || len > LIMIT_STEP_KEY || strspn(key, STEP_KEY_BYTES) != len)
        return arp_fail_field(
            err, path, "'%s' must have 1 to %d of A-Z, a-z, 0-9, '_', '-'", path, LIMIT_STEP_KEY);
    for (size_t j = 0; j < i; j++)
        if (strcmp(d->steps[j].key, key) == 0)
            return arp_fail_field(err, path, "'%s': there are two steps '%s'", path, key);
    return 0;
}

static int read_step(struct workflow_definition *d, size_t i, const cJSON *item, struct arp_err *err)
{
    static const struct json_field fields[] = {{"key", JSON_STRING, true}, {"agent", JSON_STRING, false},
        {"prompt", JSON_STRING, false}, {"commands", JSON_ANY, false}, {"engine", JSON_STRING, false},
        {"needs", JSON_ARRAY, false}, {"continueOnFailure", JSON_BOOL, false},
        {"timeoutMs", JSON_INT, false}};
    struct step_definition *s = &d->steps[i];
    char path[PATH_MAX_LEN];
    snprintf(path, sizeof(path), "steps[%zu]", i);
    int rc = json_check_object(item, fields, sizeof(fields) / sizeof(fields[0]), path, err);
    if (rc)
        return rc;
    const char *agent = json_get_str(item, "agent");
    const cJSON *commands = cJSON_GetObjectItemCaseSensitive(item, "commands");
    s->key = json_get_str(item, "key");
    s->agent = agent ? agent : AGENT_BUILT_IN;
    s->prompt = json_get_str(item, "prompt");
    s->commands = cJSON_IsNull(commands) ? NULL : commands;
    s->engine = json_get_str(item, "engine");
    s->continue_on_failure = json_get_bool(item, "continueOnFailure", false);
    s->timeout_ms = json_get_int(item, "timeoutMs", 0);
    rc = check_step_key(d, i, s->key, err);
    if (rc)
        return rc;
    if (!key_ok(s->agent))
        return arp_fail_field(err, path_of(path, i, "agent"), "'%s' is no agent's key", path);
    if (!s->commands && (!s->prompt || *s->prompt == '\0'))
        return arp_fail_field(err, path_of(path, i, "prompt"), "'%s' or commands are required", path);
    /* 0 is ours for none. */
    if (s->timeout_ms == 0 && cJSON_IsNumber(cJSON_GetObjectItemCaseSensitive(item, "timeoutMs")))
        return arp_fail_field(err, path_of(path, i, "timeoutMs"), "'%s' must be positive", path);
    return 0;
}

static int read_needs(struct workflow_definition *d, size_t i, const cJSON *needs, struct arp_err *err)
{
    struct step_definition *s = &d->steps[i];
    char path[PATH_MAX_LEN];
    path_of(path, i, "needs");
    for (const cJSON *item = needs ? needs->child : NULL; item; item = item->next) {
        if (!cJSON_IsString(item))
            return arp_fail_field(err, path, "'%s' must hold keys of steps", path);
        int at = workflow_definition_find(d, item->valuestring);
        if (at < 0)
            return arp_fail_field(err, path, "'%s': there is no step '%.64s'", path, item->valuestring);
        if ((size_t)at == i)
            return arp_fail_field(err, path, "'%s': step '%s' needs itself", path, s->key);
        if (s->declared & BIT(at))
            return arp_fail_field(err, path, "'%s' names step '%s' twice", path, item->valuestring);
        s->declared |= BIT(at);
    }
    s->needs = s->declared;
    return 0;
}

/* --- what a step runs ----------------------------------------------------------------------------------------------------- */

/* commands: JSON text, NULL for none. */
static void write_message(
    struct json *j, const struct step_definition *s, const char *prompt, const char *commands)
{
    json_obj_open(j);
    json_kstr(j, "agent", s->agent);
    json_kstr(j, "prompt", prompt);
    json_kraw(j, "commands", commands);
    json_kstr(j, "engine", s->engine);
    if (s->timeout_ms)
        json_kint(j, "timeoutMs", s->timeout_ms);
    json_obj_close(j);
}

/* The refusal of a step's message, its field said as one of the definition. */
static int refused_message(int rc, size_t i, struct arp_err *err)
{
    static const char field[] = "\"field\":\"";
    if (err && strncmp(err->detail, field, strlen(field)) == 0) {
        char detail[ARP_ERR_DETAIL_MAX];
        int n = snprintf(detail, sizeof(detail), "%ssteps[%zu].%s", field, i, err->detail + strlen(field));
        if (n > 0 && (size_t)n < sizeof(detail))
            memcpy(err->detail, detail, (size_t)n + 1);
    }
    arp_wrap(err, "steps[%zu]", i);
    return rc;
}

/* A step is what a message is, and the same checks hold for it: they are made on the message with its templates as they stand. */
static int check_message(
    const struct step_definition *s, size_t i, const struct config *cfg, struct arp_err *err)
{
    cleanup_buf struct buf body;
    struct run_request request = {0};
    struct json j;
    char *commands = s->commands ? cJSON_PrintUnformatted(s->commands) : NULL;
    if (s->commands && !commands)
        return arp_fail(err, ARP_E_NOMEM, 0, "no memory for a step");
    buf_init(&body, 8u * LIMIT_WORKFLOW_SPEC);
    json_init(&j, &body);
    write_message(&j, s, s->prompt, commands);
    free(commands);
    int rc = buf_error(&body, err);
    if (rc == 0)
        rc = run_request_parse(body.data, body.len, cfg, &request, err);
    if (rc)
        return refused_message(rc, i, err);
    run_request_done(&request);
    return 0;
}

/* Words of one item of a list of commands. */
static const cJSON *argv_of(const cJSON *item)
{
    return cJSON_IsObject(item) ? cJSON_GetObjectItemCaseSensitive(item, "argv") : item;
}

struct ref_check {
    const struct workflow_definition *d;
    struct step_definition *step;
};

/* What a template refers to, its step needs. */
static int need_ref(void *ctx, const struct template_ref *ref, struct arp_err *err)
{
    struct ref_check *c = ctx;
    if (ref->value == TEMPLATE_INPUT)
        return 0;
    int at = workflow_definition_find(c->d, ref->step);
    if (at < 0)
        return arp_fail(err, ARP_E_FIELD, 0, "there is no step '%s'", ref->step);
    if (&c->d->steps[at] == c->step)
        return arp_fail(err, ARP_E_FIELD, 0, "step '%s' refers to itself", ref->step);
    c->step->needs |= BIT(at);
    if (ref->value == TEMPLATE_DIFF)
        c->step->diffs |= BIT(at);
    return 0;
}

static int check_text(
    const struct workflow_definition *d, size_t i, const char *member, const char *text, struct arp_err *err)
{
    struct ref_check c = {d, &d->steps[i]};
    char path[PATH_MAX_LEN];
    int rc = template_check(text, need_ref, &c, err);
    if (rc) {
        arp_wrap(err, "'%s'", path_of(path, i, member));
        arp_err_detail_str(err, "field", path);
    }
    return rc;
}

static int check_templates(const struct workflow_definition *d, size_t i, struct arp_err *err)
{
    const struct step_definition *s = &d->steps[i];
    int rc = s->prompt ? check_text(d, i, "prompt", s->prompt, err) : 0;
    if (rc || !s->commands)
        return rc;
    if (cJSON_IsString(s->commands))
        return check_text(d, i, "commands", s->commands->valuestring, err);
    int n = 0;
    for (const cJSON *item = s->commands->child; item && rc == 0; item = item->next, n++) {
        char member[32];
        snprintf(member, sizeof(member), "commands[%d]", n);
        for (const cJSON *word = argv_of(item)->child; word && rc == 0; word = word->next)
            rc = check_text(d, i, member, word->valuestring, err);
    }
    return rc;
}

/* --- order ---------------------------------------------------------------------------------------------------------------- */

/* A step of the circle that one of the steps not done is in or waits for. */
static int fail_circle(const struct workflow_definition *d, uint64_t done, struct arp_err *err)
{
    size_t at = (size_t)__builtin_ctzll(~done);
    for (size_t hops = 0; hops < d->step_count; hops++)
        at = (size_t)__builtin_ctzll(d->steps[at].needs & ~done);
    char path[PATH_MAX_LEN];
    return name_step(arp_fail_field(err, path_of(path, at, "needs"),
                         "step '%s' needs itself by way of other steps", d->steps[at].key),
        &d->steps[at], err);
}

static int make_order(struct workflow_definition *d, struct arp_err *err)
{
    uint64_t done = 0;
    for (size_t n = 0; n < d->step_count; n++) {
        size_t i = 0;
        while (i < d->step_count && (done & BIT(i) || d->steps[i].needs & ~done))
            i++;
        if (i == d->step_count)
            return fail_circle(d, done, err);
        d->order[n] = i;
        done |= BIT(i);
    }
    return 0;
}

/* --- texts with their templates filled in --------------------------------------------------------------------------------- */

struct filler {
    const struct step_definition *step;
    template_value_fn *value; /* NULL: texts stay as they stand */
    void *ctx;
};

/* Append text to out, which holds nothing but it. member: for the error. */
static int fill(
    const struct filler *f, const char *text, const char *member, struct buf *out, struct arp_err *err)
{
    if (!f->value)
        return buf_append_str(out, text) ? buf_error(out, err) : 0;
    int rc = template_render(text, f->value, f->ctx, out, err);
    if (rc == ARP_E_TOO_LARGE) {
        arp_fail(err, rc, 0, "'%s' of step '%s' is over %zu bytes with its templates filled in", member,
            f->step->key, out->max);
        arp_err_detail_str(err, "field", member);
        arp_err_detail_str(err, "step", f->step->key);
    }
    return rc;
}

static int write_word(
    struct json *j, const struct filler *f, const char *text, const char *member, struct arp_err *err)
{
    cleanup_buf struct buf word;
    buf_init(&word, LIMIT_ARGV_BYTES);
    int rc = fill(f, text, member, &word, err);
    if (rc == 0)
        json_str(j, buf_str(&word));
    return rc;
}

/* One item of the list: a bare argv stays one, an object gets its members in their order. */
static int write_command(
    struct json *j, const struct filler *f, const cJSON *item, const char *member, struct arp_err *err)
{
    bool object = cJSON_IsObject(item);
    if (object) {
        json_obj_open(j);
        json_key(j, "argv");
    }
    json_arr_open(j);
    int rc = 0;
    for (const cJSON *word = argv_of(item)->child; word && rc == 0; word = word->next)
        rc = write_word(j, f, word->valuestring, member, err);
    json_arr_close(j);
    if (!object)
        return rc;
    const char *cwd = json_get_str(item, "cwd");
    int64_t timeout_ms = json_get_int(item, "timeoutMs", 0);
    json_kstr(j, "cwd", cwd ? cwd : ".");
    if (timeout_ms)
        json_kint(j, "timeoutMs", timeout_ms);
    else
        json_knull(j, "timeoutMs");
    json_obj_close(j);
    return rc;
}

/* The step's commands, null when it has none, as JSON into out. */
static int write_commands(const struct filler *f, struct buf *out, struct arp_err *err)
{
    const cJSON *commands = f->step->commands;
    struct json j;
    json_init(&j, out);
    int rc = 0;
    if (!commands) {
        json_null(&j);
    } else if (cJSON_IsString(commands)) {
        rc = write_word(&j, f, commands->valuestring, "commands", err);
    } else {
        json_arr_open(&j);
        int n = 0;
        for (const cJSON *item = commands->child; item && rc == 0; item = item->next, n++) {
            char member[32];
            snprintf(member, sizeof(member), "commands[%d]", n);
            rc = write_command(&j, f, item, member, err);
        }
        json_arr_close(&j);
    }
    return rc ? rc : buf_error(out, err);
}

/* --- canonical form ------------------------------------------------------------------------------------------------------- */

static int write_step(
    struct json *j, const struct workflow_definition *d, const struct step_definition *s, struct arp_err *err)
{
    const struct filler as_it_stands = {.step = s};
    cleanup_buf struct buf commands;
    buf_init(&commands, LIMIT_WORKFLOW_SPEC);
    int rc = write_commands(&as_it_stands, &commands, err);
    if (rc)
        return rc;
    json_obj_open(j);
    json_kstr(j, "key", s->key);
    json_kstr(j, "agent", s->agent);
    json_kstr(j, "prompt", s->prompt);
    json_kraw(j, "commands", buf_str(&commands));
    json_kstr(j, "engine", s->engine);
    json_key(j, "needs");
    json_arr_open(j);
    for (size_t i = 0; i < d->step_count; i++)
        if (s->declared & BIT(i))
            json_str(j, d->steps[i].key);
    json_arr_close(j);
    json_kbool(j, "continueOnFailure", s->continue_on_failure);
    if (s->timeout_ms)
        json_kint(j, "timeoutMs", s->timeout_ms);
    else
        json_knull(j, "timeoutMs");
    json_obj_close(j);
    return 0;
}

static int write_canonical(struct workflow_definition *d, struct arp_err *err)
{
    struct json j;
    buf_init(&d->canonical, LIMIT_WORKFLOW_SPEC);
    json_init(&j, &d->canonical);
    json_obj_open(&j);
    json_kstr(&j, "description", d->description);
    json_key(&j, "steps");
    json_arr_open(&j);
    int rc = 0;
    for (size_t i = 0; i < d->step_count && rc == 0; i++)
        rc = write_step(&j, d, &d->steps[i], err);
    json_arr_close(&j);
    json_obj_close(&j);
    if (rc == 0)
        rc = buf_error(&d->canonical, err);
    if (rc == ARP_E_TOO_LARGE)
        return arp_fail(
            err, rc, 0, "the definition is over %u bytes in its canonical form", LIMIT_WORKFLOW_SPEC);
    return rc;
}

/* --- the whole ------------------------------------------------------------------------------------------------------------ */

static int read_steps(struct workflow_definition *d, const cJSON *steps, struct arp_err *err)
{
    int n = cJSON_GetArraySize(steps);
    if (n < 1 || n > LIMIT_WORKFLOW_STEPS)
        return arp_fail_field(err, "steps", "'steps' must hold 1 to %d steps", LIMIT_WORKFLOW_STEPS);
    d->steps = calloc((size_t)n, sizeof(*d->steps));
    if (!d->steps)
        return arp_fail(err, ARP_E_NOMEM, 0, "no memory for a workflow");
    for (const cJSON *item = steps->child; item; item = item->next, d->step_count++) {
        int rc = read_step(d, d->step_count, item, err);
        if (rc)
            return rc;
    }
    return 0;
}

/* All keys are known now. */
static int check_step(
    struct workflow_definition *d, size_t i, const cJSON *item, const struct config *cfg, struct arp_err *err)
{
    const struct step_definition *s = &d->steps[i];
    int rc = read_needs(d, i, cJSON_GetObjectItemCaseSensitive(item, "needs"), err);
    if (rc == 0)
        rc = check_message(s, i, cfg, err);
    if (rc == 0)
        rc = check_templates(d, i, err);
    return name_step(rc, s, err);
}

static int read_definition(struct workflow_definition *d, const struct config *cfg, struct arp_err *err)
{
    static const struct json_field fields[] = {
        {"description", JSON_STRING, false}, {"steps", JSON_ARRAY, true}};
    int rc = json_check_object(d->json, fields, sizeof(fields) / sizeof(fields[0]), "", err);
    if (rc)
        return rc;
    d->description = json_get_str(d->json, "description");
    if (d->description && strlen(d->description) > LIMIT_WORKFLOW_DESCRIPTION)
        return arp_fail_field(
            err, "description", "'description' is over %d bytes", LIMIT_WORKFLOW_DESCRIPTION);
    const cJSON *steps = cJSON_GetObjectItemCaseSensitive(d->json, "steps");
    rc = read_steps(d, steps, err);
    size_t i = 0;
    for (const cJSON *item = steps->child; item && rc == 0; item = item->next, i++)
        rc = check_step(d, i, item, cfg, err);
    if (rc == 0)
        rc = make_order(d, err);
    return rc ? rc : write_canonical(d, err);
}

int workflow_definition_parse(const char *json, size_t len, const struct config *cfg,
    struct workflow_definition *ret, struct arp_err *err)
{
    *ret = (struct workflow_definition){0};
    if (len > LIMIT_WORKFLOW_SPEC)
        return arp_fail(err, ARP_E_TOO_LARGE, 0, "the definition is over %u bytes", LIMIT_WORKFLOW_SPEC);
    int rc = json_parse(json, len, &ret->json, err);
    if (rc == 0)
        rc = read_definition(ret, cfg, err);
    if (rc)
        workflow_definition_done(ret);
    return rc;
}

void workflow_definition_done(struct workflow_definition *d)
{
    cJSON_Delete(d->json);
    free(d->steps);
    buf_done(&d->canonical);
    *d = (struct workflow_definition){0};
}

int workflow_definition_find(const struct workflow_definition *d, const char *key)
{
    for (size_t i = 0; i < d->step_count; i++)
        if (strcmp(d->steps[i].key, key) == 0)
            return (int)i;
    return -1;
}

int workflow_definition_message(const struct workflow_definition *d, size_t step, template_value_fn *value,
    void *ctx, struct buf *out, struct arp_err *err)
{
    const struct filler f = {&d->steps[step], value, ctx};
    cleanup_buf struct buf prompt;
    cleanup_buf struct buf commands;
    buf_init(&prompt, LIMIT_PROMPT);
    buf_init(&commands, 8u * LIMIT_BODY);
    int rc = f.step->prompt ? fill(&f, f.step->prompt, "prompt", &prompt, err) : 0;
    if (rc == 0)
        rc = write_commands(&f, &commands, err);
    if (rc)
        return rc;
    struct json j;
    json_init(&j, out);
    write_message(&j, f.step, f.step->prompt ? buf_str(&prompt) : NULL, buf_str(&commands));
    return buf_error(out, err);
}
