/*
 * Claude: Anthropic's CLI by "claude -p --output-format stream-json", tried out with 2.1. Proprietary: images bring it, ARP ships none.
 * Its lines: system/init with the session's id, assistant and user messages, and one of type "result" at the end.
 */
#include <stdio.h>
#include <string.h>

#include "agent/engine.intern.h"

static const char *const programs[] = {
    "/opt/arp/engines/claude/bin/claude", "/usr/local/bin/claude", "/usr/bin/claude", NULL};

static int add_vars(const struct engine_context *c, struct engine_start *ret, struct arp_err *err)
{
    char url[64];
    snprintf(url, sizeof(url), "http://127.0.0.1:%u", c->port);
    const char *const vars[][2] = {{"CLAUDE_CONFIG_DIR", c->home}, {"ANTHROPIC_BASE_URL", url},
        {"ANTHROPIC_API_KEY", c->bearer}, {"CLAUDE_CODE_SHELL", c->shell},
        {"CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1"}, {"DISABLE_AUTOUPDATER", "1"}};
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < sizeof(vars) / sizeof(vars[0]); i++)
        rc = engine_add_var(ret, vars[i][0], vars[i][1], err);
    return rc;
}

static int prepare(const struct engine_context *c, struct engine_start *ret, struct arp_err *err)
{
    const char *const fixed[] = {c->info->path, "--bare", "-p", "--output-format", "stream-json", "--verbose",
        "--permission-mode", "bypassPermissions", NULL};
    int rc = 0;
    for (const char *const *arg = fixed; rc == 0 && *arg; arg++)
        rc = engine_add_arg(ret, *arg, err);
    const char *const options[][2] = {{"--model", c->req->model}, {"--resume", c->req->thread_id}};
    for (size_t i = 0; rc == 0 && i < 2; i++) {
        if (!options[i][1])
            continue;
        rc = engine_add_arg(ret, options[i][0], err);
        if (rc == 0)
            rc = engine_add_arg(ret, options[i][1], err);
    }
    if (rc == 0)
        rc = add_vars(c, ret, err);
    return rc ? rc : engine_set_input(ret, c->req, true, err);
}

/* The text blocks of an assistant's message, the last of which stands until the result comes. */
static void read_message(struct engine_story *s, const cJSON *message)
{
    const cJSON *block;
    cJSON_ArrayForEach(block, cJSON_GetObjectItemCaseSensitive(message, "content"))
    {
        const char *type = json_get_str(block, "type");
        if (type && strcmp(type, "text") == 0)
            engine_tell_text(s, json_get_str(block, "text"));
    }
}

static void read_result(struct engine_story *s, const cJSON *o)
{
    const char *text = json_get_str(o, "result");
    bool failed = json_get_bool(o, "is_error", false);
    if (!failed)
        engine_tell_text(s, text);
    engine_tell_end(s, failed, failed ? (text ? text : json_get_str(o, "subtype")) : NULL);
}

static void read_line(struct engine_story *s, const char *line, size_t len)
{
    cleanup_cjson cJSON *o = engine_parse_line(line, len);
    const char *type = json_get_str(o, "type");
    if (!type)
        return;
    if (strcmp(type, "system") == 0 || strcmp(type, "result") == 0)
        engine_tell_thread(s, json_get_str(o, "session_id"));
    if (strcmp(type, "assistant") == 0)
        read_message(s, cJSON_GetObjectItemCaseSensitive(o, "message"));
    else if (strcmp(type, "result") == 0)
        read_result(s, o);
}

const struct engine engine_claude = {
    .name = "claude", .dialect = MODEL_MESSAGES, .programs = programs, .prepare = prepare, .line = read_line};
