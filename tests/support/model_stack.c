/*
 * A stack whose runs call a model: see model_stack.h.
 */
#include "tests/support/model_stack.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shared/buf.h"
#include "tests/support/docker.h"
#include "tests/support/pg.h"

#define SECRETS_KEY "ARP_SECRETS_KEY=000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
#define ENV_MAX     32

const char *model_engine_version(const char *engine)
{
    static char version[64];
    char line[1024], name[64];
    FILE *f = fopen("images/engines.txt", "r");
    version[0] = '\0';
    while (f && !version[0] && fgets(line, sizeof(line), f)) {
        if (sscanf(line, "%63s %63s", name, version) != 2 || strcmp(name, engine) != 0)
            version[0] = '\0';
    }
    if (f)
        fclose(f);
    return version;
}

const char *model_codex_image(void)
{
    static char image[128];
    const char *given = getenv("ARP_TEST_CODEX_IMAGE");
    snprintf(image, sizeof(image), "arp-workspace-codex:%s", model_engine_version("codex"));
    return given ? given : image;
}

bool model_image(const char *tag, const char *engine, const char *program)
{
    char dir[128], to[192], id[80];
    snprintf(dir, sizeof(dir), "%s/engines", temp_dir());
    snprintf(to, sizeof(to), "%s/%s/bin/%s", dir, engine, engine);
    if (RUN_ARGV(NULL, NULL, "install", "-D", "-m", "0755", helper_path(program), to) != 0)
        return false;
    const char *made = DOCKER("create", "--network", "none", docker_image());
    snprintf(id, sizeof(id), "%s", made ? made : "");
    snprintf(to, sizeof(to), "%s:/opt/arp/engines", id);
    bool ok = made && DOCKER("cp", dir, to) && DOCKER("commit", id, tag);
    return made && DOCKER("rm", id) && ok;
}

struct stack *model_stack_start(const char *image, const char *const *env)
{
    char setting[300];
    const char *all[ENV_MAX] = {SECRETS_KEY, "ARP_PROVIDER_HTTP=loopback", NULL};
    size_t n = 2;
    if (image) {
        snprintf(setting, sizeof(setting), "WORKSPACE_IMAGE=%s", image);
        all[n++] = setting;
    }
    for (; env && *env && n < ENV_MAX - 1; env++)
        all[n++] = *env;
    all[n] = NULL;
    return stack_start(all);
}

/* Put the members of {more} into o, in place of those it has. */
static bool add_members(cJSON *o, const char *more)
{
    char text[4096];
    if (!more)
        return true;
    snprintf(text, sizeof(text), "{%s}", more);
    cJSON *members = cJSON_Parse(text);
    if (!members)
        fprintf(stderr, "no members: %s\n", more);
    bool ok = members != NULL;
    while (members && members->child) {
        cJSON *m = cJSON_DetachItemViaPointer(members, members->child);
        cJSON_DeleteItemFromObjectCaseSensitive(o, m->string);
        cJSON_AddItemToObject(o, m->string, m);
    }
    cJSON_Delete(members);
    return ok;
}

long model_provider(const struct stack *s, const struct tenant *t, const char *name, const struct provider *p,
    const char *key, const char *more)
{
    char path[200];
    struct reply r = {0};
    cJSON *o = cJSON_Parse("{\"dialects\":[\"responses\",\"chat\",\"messages\",\"gemini\"],\"auth\":"
                           "\"bearer\",\"record\":\"full\"}");
    cJSON_AddStringToObject(o, "baseUrl", provider_url(p));
    cJSON_AddStringToObject(o, "apiKey", key);
    bool ok = add_members(o, more);
    char *body = cJSON_PrintUnformatted(o);
    snprintf(path, sizeof(path), "/providers/%s", name);
    long status = ok ? stack_call(s, t->key, "PUT", path, body, &r) : 0;
    if (status != 200 && status != 201)
        fprintf(stderr, "PUT %s: %ld %s\n", path, status, r.body ? r.body : "");
    if (status && r.body && strstr(r.body, key)) {
        fprintf(stderr, "PUT %s tells the key\n", path);
        status = 0;
    }
    free(body);
    cJSON_Delete(o);
    reply_done(&r);
    return status;
}

/* The body of a message (free()); NULL when more is no list of members. */
static char *message_body(const char *engine, const char *prompt, const char *more)
{
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "engine", engine);
    cJSON_AddStringToObject(o, "prompt", prompt);
    cJSON_AddStringToObject(o, "provider", "main");
    char *body = add_members(o, more) ? cJSON_PrintUnformatted(o) : NULL;
    cJSON_Delete(o);
    return body;
}

long model_run(const struct stack *s, const struct tenant *t, const char *engine, const char *prompt,
    const char *more, struct reply *ret)
{
    char *body = message_body(engine, prompt, more);
    long status = body ? run_post(s, t, body, ret) : 0;
    if (status != 200)
        fprintf(stderr, "POST message: %ld %s\n", status, ret->body ? ret->body : "");
    free(body);
    return status;
}

bool model_begin(const struct stack *s, const struct tenant *t, const char *engine, const char *prompt,
    const char *more, char *ret_id)
{
    char *body = message_body(engine, prompt, more);
    bool ok = body && run_begin(s, t, body, ret_id);
    free(body);
    return ok;
}

/* --- records --------------------------------------------------------------------------------------------------------------------- */

bool model_record_open(
    const struct stack *s, const struct tenant *t, const char *run_id, struct model_record *ret)
{
    *ret = (struct model_record){0};
    if (!run_id || !record_open(s, t, run_id, &ret->rec))
        return false;
    char *text = read_text(ret->rec.dir, "reconciliation.json");
    ret->reconciliation = text ? cJSON_Parse(text) : NULL;
    free(text);
    bool ok = jsonl_read(ret->rec.dir, "model_log.jsonl", &ret->calls);
    if (!ok || !ret->reconciliation)
        fprintf(stderr, "run %s: model_log.jsonl or reconciliation.json is not what it should be\n", run_id);
    ok = ok && ret->reconciliation && jsonl_chain_ok(&ret->calls, run_id, "model_log.jsonl");
    ok = ok && jsonl_chain_ok(&ret->rec.events, run_id, "events.jsonl");
    return ok && arpctl_verify(ret->rec.zip, keyring_file(s), NULL) == 0;
}

void model_record_done(struct model_record *r)
{
    record_done(&r->rec);
    jsonl_done(&r->calls);
    cJSON_Delete(r->reconciliation);
    *r = (struct model_record){0};
}

size_t model_events(const struct model_record *r, const char *type)
{
    return r->rec.events.n - jsonl_count_but(&r->rec.events, type);
}

const cJSON *model_command(const struct model_record *r, const char *command)
{
    for (size_t i = 0; i < r->rec.commands.n; i++) {
        const char *is = str_at(r->rec.commands.obj[i], "command");
        if (is && strcmp(is, command) == 0)
            return r->rec.commands.obj[i];
    }
    return NULL;
}

char *model_tokens(const struct model_record *r)
{
    struct buf b;
    const cJSON *e;
    buf_init(&b, 64u << 20);
    for (size_t i = 0; (e = jsonl_find(&r->rec.events, "RunToken", i)) != NULL; i++)
        buf_append_str(&b, str_at(e, "delta") ? str_at(e, "delta") : "");
    return b.data ? buf_steal(&b) : strdup("");
}

/* --- looking for a text ----------------------------------------------------------------------------------------------------------- */

/* True when no file beneath path has text. */
static bool files_lack(const char *path, const char *text)
{
    char *out = NULL;
    int code = RUN_ARGV(NULL, &out, "grep", "-rlaF", "-e", text, path);
    if (code != 1)
        fprintf(stderr, "the text is in (grep: %d):\n%s\n", code, out ? out : "");
    free(out);
    return code == 1;
}

static bool text_lacks(const char *what, const char *text, const char *in)
{
    if (!in || strstr(in, text))
        fprintf(stderr, "%s %s\n", what, in ? "has the text" : "can't be read");
    return in && !strstr(in, text);
}

/* As root in it; the script names no text, so the search itself is not found. */
bool model_container_lacks(const struct tenant *t, const char *text)
{
    static const char script[] = "cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' "
                                 "'\\n'; ls -l /proc/[0-9]*/fd 2>/dev/null;"
                                 " find /workspace /run /tmp /home /root /etc /var -xdev -type f -exec cat "
                                 "{} + 2>/dev/null | tr '\\0' '\\n'";
    bool ok =
        text_lacks("the container's definition", text, DOCKER("inspect", docker_container(t->workspace_id)));
    return text_lacks("the container", text, DOCKER_EXEC(t->workspace_id, "/bin/sh", "-c", script)) && ok;
}

static bool answer_lacks(const struct stack *s, const struct tenant *t, const char *path, const char *text)
{
    struct reply r = {0};
    bool ok = stack_call(s, t->key, "GET", path, NULL, &r) == 200 && text_lacks(path, text, r.body);
    if (r.status != 200)
        fprintf(stderr, "GET %s: %ld\n", path, r.status);
    reply_done(&r);
    return ok;
}

static bool api_lacks(const struct stack *s, const struct tenant *t, const char *run_id, const char *text)
{
    static const char *const tails[] = {"", "/events", "/custody"};
    char path[128];
    bool ok = answer_lacks(s, t, "/providers", text);
    ok = answer_lacks(s, t, "/providers/main", text) && ok;
    for (size_t i = 0; i < sizeof(tails) / sizeof(tails[0]); i++) {
        snprintf(path, sizeof(path), "/runs/%s%s", run_id, tails[i]);
        ok = answer_lacks(s, t, path, text) && ok;
    }
    return ok;
}

bool model_is_nowhere(
    const struct stack *s, const struct tenant *t, const struct model_record *r, const char *text)
{
    char sql[512];
    char *log = stack_log(s);
    snprintf(sql, sizeof(sql), "SELECT position('%s' in database_to_xml(true, false, '')::text)", text);
    const char *found = pg_sql(sql);
    bool ok = found && strcmp(found, "0") == 0;
    if (!ok)
        fprintf(stderr, "the database has the text\n");
    ok = files_lack(r->rec.dir, text) && ok;
    ok = files_lack(stack_evidence_root(s), text) && ok;
    ok = files_lack(stack_state_dir(s), text) && ok;
    ok = text_lacks("the log", text, log) && ok;
    ok = api_lacks(s, t, r->rec.run_id, text) && ok;
    ok = model_container_lacks(t, text) && ok;
    free(log);
    return ok;
}
