/*
 * Message requests: see request.h.
 */
#include "orchestrator/run/request.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "orchestrator/store/agents.h"
#include "orchestrator/store/key.h"
#include "shared/json.h"
#include "shared/limits.h"
#include "shared/model.h"

/* The command list and the prompt, each byte at most six when escaped, and the fixed members. */
#define CONTEXT_MAX (8u * LIMIT_BODY)

static const char *const engines[] = {ENGINE_AUTO, ENGINE_SHELL, "codex", "claude", "opencode", "builtin"};

/* One command while it is checked; strings are borrowed from the parsed body. */
struct command {
    const cJSON *argv; /* array, or NULL when script is set */
    const char *script;
    const char *cwd;
    int64_t timeout_ms;
};

static int check_cwd(const char *cwd, const char *path, struct arp_err *err)
{
    /* Relative, no "..": the agent opens it beneath the repository anyway, this is the clear answer to a mistake. */
    if (*cwd == '\0' || *cwd == '/' || strlen(cwd) > 1024)
        return arp_fail_field(err, path, "'%s' must be a relative path of at most 1024 bytes", path);
    for (const char *p = cwd; p; p = strchr(p, '/')) {
        p += *p == '/';
        if (strncmp(p, "..", 2) == 0 && (p[2] == '/' || p[2] == '\0'))
            return arp_fail_field(err, path, "'%s' must stay inside the repository", path);
    }
    return 0;
}

static int check_argv(const cJSON *argv, const char *path, struct arp_err *err)
{
    size_t bytes = 0;
    int n = 0;
    for (const cJSON *a = argv->child; a; a = a->next, n++) {
        if (!cJSON_IsString(a))
            return arp_fail_field(err, path, "'%s' must hold strings only", path);
        bytes += strlen(a->valuestring) + 1;
    }
    if (n == 0 || argv->child->valuestring[0] == '\0')
        return arp_fail_field(err, path, "'%s' must name a program", path);
    if (n > LIMIT_ARGV_ITEMS || bytes > LIMIT_ARGV_BYTES)
        return arp_fail_field(
            err, path, "'%s' is over %d words or %u bytes", path, LIMIT_ARGV_ITEMS, LIMIT_ARGV_BYTES);
    return 0;
}

static int check_timeout(int64_t ms, int64_t max, const char *path, struct arp_err *err)
{
    if (ms < 1 || ms > max)
        return arp_fail_field(err, path, "'%s' must be from 1 to %lld", path, (long long)max);
    return 0;
}

/* {"argv":[…],"cwd":"…","timeoutMs":N} */
static int read_command_object(
    const cJSON *item, const char *path, const struct config *cfg, struct command *c, struct arp_err *err)
{
    static const struct json_field fields[] = {
        {"argv", JSON_ARRAY, true}, {"cwd", JSON_STRING, false}, {"timeoutMs", JSON_INT, false}};
    int rc = json_check_object(item, fields, sizeof(fields) / sizeof(fields[0]), path, err);
    if (rc)
        return rc;
    char name[96];
    c->argv = cJSON_GetObjectItemCaseSensitive(item, "argv");
    c->timeout_ms = json_get_int(item, "timeoutMs", cfg->command_timeout_s * 1000);
    const char *cwd = json_get_str(item, "cwd");
    c->cwd = cwd ? cwd : ".";
    snprintf(name, sizeof(name), "%s.timeoutMs", path);
    rc = check_timeout(c->timeout_ms, LIMIT_RUN_TIMEOUT_MS, name, err);
    if (rc)
        return rc;
    snprintf(name, sizeof(name), "%s.cwd", path);
    rc = check_cwd(c->cwd, name, err);
    if (rc)
        return rc;
    snprintf(name, sizeof(name), "%s.argv", path);
    return check_argv(c->argv, name, err);
}

static void write_command(struct json *j, const struct command *c)
{
    json_obj_open(j);
    json_key(j, "argv");
    json_arr_open(j);
    if (c->script) {
        json_str(j, "sh");
        json_str(j, "-c");
        json_str(j, c->script);
    } else {
        for (const cJSON *a = c->argv->child; a; a = a->next)
            json_str(j, a->valuestring);
    }
    json_arr_close(j);
    json_kbool(j, "shell", c->script != NULL);
    json_kint(j, "timeoutMs", c->timeout_ms);
    json_kstr(j, "cwd", c->cwd);
    json_obj_close(j);
}

static int write_script(
    struct json *j, const char *script, const char *field, const struct config *cfg, struct arp_err *err)
{
    if (*script == '\0')
        return arp_fail_field(err, field, "'%s' is empty", field);
    if (strlen(script) > LIMIT_ARGV_BYTES - 16)
        return arp_fail_field(err, field, "'%s' is over %u bytes", field, LIMIT_ARGV_BYTES - 16);
    struct command c = {.script = script, .cwd = ".", .timeout_ms = cfg->command_timeout_s * 1000};
    write_command(j, &c);
    return 0;
}

static int write_list(struct json *j, const cJSON *list, const struct config *cfg, struct arp_err *err)
{
    int i = 0;
    for (const cJSON *item = list->child; item; item = item->next, i++) {
        char path[64];
        snprintf(path, sizeof(path), "commands[%d]", i);
        if (i >= LIMIT_COMMANDS)
            return arp_fail_field(err, "commands", "'commands' holds more than %d commands", LIMIT_COMMANDS);
        struct command c = {.cwd = ".", .timeout_ms = cfg->command_timeout_s * 1000};
        int rc;
        if (cJSON_IsArray(item)) {
            c.argv = item;
            rc = check_argv(item, path, err);
        } else if (cJSON_IsObject(item)) {
            rc = read_command_object(item, path, cfg, &c, err);
        } else {
            rc = arp_fail_field(err, path, "'%s' must be an argv array or an object", path);
        }
        if (rc)
            return rc;
        write_command(j, &c);
    }
    if (i == 0)
        return arp_fail_field(err, "commands", "'commands' is empty");
    return 0;
}

bool run_engine_known(const char *name)
{
    for (size_t i = 0; i < sizeof(engines) / sizeof(engines[0]); i++) {
        if (strcmp(name, engines[i]) == 0)
            return true;
    }
    return false;
}

int run_engine_check(const char *name, struct arp_err *err)
{
    if (run_engine_known(name))
        return 0;
    return arp_fail_field(err, "engine",
        "engine '%.32s' is not known; there are: auto, shell, codex, claude, opencode, builtin", name);
}

static int write_prompt(struct run_request *r, const struct config *cfg, struct arp_err *err)
{
    struct json j;
    json_init(&j, &r->commands);
    json_arr_open(&j);
    int rc = write_script(&j, r->prompt, "prompt", cfg, err);
    json_arr_close(&j);
    if (rc)
        buf_reset(&r->commands); /* nothing is settled */
    return rc ? rc : buf_error(&r->commands, err);
}

/* commands: a list, or one string for `sh -c`; only the engine "shell" runs any. Without commands it takes the prompt as that string; without
 * both commands and an engine it is left to run_request_settle. */
static int write_commands(
    const cJSON *body, struct run_request *r, const struct config *cfg, struct arp_err *err)
{
    const cJSON *commands = cJSON_GetObjectItemCaseSensitive(body, "commands");
    if (!commands || cJSON_IsNull(commands))
        return r->engine ? run_request_settle(r, r->engine, cfg, err) : 0;
    if (r->engine && strcmp(r->engine, ENGINE_SHELL) != 0)
        return arp_fail_field(
            err, "commands", "'commands' are for the engine 'shell'; engine '%s' takes a prompt", r->engine);
    if (!r->engine && !(r->engine = strdup(ENGINE_SHELL)))
        return arp_fail(err, ARP_E_NOMEM, 0, "request");
    int rc;
    struct json j;
    json_init(&j, &r->commands);
    json_arr_open(&j);
    if (cJSON_IsArray(commands))
        rc = write_list(&j, commands, cfg, err);
    else if (cJSON_IsString(commands))
        rc = write_script(&j, commands->valuestring, "commands", cfg, err);
    else
        rc = arp_fail_field(err, "commands", "field 'commands' must be an array or a string");
    json_arr_close(&j);
    return rc ? rc : buf_error(&r->commands, err);
}

static int read_override(const cJSON *item, struct run_override *ret, struct arp_err *err)
{
    const char *id = cJSON_GetStringValue(item);
    ret->agent_key = strdup(item->string);
    ret->container_id = id ? strdup(id) : NULL;
    return ret->agent_key && (!id || ret->container_id) ? 0 : arp_fail(err, ARP_E_NOMEM, 0, "request");
}

/* The members are judged when they are resolved, so that each bad one is refused by its name. */
int run_overrides_read(const cJSON *map, struct run_override **ret, size_t *ret_n, struct arp_err *err)
{
    int n = cJSON_GetArraySize(map);
    if (n > LIMIT_OVERRIDES)
        return arp_fail_field(
            err, "container_overrides", "'container_overrides' names over %d agents", LIMIT_OVERRIDES);
    struct run_override *overrides = calloc((size_t)n + 1, sizeof(*overrides));
    if (!overrides)
        return arp_fail(err, ARP_E_NOMEM, 0, "request");
    int rc = 0;
    size_t read = 0;
    for (const cJSON *item = map ? map->child : NULL; item && rc == 0; item = item->next)
        rc = read_override(item, &overrides[read++], err);
    if (rc) {
        run_overrides_free(overrides, read);
        return rc;
    }
    *ret = overrides;
    *ret_n = read;
    return 0;
}

void run_overrides_free(struct run_override *overrides, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        free(overrides[i].agent_key);
        free(overrides[i].container_id);
    }
    free(overrides);
}

static int write_artifacts(struct run_request *r, const struct config *cfg, struct arp_err *err)
{
    struct json j;
    json_init(&j, &r->artifacts);
    json_arr_open(&j);
    for (const char *p = cfg->artifacts; *p;) {
        size_t n = strcspn(p, ",");
        json_strn(&j, p, n);
        p += n + (p[n] == ',');
    }
    json_arr_close(&j);
    return buf_error(&r->artifacts, err);
}

void run_request_write_limits(const struct run_request *r, struct json *j)
{
    json_obj_open(j);
    if (r->max_steps)
        json_kint(j, "maxSteps", r->max_steps);
    if (r->max_tokens)
        json_kint(j, "maxTokens", r->max_tokens);
    json_obj_close(j);
}

/* Only what was given: a request that leaves them out has the context it always had. */
static void write_wishes(struct json *j, const struct run_request *r)
{
    if (r->model)
        json_kstr(j, "model", r->model);
    if (r->provider)
        json_kstr(j, "provider", r->provider);
    if (r->thread_id)
        json_kstr(j, "threadId", r->thread_id);
    if (!r->max_steps && !r->max_tokens)
        return;
    json_key(j, "limits");
    run_request_write_limits(r, j);
}

static int write_context(struct run_request *r, struct arp_err *err)
{
    struct json j;
    json_init(&j, &r->context);
    json_obj_open(&j);
    json_kint(&j, "v", 1);
    json_kstr(&j, "agentKey", r->agent_key);
    json_kstr(&j, "engine", r->engine);
    json_kstr(&j, "prompt", r->prompt);
    json_kraw(&j, "commands", buf_str(&r->commands));
    json_kint(&j, "timeoutMs", r->timeout_ms);
    json_kraw(&j, "artifacts", buf_str(&r->artifacts));
    json_key(&j, "container_overrides");
    json_obj_open(&j);
    for (size_t i = 0; i < r->override_count; i++)
        json_kstr(&j, r->overrides[i].agent_key, r->overrides[i].container_id);
    json_obj_close(&j);
    write_wishes(&j, r);
    return buf_error(&r->context, err);
}

/* Copy a text that may not be there; false: out of memory. */
static bool copy_text(char **ret, const char *text)
{
    *ret = text ? strdup(text) : NULL;
    return !text || *ret;
}

static int read_limits(const cJSON *body, struct run_request *r, struct arp_err *err)
{
    static const struct json_field fields[] = {{"maxSteps", JSON_INT, false}, {"maxTokens", JSON_INT, false}};
    const cJSON *limits = cJSON_GetObjectItemCaseSensitive(body, "limits");
    if (!limits || cJSON_IsNull(limits))
        return 0;
    int rc = json_check_object(limits, fields, sizeof(fields) / sizeof(fields[0]), "limits", err);
    if (rc == 0)
        rc = json_count_member(limits, "limits", "maxSteps", MODEL_STEPS_MAX, &r->max_steps, err);
    return rc ? rc : json_count_member(limits, "limits", "maxTokens", MODEL_TOKENS_MAX, &r->max_tokens, err);
}

int run_model_check(const char *name, struct arp_err *err)
{
    if (model_name_ok(name))
        return 0;
    return arp_fail_field(err, "model",
        "'model' must have 1 to %d printable ASCII bytes without spaces, '\"' and '\\', no '-' in front",
        MODEL_NAME_MAX);
}

/* Who is to do it, with which model. */
static int read_engine(const cJSON *body, struct run_request *r, struct arp_err *err)
{
    const char *engine = json_get_str(body, "engine");
    const char *model = json_get_str(body, "model");
    const char *provider = json_get_str(body, "provider");
    const char *thread = json_get_str(body, "threadId");
    int rc = engine ? run_engine_check(engine, err) : 0;
    if (rc == 0 && model)
        rc = run_model_check(model, err);
    if (rc == 0 && provider && !key_ok(provider))
        rc = arp_fail_field(err, "provider", "'provider' must be the name of a provider");
    if (rc == 0 && thread && !model_thread_ok(thread))
        rc = arp_fail_field(err, "threadId", "'threadId' is no name that an engine gives a conversation");
    if (rc == 0)
        rc = read_limits(body, r, err);
    if (rc)
        return rc;
    bool ok = copy_text(&r->engine, engine) && copy_text(&r->model, model) &&
              copy_text(&r->provider, provider) && copy_text(&r->thread_id, thread);
    return ok ? 0 : arp_fail(err, ARP_E_NOMEM, 0, "request");
}

static int read_body(const cJSON *body, struct run_request *r, const struct config *cfg, struct arp_err *err)
{
    static const struct json_field fields[] = {{"prompt", JSON_STRING, false}, {"text", JSON_STRING, false},
        {"engine", JSON_STRING, false}, {"commands", JSON_ANY, false}, {"timeoutMs", JSON_INT, false},
        {"container_overrides", JSON_OBJECT, false}, {"agent", JSON_STRING, false},
        {"model", JSON_STRING, false}, {"provider", JSON_STRING, false}, {"threadId", JSON_STRING, false},
        {"limits", JSON_OBJECT, false}};
    int rc = json_check_object(body, fields, sizeof(fields) / sizeof(fields[0]), "", err);
    if (rc)
        return rc;
    const char *prompt = json_get_str(body, "prompt");
    const char *text = json_get_str(body, "text");
    if (prompt && text)
        return arp_fail_field(err, "text", "'text' is another name of 'prompt': give one of them");
    if (!prompt)
        prompt = text ? text : "";
    if (strlen(prompt) > LIMIT_PROMPT)
        return arp_fail_field(err, "prompt", "'prompt' is over %u bytes", LIMIT_PROMPT);
    r->timeout_ms = json_get_int(body, "timeoutMs", cfg->run_timeout_s * 1000);
    rc = check_timeout(r->timeout_ms, LIMIT_RUN_TIMEOUT_MS, "timeoutMs", err);
    if (rc)
        return rc;
    const char *agent_key = json_get_str(body, "agent");
    r->agent_key = strdup(agent_key ? agent_key : AGENT_BUILT_IN);
    r->prompt = strdup(prompt);
    if (!r->agent_key || !r->prompt)
        return arp_fail(err, ARP_E_NOMEM, 0, "request");
    rc = write_artifacts(r, cfg, err);
    if (rc == 0)
        rc = read_engine(body, r, err);
    if (rc == 0)
        rc = write_commands(body, r, cfg, err);
    if (rc == 0)
        rc = run_overrides_read(cJSON_GetObjectItemCaseSensitive(body, "container_overrides"), &r->overrides,
            &r->override_count, err);
    return rc ? rc : write_context(r, err);
}

int run_request_parse(
    const char *body, size_t len, const struct config *cfg, struct run_request *ret, struct arp_err *err)
{
    cleanup_cjson cJSON *root = NULL;
    int rc = json_parse(body, len, &root, err);
    if (rc)
        return rc;
    struct run_request r = {0};
    buf_init(&r.artifacts, CONTEXT_MAX);
    buf_init(&r.commands, CONTEXT_MAX);
    buf_init(&r.context, CONTEXT_MAX);
    rc = read_body(root, &r, cfg, err);
    if (rc) {
        run_request_done(&r);
        return rc;
    }
    *ret = r;
    return 0;
}

int run_request_settle(
    struct run_request *r, const char *engine, const struct config *cfg, struct arp_err *err)
{
    if (r->commands.len)
        return 0;
    if (!engine)
        return arp_fail_field(err, "commands",
            "field 'commands' is required: without a provider of models no engine runs a prompt by itself "
            "(engine 'shell' runs it as a script)");
    int rc = run_engine_check(engine, err);
    if (rc == 0 && strcmp(engine, ENGINE_SHELL) == 0)
        return write_prompt(r, cfg, err);
    if (rc == 0 && r->prompt[0] == '\0')
        rc = arp_fail_field(err, "prompt", "'prompt' is required by the engine '%s'", engine);
    return rc;
}

void run_request_done(struct run_request *r)
{
    char **const texts[] = {&r->agent_key, &r->engine, &r->model, &r->provider, &r->thread_id, &r->prompt};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        free(*texts[i]);
        *texts[i] = NULL;
    }
    run_overrides_free(r->overrides, r->override_count);
    r->overrides = NULL;
    r->override_count = 0;
    buf_done(&r->artifacts);
    buf_done(&r->commands);
    buf_done(&r->context);
}
