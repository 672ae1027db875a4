/*
 * Codex: OpenAI's CLI by "codex exec --json", tried out with 0.169. ARP is its sandbox, the relay its only provider; what it does besides
 * (updates, plugins, telemetry, memories, hosted tools) is switched off, so that nothing but the run's own calls is asked for.
 * Its events: thread.started, item.* and turn.completed or turn.failed; lines of type "error" are reports of a retry, not an end.
 */
#include <string.h>

#include "agent/engine.intern.h"

/* A model of its catalogue: for others it has no tool for edits. The provider's own name comes from the gateway's map. */
#define DEFAULT_MODEL "gpt-5.5"

static const char *const programs[] = {
    "/opt/arp/engines/codex/bin/codex", "/usr/local/bin/codex", "/usr/bin/codex", NULL};

static const char fixed_config[] =
    "model_provider = \"arp\"\n"
    "approval_policy = \"never\"\n"
    "sandbox_mode = \"danger-full-access\"\n"
    "check_for_update_on_startup = false\n"
    "web_search = \"disabled\"\n"
    "allow_login_shell = false\n"
    "history.persistence = \"none\"\n"
    "analytics.enabled = false\n"
    "feedback.enabled = false\n"
    "agents.enabled = false\n"
    "skills.bundled.enabled = false\n"
    "features = { apps = false, plugins = false, remote_plugin = false, goals = false, image_generation = "
    "false, "
    "tool_suggest = false, memories = false, shell_snapshot = false, skill_search = false, hooks = false, "
    "code_mode_host = false }\n"
    "shell_environment_policy.inherit = \"core\"\n";

/* The relay is one attempt each: the gateway retries, so that one call is one record. */
static const char provider_config[] = "[model_providers.arp]\n"
                                      "name = \"arp\"\n"
                                      "wire_api = \"responses\"\n"
                                      "env_key = \"" ENGINE_BEARER_VAR "\"\n"
                                      "request_max_retries = 0\n"
                                      "stream_max_retries = 1\n"
                                      "stream_idle_timeout_ms = 300000\n";

/* A JSON string is a TOML basic string. */
static void put_text(struct buf *out, const char *key, const char *value)
{
    struct json j;
    buf_printf(out, "%s = ", key);
    json_init(&j, out);
    json_str(&j, value);
    buf_append_char(out, '\n');
}

/* config.toml. Commands get the core of the environment, hence not the bearer, and what belongs to it. */
static int put_config(const struct engine_context *c, struct arp_err *err)
{
    cleanup_buf struct buf text;
    buf_init(&text, 6 * LIMIT_INSTRUCTIONS + 16384);
    put_text(&text, "model", c->req->model ? c->req->model : DEFAULT_MODEL);
    if (c->req->instructions)
        put_text(&text, "developer_instructions", c->req->instructions);
    buf_append_str(&text, fixed_config);
    put_text(&text, "shell_environment_policy.set.LANG", "C.UTF-8");
    put_text(&text, "shell_environment_policy.set.PYTHONDONTWRITEBYTECODE", "1");
    buf_append_str(&text, provider_config);
    buf_printf(&text, "base_url = \"http://127.0.0.1:%u/v1\"\n", c->port);
    int rc = buf_error(&text, err);
    return rc ? rc : engine_put_file(c, "config.toml", &text, err);
}

static int prepare(const struct engine_context *c, struct engine_start *ret, struct arp_err *err)
{
    const char *thread = c->req->thread_id;
    const char *const fresh[] = {
        c->info->path, "exec", "--json", "--skip-git-repo-check", "-C", c->repo, "-", NULL};
    /* It has no -C: the working directory is the command's own. */
    const char *const resumed[] = {
        c->info->path, "exec", "resume", "--json", "--skip-git-repo-check", thread, "-", NULL};
    int rc = put_config(c, err);
    for (const char *const *arg = thread ? resumed : fresh; rc == 0 && *arg; arg++)
        rc = engine_add_arg(ret, *arg, err);
    if (rc == 0)
        rc = engine_add_var(ret, "CODEX_HOME", c->home, err);
    if (rc == 0)
        rc = engine_add_var(ret, ENGINE_BEARER_VAR, c->bearer, err);
    return rc ? rc : engine_set_input(ret, c->req, false, err);
}

static void read_line(struct engine_story *s, const char *line, size_t len)
{
    cleanup_cjson cJSON *o = engine_parse_line(line, len);
    const char *type = json_get_str(o, "type");
    if (!type)
        return;
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(o, "item");
    const char *kind = json_get_str(item, "type");
    if (strcmp(type, "thread.started") == 0) {
        engine_tell_thread(s, json_get_str(o, "thread_id"));
    } else if (strcmp(type, "item.completed") == 0 && kind && strcmp(kind, "agent_message") == 0) {
        engine_tell_text(s, json_get_str(item, "text"));
    } else if (strcmp(type, "turn.completed") == 0) {
        engine_tell_end(s, false, NULL);
    } else if (strcmp(type, "turn.failed") == 0) {
        const cJSON *error = cJSON_GetObjectItemCaseSensitive(o, "error");
        engine_tell_end(s, true, json_get_str(error, "message"));
    }
}

const struct engine engine_codex = {
    .name = "codex", .dialect = MODEL_RESPONSES, .programs = programs, .prepare = prepare, .line = read_line};
