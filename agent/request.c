/*
 * Request: see request.h.
 */
#include "agent/request.h"

#include <stdlib.h>
#include <string.h>

#include "agent/shellwords.h"
#include "shared/event.h"
#include "shared/oci_profile.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const struct json_field body_fields[] = {
    {"v", JSON_INT, true},
    {"runId", JSON_STRING, true},
    {"userId", JSON_STRING, true},
    {"projectId", JSON_STRING, true},
    {"workspaceId", JSON_STRING, true},
    {"prompt", JSON_STRING, false},
    {"engine", JSON_STRING, true},
    {"commands", JSON_ARRAY, false},
    {"model", JSON_STRING, false},
    {"dialect", JSON_STRING, false},
    {"instructions", JSON_STRING, false},
    {"threadId", JSON_STRING, false},
    {"limits", JSON_OBJECT, false},
    {"timeoutMs", JSON_INT, true},
    {"sandboxProfile", JSON_ANY, false}, /* a name, or an OCI profile */
    {"artifacts", JSON_ARRAY, false},
    {"events", JSON_ARRAY, true},
};

static const struct json_field limit_fields[] = {
    {"maxSteps", JSON_INT, false},
    {"maxTokens", JSON_INT, false},
};

static const char *const engine_names[] = {"shell", "codex", "claude", "opencode", "builtin", "auto"};

static const struct json_field command_fields[] = {
    {"argv", JSON_ARRAY, true},
    {"shell", JSON_BOOL, false},
    {"timeoutMs", JSON_INT, false},
    {"cwd", JSON_STRING, false},
};

static int get_uuid(const cJSON *obj, const char *name, char ret[UUID_LEN + 1], struct arp_err *err)
{
    const char *s = json_get_str(obj, name);
    if (!uuid_ok(s))
        return arp_fail_field(err, name, "%s must be a lower-case UUID", name);
    memcpy(ret, s, UUID_LEN + 1);
    return 0;
}

static int get_timeout(const cJSON *obj, int64_t fallback, int64_t *ret, struct arp_err *err)
{
    *ret = json_get_int(obj, "timeoutMs", fallback);
    if (*ret < 1 || *ret > LIMIT_RUN_TIMEOUT_MS)
        return arp_fail_field(err, "timeoutMs", "timeoutMs must be 1 to %lld", LIMIT_RUN_TIMEOUT_MS);
    return 0;
}

/* What could not be recorded is refused here: text and argv both go into one event line. In each a byte is up to 6 characters (of a quote in text, which
 * becomes four bytes, 5 in all), an argument 3 more (two quotes, and a comma or blank); a bare shell text has "/bin/sh", "-c" before it. Beside them
 * two captures, and the fixed fields with cwd. */
_Static_assert(
    2 * (6 * (LIMIT_ARGV_BYTES + 16) + 3 * (LIMIT_ARGV_ITEMS + 2)) + 2 * 6 * LIMIT_CAPTURE_HEAD + 16384 <=
        LIMIT_LINE,
    "every command that is taken fits into a line");

/* A relative path of plain components: not empty, no "..", no "." but alone, no empty component, no control characters. */
static bool path_ok(const char *s)
{
    if (strcmp(s, ".") == 0)
        return true;
    if (strlen(s) >= 1024)
        return false;
    for (;;) {
        size_t n = strcspn(s, "/");
        if (n == 0 || n > 255 || (n == 1 && s[0] == '.') || (n == 2 && s[0] == '.' && s[1] == '.'))
            return false;
        for (size_t i = 0; i < n; i++) {
            if ((unsigned char)s[i] < 0x20 || s[i] == 0x7f)
                return false;
        }
        if (!s[n])
            return true;
        s += n + 1;
    }
}

int command_make_text(struct command *c, size_t text_at, struct arp_err *err)
{
    struct buf text;
    buf_init(&text, 4 * LIMIT_ARGV_BYTES + 4 * LIMIT_ARGV_ITEMS);
    if (text_at > 0)
        buf_append_str(&text, c->argv[text_at]);
    else
        shellwords_quote(&text, c->argv, c->argc);
    int rc = buf_error(&text, err);
    c->text = rc ? NULL : (text.data ? buf_steal(&text) : strdup(""));
    buf_done(&text);
    return rc || c->text ? rc : arp_fail(err, ARP_E_NOMEM, 0, "command text");
}

/* All of a command, copied; command_done also after an error. */
static int fill_command(struct command *c, const char *const *argv, size_t argc, bool shell, const char *cwd,
    int64_t timeout_ms, struct arp_err *err)
{
    *c = (struct command){.argv = calloc(argc + 1, sizeof(char *)),
        .shell = shell,
        .cwd = strdup(cwd),
        .timeout_ms = timeout_ms};
    bool whole = c->argv && c->cwd;
    for (; whole && c->argc < argc; c->argc++) {
        c->argv[c->argc] = strdup(argv[c->argc]);
        whole = c->argv[c->argc] != NULL;
    }
    return whole ? command_make_text(c, shell ? 2 : 0, err) : arp_fail(err, ARP_E_NOMEM, 0, "command");
}

/* argv and what shell it means, checked. ret borrows; *ret_argc: of it. */
static int parse_argv(const cJSON *argv, bool shell, const char *ret[LIMIT_ARGV_ITEMS + 2], size_t *ret_argc,
    struct arp_err *err)
{
    int n = cJSON_GetArraySize(argv);
    size_t argc = 0, bytes = 0;
    if (n < 1 || n > LIMIT_ARGV_ITEMS)
        return arp_fail_field(err, "argv", "argv must have 1 to %d items", LIMIT_ARGV_ITEMS);
    if (shell && n == 1) {
        ret[argc++] = "/bin/sh";
        ret[argc++] = "-c";
    }
    const cJSON *item;
    cJSON_ArrayForEach(item, argv)
    {
        if (!cJSON_IsString(item))
            return arp_fail_field(err, "argv", "argv items must be strings");
        bytes += strlen(item->valuestring) + 1;
        if (bytes > LIMIT_ARGV_BYTES)
            return arp_fail_field(err, "argv", "argv is over %u bytes", LIMIT_ARGV_BYTES);
        ret[argc++] = item->valuestring;
    }
    if (!ret[0][0])
        return arp_fail_field(err, "argv", "argv[0] must not be empty");
    bool is_sh = strcmp(ret[0], "sh") == 0 || strcmp(ret[0], "/bin/sh") == 0;
    if (shell && (argc != 3 || !is_sh || strcmp(ret[1], "-c") != 0))
        return arp_fail_field(err, "argv", "a shell command is [text] or [\"sh\",\"-c\",text]");
    *ret_argc = argc;
    return 0;
}

static int parse_command(const cJSON *obj, int64_t run_timeout_ms, struct command *c, struct arp_err *err)
{
    const char *argv[LIMIT_ARGV_ITEMS + 2];
    size_t argc = 0;
    int64_t timeout_ms = 0;
    int rc = json_check_object(obj, command_fields, COUNT(command_fields), "commands", err);
    if (rc)
        return rc;
    bool shell = json_get_bool(obj, "shell", false);
    rc = parse_argv(cJSON_GetObjectItemCaseSensitive(obj, "argv"), shell, argv, &argc, err);
    if (rc == 0)
        rc = get_timeout(obj, run_timeout_ms, &timeout_ms, err);
    if (rc)
        return rc;
    const char *cwd = json_get_str(obj, "cwd");
    if (cwd && !path_ok(cwd))
        return arp_fail_field(err, "cwd", "cwd must be a path beneath the repository");
    return fill_command(c, argv, argc, shell, cwd ? cwd : ".", timeout_ms, err);
}

static int parse_commands(const cJSON *list, struct run_request *r, struct arp_err *err)
{
    int n = cJSON_GetArraySize(list);
    if (n > LIMIT_COMMANDS)
        return arp_fail_field(err, "commands", "more than %d commands", LIMIT_COMMANDS);
    r->commands = calloc((size_t)n + 1, sizeof(struct command));
    if (!r->commands)
        return arp_fail(err, ARP_E_NOMEM, 0, "commands");
    const cJSON *item;
    cJSON_ArrayForEach(item, list)
    {
        int rc = parse_command(item, r->timeout_ms, &r->commands[r->command_count++], err);
        if (rc)
            return arp_wrap(err, "command %zu", r->command_count - 1);
    }
    return 0;
}

static int get_engine(const cJSON *body, const char **ret, struct arp_err *err)
{
    const char *name = json_get_str(body, "engine");
    for (size_t i = 0; i < COUNT(engine_names); i++) {
        if (strcmp(name, engine_names[i]) == 0) {
            *ret = engine_names[i];
            return 0;
        }
    }
    return arp_fail_field(err, "engine", "this agent has no engine '%.32s'", name);
}

/* A copy of an optional text of at most max bytes; NULL when it is not there or empty. */
static int copy_text(const cJSON *body, const char *name, size_t max, char **ret, struct arp_err *err)
{
    const char *s = json_get_str(body, name);
    if (!s || !*s)
        return 0;
    if (strlen(s) > max)
        return arp_fail_field(err, name, "%s is over %zu bytes", name, max);
    *ret = strdup(s);
    return *ret ? 0 : arp_fail(err, ARP_E_NOMEM, 0, "%s", name);
}

static int parse_dialect(const cJSON *body, struct run_request *r, struct arp_err *err)
{
    const char *name = json_get_str(body, "dialect");
    if (!name)
        return 0;
    r->has_dialect = model_dialect_of(name, &r->dialect) && r->dialect != MODEL_GEMINI;
    return r->has_dialect ? 0 : arp_fail_field(err, "dialect", "no engine speaks the dialect '%.32s'", name);
}

static int parse_limits(const cJSON *limits, struct run_request *r, struct arp_err *err)
{
    if (!limits || cJSON_IsNull(limits))
        return 0;
    int rc = json_check_object(limits, limit_fields, COUNT(limit_fields), "limits", err);
    if (rc)
        return rc;
    r->max_steps = json_get_int(limits, "maxSteps", 0);
    r->max_tokens = json_get_int(limits, "maxTokens", 0);
    if (r->max_steps < 0 || r->max_steps > MODEL_STEPS_MAX)
        return arp_fail_field(err, "limits.maxSteps", "maxSteps must be 0 to %d", MODEL_STEPS_MAX);
    if (r->max_tokens < 0 || r->max_tokens > MODEL_TOKENS_MAX)
        return arp_fail_field(err, "limits.maxTokens", "maxTokens must be 0 to %lld", MODEL_TOKENS_MAX);
    return 0;
}

/* What the engine works from: commands for shell, a prompt for the others. */
static int parse_work(const cJSON *body, struct run_request *r, struct arp_err *err)
{
    const cJSON *commands = cJSON_GetObjectItemCaseSensitive(body, "commands");
    bool has_commands = commands && !cJSON_IsNull(commands);
    bool is_shell = strcmp(r->engine, "shell") == 0;
    if (has_commands != is_shell)
        return arp_fail_field(err, "commands", "commands are for the engine 'shell' alone, which needs them");
    int rc = is_shell ? parse_commands(commands, r, err) : 0;
    if (rc || is_shell)
        return rc;
    rc = copy_text(body, "prompt", LIMIT_PROMPT, &r->prompt, err);
    if (rc == 0 && !r->prompt)
        rc = arp_fail_field(err, "prompt", "the engine '%s' needs a prompt", r->engine);
    if (rc == 0)
        rc = copy_text(body, "model", MODEL_NAME_MAX, &r->model, err);
    if (rc == 0 && r->model && !model_name_ok(r->model))
        rc = arp_fail_field(err, "model", "model is no name that an engine can be given");
    if (rc == 0)
        rc = copy_text(body, "instructions", LIMIT_INSTRUCTIONS, &r->instructions, err);
    if (rc == 0)
        rc = copy_text(body, "threadId", MODEL_THREAD_MAX, &r->thread_id, err);
    if (rc == 0 && r->thread_id && !model_thread_ok(r->thread_id))
        rc = arp_fail_field(err, "threadId", "threadId is not one that an engine gave");
    if (rc == 0)
        rc = parse_dialect(body, r, err);
    return rc ? rc : parse_limits(cJSON_GetObjectItemCaseSensitive(body, "limits"), r, err);
}

/* Only the form that names everything below one directory; wider patterns are refused, not half understood. */
static int parse_patterns(const cJSON *list, struct run_request *r, struct arp_err *err)
{
    const cJSON *item;
    cJSON_ArrayForEach(item, list)
    {
        const char *s = cJSON_IsString(item) ? item->valuestring : "";
        size_t n = strlen(s);
        char *dir = n > 3 && strcmp(s + n - 3, "/**") == 0 ? strndup(s, n - 3) : NULL;
        if (!dir || !path_ok(dir) || r->artifact_dir_count == REQUEST_PATTERNS_MAX) {
            free(dir);
            return arp_fail_field(err, "artifacts", "artifacts are at most %d patterns of the form DIR/**",
                REQUEST_PATTERNS_MAX);
        }
        r->artifact_dirs[r->artifact_dir_count++] = dir;
    }
    return 0;
}

static int parse_events(const cJSON *list, struct run_request *r, struct arp_err *err)
{
    chain_init(&r->chain, r->run_id, "events.jsonl");
    const cJSON *item;
    cJSON_ArrayForEach(item, list)
    {
        if (!cJSON_IsString(item))
            return arp_fail_field(err, "events", "events must be strings");
        size_t len = strlen(item->valuestring);
        bool first = r->chain.next_seq == 0;
        cleanup_event_info struct event_info info = {0};
        int rc = event_check(item->valuestring, len, r->run_id, &r->chain, &info, err);
        if (rc) {
            struct arp_err why = *err;
            return arp_fail_field(err, "events", "events: %s", why.msg);
        }
        if (first != (info.type == EVENT_RUN_STARTED) || info.type == EVENT_RUN_COMPLETED)
            return arp_fail_field(err, "events", "events must begin with the one RunStarted and be open");
        buf_append(&r->prefix, item->valuestring, len);
        buf_append_char(&r->prefix, '\n');
    }
    if (r->chain.next_seq == 0)
        return arp_fail_field(err, "events", "events must begin with RunStarted");
    return buf_error(&r->prefix, err);
}

static int parse_body(const cJSON *body, struct run_request *r, struct arp_err *err)
{
    int rc = json_check_object(body, body_fields, COUNT(body_fields), "", err);
    if (rc)
        return rc;
    if (json_get_int(body, "v", 0) != 1)
        return arp_fail_field(err, "v", "v must be 1");
    rc = get_engine(body, &r->engine, err);
    if (rc == 0)
        rc = get_uuid(body, "runId", r->run_id, err);
    if (rc == 0)
        rc = get_uuid(body, "userId", r->user_id, err);
    if (rc == 0)
        rc = get_uuid(body, "projectId", r->project_id, err);
    if (rc == 0)
        rc = get_uuid(body, "workspaceId", r->workspace_id, err);
    if (rc == 0)
        rc = get_timeout(body, 0, &r->timeout_ms, err);
    /* A custom profile stands beside the default one; it is kept as the text it means, whatever way it was written. */
    const cJSON *profile = cJSON_GetObjectItemCaseSensitive(body, "sandboxProfile");
    const char *name = cJSON_GetStringValue(profile);
    if (rc == 0 && (name || !profile || cJSON_IsNull(profile)))
        rc = seccomp_profile_of(name ? name : "default", &r->profile, err);
    else if (rc == 0)
        rc = oci_profile_canonical(profile, "sandboxProfile", &r->profile_json, r->profile_sha256, err);
    if (rc == 0)
        rc = parse_work(body, r, err);
    if (rc == 0)
        rc = parse_patterns(cJSON_GetObjectItemCaseSensitive(body, "artifacts"), r, err);
    return rc ? rc : parse_events(cJSON_GetObjectItemCaseSensitive(body, "events"), r, err);
}

int request_parse(const char *body, size_t len, struct run_request **ret, struct arp_err *err)
{
    cleanup_cjson cJSON *json = NULL;
    int rc = json_parse(body, len, &json, err);
    if (rc)
        return rc;
    cleanup_request struct run_request *r = calloc(1, sizeof(*r));
    if (!r)
        return arp_fail(err, ARP_E_NOMEM, 0, "request");
    buf_init(&r->prefix, REQUEST_BODY_MAX);
    rc = parse_body(json, r, err);
    if (rc)
        return rc;
    *ret = r;
    r = NULL;
    return 0;
}

int command_init(struct command *c, const char *const *argv, size_t argc, bool shell, int64_t timeout_ms,
    struct arp_err *err)
{
    size_t bytes = 0;
    for (size_t i = 0; i < argc; i++)
        bytes += strlen(argv[i]) + 1;
    *c = (struct command){0};
    if (argc > LIMIT_ARGV_ITEMS || bytes > LIMIT_ARGV_BYTES)
        return arp_fail_field(err, "argv", "argv is over %u bytes", LIMIT_ARGV_BYTES);
    return fill_command(c, argv, argc, shell, ".", timeout_ms, err);
}

void command_done(struct command *c)
{
    for (size_t k = 0; c->argv && k < c->argc; k++)
        free(c->argv[k]);
    free(c->argv);
    free(c->text);
    free(c->cwd);
    *c = (struct command){0};
}

void request_free(struct run_request *r)
{
    if (!r)
        return;
    for (size_t i = 0; i < r->command_count; i++)
        command_done(&r->commands[i]);
    free(r->commands);
    for (size_t i = 0; i < r->artifact_dir_count; i++)
        free(r->artifact_dirs[i]);
    free(r->profile_json);
    free(r->prompt);
    free(r->model);
    free(r->instructions);
    free(r->thread_id);
    buf_done(&r->prefix);
    free(r);
}
