/*
 * opencode: "opencode run --format json", tried out with 1.18. Its lines carry the session's id; text and step_finish parts tell the answer and
 * that a step is over; it tells its end by ending.
 */
#include <stdio.h>
#include <string.h>

#include "agent/engine.intern.h"

/* The name behind "arp/" when the request has none: the gateway's map knows what it stands for. */
#define DEFAULT_MODEL "default"

static const char *const programs[] = {
    "/opt/arp/engines/opencode/bin/opencode", "/usr/local/bin/opencode", "/usr/bin/opencode", NULL};

static void put_provider(const struct engine_context *c, struct json *j, const char *model)
{
    char url[64];
    snprintf(url, sizeof(url), "http://127.0.0.1:%u/v1", c->port);
    json_key(j, "provider");
    json_obj_open(j);
    json_key(j, "arp");
    json_obj_open(j);
    json_kstr(j, "npm", "@ai-sdk/openai-compatible"); /* comes with it */
    json_kstr(j, "name", "arp");
    json_key(j, "options");
    json_obj_open(j);
    json_kstr(j, "baseURL", url);
    json_kstr(j, "apiKey", "{env:" ENGINE_BEARER_VAR "}");
    json_obj_close(j);
    json_key(j, "models");
    json_obj_open(j);
    json_key(j, model);
    json_obj_open(j);
    json_kstr(j, "name", model);
    json_obj_close(j);
    json_obj_close(j);
    json_obj_close(j);
    json_obj_close(j);
}

static int put_config(const struct engine_context *c, const char *model, struct arp_err *err)
{
    char full[MODEL_NAME_MAX + 8];
    struct json j;
    cleanup_buf struct buf text;
    buf_init(&text, 16384);
    snprintf(full, sizeof(full), "arp/%s", model);
    json_init(&j, &text);
    json_obj_open(&j);
    json_kstr(&j, "model", full);
    json_kstr(&j, "small_model", full);
    json_kbool(&j, "autoupdate", false);
    json_kstr(&j, "share", "disabled");
    json_kraw(&j, "permission", "{\"edit\":\"allow\",\"bash\":\"allow\",\"webfetch\":\"deny\"}");
    put_provider(c, &j, model);
    json_obj_close(&j);
    int rc = buf_error(&text, err);
    return rc ? rc : engine_put_file(c, "opencode.json", &text, err);
}

/* All it keeps lies beneath the home, so that a conversation can go on after the container is gone. */
static int add_vars(const struct engine_context *c, struct engine_start *ret, struct arp_err *err)
{
    static const struct {
        const char *name, *below;
    } dirs[] = {{"OPENCODE_CONFIG", "opencode.json"}, {"XDG_CONFIG_HOME", "config"},
        {"XDG_DATA_HOME", "data"}, {"XDG_STATE_HOME", "state"}, {"XDG_CACHE_HOME", "cache"}};
    static const char *const off[] = {
        "OPENCODE_DISABLE_AUTOUPDATE", "OPENCODE_DISABLE_MODELS_FETCH", "OPENCODE_DISABLE_LSP_DOWNLOAD"};
    char path[1200];
    int rc = engine_add_var(ret, ENGINE_BEARER_VAR, c->bearer, err);
    for (size_t i = 0; rc == 0 && i < sizeof(dirs) / sizeof(dirs[0]); i++) {
        snprintf(path, sizeof(path), "%s/%s", c->home, dirs[i].below);
        rc = engine_add_var(ret, dirs[i].name, path, err);
    }
    for (size_t i = 0; rc == 0 && i < sizeof(off) / sizeof(off[0]); i++)
        rc = engine_add_var(ret, off[i], "1", err);
    return rc;
}

static int prepare(const struct engine_context *c, struct engine_start *ret, struct arp_err *err)
{
    const char *model = c->req->model ? c->req->model : DEFAULT_MODEL;
    const char *const args[] = {
        c->info->path, "run", "--format", "json", c->req->thread_id ? "-s" : NULL, c->req->thread_id, NULL};
    int rc = put_config(c, model, err);
    for (const char *const *arg = args; rc == 0 && *arg; arg++)
        rc = engine_add_arg(ret, *arg, err);
    if (rc == 0)
        rc = add_vars(c, ret, err);
    return rc ? rc : engine_set_input(ret, c->req, true, err);
}

static void read_error(struct engine_story *s, const cJSON *o)
{
    const cJSON *error = cJSON_GetObjectItemCaseSensitive(o, "error");
    const char *message = json_get_str(cJSON_GetObjectItemCaseSensitive(error, "data"), "message");
    engine_tell_end(s, true, message ? message : json_get_str(error, "name"));
}

static void read_line(struct engine_story *s, const char *line, size_t len)
{
    cleanup_cjson cJSON *o = engine_parse_line(line, len);
    const char *type = json_get_str(o, "type");
    if (!type)
        return;
    const cJSON *part = cJSON_GetObjectItemCaseSensitive(o, "part");
    engine_tell_thread(s, json_get_str(o, "sessionID"));
    if (strcmp(type, "text") == 0) {
        engine_tell_text(s, json_get_str(part, "text"));
    } else if (strcmp(type, "error") == 0) {
        read_error(s, o);
    } else if (strcmp(type, "step_finish") == 0) {
        const char *reason = json_get_str(part, "reason");
        if (reason && strcmp(reason, "tool-calls") != 0)
            engine_tell_end(s, false, NULL);
    }
}

const struct engine engine_opencode = {
    .name = "opencode", .dialect = MODEL_CHAT, .programs = programs, .prepare = prepare, .line = read_line};
