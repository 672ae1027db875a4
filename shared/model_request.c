/*
 * A request to a model: see model_request.h.
 */
#include "shared/model_request.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shared/fd.h"
#include "shared/json.h"
#include "shared/model_canonical.h"
#include "shared/words.h"

#define IS(s, word) ((s) && strcmp((s), (word)) == 0)

/* There, and not null. */
static bool has(const cJSON *obj, const char *name)
{
    const cJSON *m = json_member(obj, name);
    return m && !cJSON_IsNull(m);
}

/* The member that holds the conversation. */
static const char *history_name(enum model_dialect d)
{
    static const char *const names[MODEL_DIALECTS] = {"input", "messages", "messages", "contents"};
    return names[d];
}

/* --- tools --- */

static const char *hosted_responses(const cJSON *tools)
{
    static const char *const ours[] = {"function", "custom", "local_shell", "apply_patch"};
    const cJSON *tool;
    cJSON_ArrayForEach(tool, tools)
    {
        const char *type = json_get_str(tool, "type");
        if (IS(type, "namespace")) {
            const char *inner = hosted_responses(json_member(tool, "tools"));
            if (inner)
                return inner;
        } else if (!(IS(type, "tool_search") && IS(json_get_str(tool, "execution"), "client")) &&
                   !WORD_IS_IN(type, ours)) {
            return type ? type : "tools";
        }
    }
    return NULL;
}

static const char *hosted_chat(const cJSON *doc)
{
    /* Searches that OpenAI, xAI and OpenRouter make. */
    static const char *const members[] = {"web_search_options", "search_parameters", "plugins"};
    for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
        if (has(doc, members[i]))
            return members[i];
    }
    const cJSON *tool;
    cJSON_ArrayForEach(tool, json_member(doc, "tools"))
    {
        const char *type = json_get_str(tool, "type");
        if (!IS(type, "function") && !IS(type, "custom"))
            return type ? type : "tools";
    }
    return NULL;
}

static const char *hosted_messages(const cJSON *doc)
{
    /* Anthropic's own tools that the client works off; their names end in a date. */
    static const char *const ours[] = {"bash_", "text_editor_", "computer_", "memory_"};
    if (cJSON_GetArraySize(json_member(doc, "mcp_servers")) > 0)
        return "mcp_servers";
    if (has(doc, "container"))
        return "container";
    const cJSON *tool;
    cJSON_ArrayForEach(tool, json_member(doc, "tools"))
    {
        const char *type = json_get_str(tool, "type");
        bool ok = type ? strcmp(type, "custom") == 0 : !has(tool, "type");
        for (size_t i = 0; type && i < sizeof(ours) / sizeof(ours[0]); i++)
            ok = ok || strncmp(type, ours[i], strlen(ours[i])) == 0;
        if (!ok)
            return type ? type : "tools";
    }
    return NULL;
}

static const char *hosted_gemini(const cJSON *doc)
{
    const cJSON *tool;
    cJSON_ArrayForEach(tool, json_member(doc, "tools"))
    {
        if (!cJSON_IsObject(tool))
            return "tools";
        for (const cJSON *m = tool->child; m; m = m->next) {
            if (strcmp(m->string, "functionDeclarations") != 0 &&
                strcmp(m->string, "function_declarations") != 0)
                return m->string;
        }
    }
    return NULL;
}

/* A tool's own names are not the provider's. */
static bool is_opaque(const cJSON *m)
{
    static const char *const names[] = {
        "input", "args", "arguments", "parameters", "input_schema", "response"};
    return cJSON_IsObject(m) && WORD_IS_IN(m->string, names);
}

/* The member of v by which the provider would fetch something, NULL for none. */
static const char *fetch_of(const cJSON *v)
{
    static const char *const names[] = {
        "image_url", "file_url", "video_url", "audio_url", "fileUri", "file_uri"};
    for (const cJSON *m = v->child; m; m = m->next) {
        if (WORD_IS_IN(m->string, names)) {
            const char *url = cJSON_IsObject(m) ? json_get_str(m, "url") : cJSON_GetStringValue(m);
            if (url && strncmp(url, "data:", 5) != 0)
                return m->string;
        }
        if (m->string && strcmp(m->string, "source") == 0 && IS(json_get_str(m, "type"), "url"))
            return "source.url";
        const char *inner = m->child && !is_opaque(m) ? fetch_of(m) : NULL;
        if (inner)
            return inner;
    }
    return NULL;
}

static const char *find_hosted(const struct model_request *r)
{
    const cJSON *history = json_member(r->doc, history_name(r->dialect));
    const char *name = NULL;
    if (r->dialect == MODEL_CHAT)
        name = hosted_chat(r->doc);
    else if (r->dialect == MODEL_MESSAGES)
        name = hosted_messages(r->doc);
    else if (r->dialect == MODEL_GEMINI)
        name = hosted_gemini(r->doc);
    else
        name = hosted_responses(json_member(r->doc, "tools"));
    const cJSON *item = r->dialect == MODEL_RESPONSES && history ? history->child : NULL;
    for (; item && !name; item = item->next) /* tools that a search on the client's side found */
        name = hosted_responses(json_member(item, "tools"));
    if (!name && history)
        name = fetch_of(history);
    static const char *const systems[] = {"system", "systemInstruction", "system_instruction"};
    for (size_t i = 0; !name && i < sizeof(systems) / sizeof(systems[0]); i++) {
        const cJSON *system = json_member(r->doc, systems[i]);
        name = system ? fetch_of(system) : NULL;
    }
    return name;
}

static bool continues(const struct model_request *r)
{
    static const char *const members[] = {
        "previous_response_id", "conversation", "prompt", "cachedContent", "cached_content"};
    for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
        if (has(r->doc, members[i]))
            return true;
    }
    const cJSON *background = json_member(r->doc, "background");
    if (background && !cJSON_IsNull(background) && !cJSON_IsFalse(background))
        return true;
    const cJSON *item;
    cJSON_ArrayForEach(item, json_member(r->doc, "input"))
    {
        if (IS(json_get_str(item, "type"), "item_reference"))
            return true;
    }
    return false;
}

/* --- results --- */

/* The text of a result: a string, an array of parts with texts, or any JSON. */
static int result_text(const cJSON *v, char **ret, struct arp_err *err)
{
    cleanup_buf struct buf b;
    buf_init(&b, MODEL_REQUEST_MAX * 2ul);
    buf_append_str(&b, "");
    if (cJSON_IsString(v)) {
        buf_append_str(&b, v->valuestring);
    } else if (cJSON_IsArray(v)) {
        const cJSON *part;
        cJSON_ArrayForEach(part, v)
        {
            const char *text = json_get_str(part, "text");
            if (text && b.len > 0)
                buf_append_char(&b, '\n');
            if (text)
                buf_append_str(&b, text);
        }
    } else if (v && !cJSON_IsNull(v)) {
        struct json j;
        json_init(&j, &b);
        json_value(&j, v);
    }
    int rc = buf_error(&b, err);
    *ret = rc ? NULL : buf_steal(&b);
    return rc;
}

static int add_result(
    struct model_request *r, const char *id, const cJSON *output, bool is_error, struct arp_err *err)
{
    struct model_tool_result *list = realloc(r->results, (r->result_count + 1) * sizeof(*list));
    if (!list)
        return arp_fail(err, ARP_E_NOMEM, 0, "tool results");
    r->results = list;
    list[r->result_count] = (struct model_tool_result){.id = id ? id : "", .is_error = is_error};
    int rc = result_text(output, &list[r->result_count].text, err);
    r->result_count += rc == 0;
    return rc;
}

/* By the model, so the results before it were told to an earlier call. */
static bool is_models(enum model_dialect d, const cJSON *item)
{
    const char *role = json_get_str(item, "role");
    const char *type = json_get_str(item, "type");
    if (d == MODEL_GEMINI)
        return IS(role, "model");
    if (d == MODEL_RESPONSES && !role)
        return type && !word_ends_with(type, "_output");
    return IS(role, "assistant");
}

static int results_of(struct model_request *r, const cJSON *item, struct arp_err *err)
{
    const cJSON *part;
    int rc = 0;
    switch (r->dialect) {
    case MODEL_RESPONSES:
        if (word_ends_with(json_get_str(item, "type"), "_output"))
            rc = add_result(r, json_get_str(item, "call_id"), json_member(item, "output"), false, err);
        break;
    case MODEL_CHAT:
        if (IS(json_get_str(item, "role"), "tool"))
            rc = add_result(r, json_get_str(item, "tool_call_id"), json_member(item, "content"), false, err);
        break;
    case MODEL_MESSAGES:
        cJSON_ArrayForEach(part, json_member(item, "content"))
        {
            if (rc == 0 && IS(json_get_str(part, "type"), "tool_result"))
                rc = add_result(r, json_get_str(part, "tool_use_id"), json_member(part, "content"),
                    json_get_bool(part, "is_error", false), err);
        }
        break;
    default:
        cJSON_ArrayForEach(part, json_member(item, "parts"))
        {
            const cJSON *f = json_member(part, "functionResponse");
            const cJSON *response = json_member(f, "response");
            const cJSON *output = json_member(response, "output");
            const char *id = json_get_str(f, "id");
            if (rc == 0 && f)
                rc = add_result(r, id ? id : json_get_str(f, "name"),
                    cJSON_IsString(output) ? output : response, has(response, "error"), err);
        }
    }
    return rc;
}

static int find_results(struct model_request *r, struct arp_err *err)
{
    const cJSON *history = json_member(r->doc, history_name(r->dialect));
    const cJSON *from = cJSON_IsArray(history) ? history->child : NULL;
    for (const cJSON *item = from; item; item = item->next) {
        if (is_models(r->dialect, item))
            from = item->next;
    }
    int rc = 0;
    for (; from && rc == 0; from = from->next)
        rc = results_of(r, from, err);
    return rc;
}

/* --- parse --- */

/* Members whose kind the rest relies on. */
static int check_kinds(const struct model_request *r, struct arp_err *err)
{
    const cJSON *history = json_member(r->doc, history_name(r->dialect));
    const cJSON *stream = json_member(r->doc, "stream");
    const cJSON *tools = json_member(r->doc, "tools");
    bool text = r->dialect == MODEL_RESPONSES && cJSON_IsString(history);
    if (history && !cJSON_IsNull(history) && !cJSON_IsArray(history) && !text)
        return arp_fail_field(
            err, history_name(r->dialect), "field '%s' must be an array", history_name(r->dialect));
    if (stream && !cJSON_IsNull(stream) && !cJSON_IsBool(stream))
        return arp_fail_field(err, "stream", "field 'stream' must be a boolean");
    if (tools && !cJSON_IsNull(tools) && !cJSON_IsArray(tools))
        return arp_fail_field(err, "tools", "field 'tools' must be an array");
    return 0;
}

static int read_model(struct model_request *r, const struct model_route *route, struct arp_err *err)
{
    const cJSON *m = json_member(r->doc, "model");
    const char *name = r->dialect == MODEL_GEMINI ? route->model : cJSON_GetStringValue(m);
    if (r->dialect != MODEL_GEMINI && m && !cJSON_IsNull(m) && !name)
        return arp_fail_field(err, "model", "field 'model' must be a string");
    if (name && strlen(name) > MODEL_NAME_MAX)
        return arp_fail_field(err, "model", "field 'model' is longer than %d", MODEL_NAME_MAX);
    snprintf(r->model, sizeof(r->model), "%s", name ? name : "");
    return 0;
}

int model_request_parse(const struct model_route *route, const char *body, size_t len,
    struct model_request *ret, struct arp_err *err)
{
    struct model_request r = {.dialect = route->dialect};
    if (len > MODEL_REQUEST_MAX)
        return arp_fail(err, ARP_E_TOO_LARGE, 0, "request of %zu bytes", len);
    int rc = model_json(body, len, &r.doc, err);
    if (rc == 0 && !cJSON_IsObject(r.doc))
        rc = arp_fail_field(err, "body", "the body must be a JSON object");
    if (rc == 0)
        rc = check_kinds(&r, err);
    if (rc == 0)
        rc = read_model(&r, route, err);
    if (rc == 0)
        rc = find_results(&r, err);
    if (rc) {
        model_request_done(&r);
        return rc;
    }
    r.has_tools = cJSON_GetArraySize(json_member(r.doc, "tools")) > 0 ||
                  cJSON_GetArraySize(json_member(r.doc, "functions")) > 0;
    r.continues = continues(&r);
    r.hosted_tool = find_hosted(&r);
    *ret = r;
    return 0;
}

void model_request_done(struct model_request *r)
{
    for (size_t i = 0; i < r->result_count; i++)
        free(r->results[i].text);
    free(r->results);
    cJSON_Delete(r->doc);
    *r = (struct model_request){0};
}

/* --- writing --- */

int model_request_rewrite(
    const struct model_request *r, const char *sent_model, struct buf *out, struct arp_err *err)
{
    struct json j;
    bool by_path = r->dialect == MODEL_GEMINI;
    json_init(&j, out);
    json_obj_open(&j);
    for (const cJSON *m = r->doc->child; m; m = m->next) {
        bool is_model = strcmp(m->string, "model") == 0;
        if (strcmp(m->string, "store") == 0 || (is_model && (by_path || sent_model)))
            continue; /* Gemini's model is the path's, whatever the body says */
        json_key(&j, m->string);
        json_value(&j, m);
    }
    if (sent_model && !by_path)
        json_kstr(&j, "model", sent_model);
    if (r->dialect == MODEL_RESPONSES || has(r->doc, "store"))
        json_kbool(&j, "store", false);
    json_obj_close(&j);
    return buf_error(out, err);
}

int model_request_digests(const struct model_request *r, char ret_full[SHA256_HEX_LEN + 1],
    char ret_shape[SHA256_HEX_LEN + 1], struct arp_err *err)
{
    return model_canonical_digests(r->doc, ret_full, ret_shape, err);
}

struct parts {
    model_part_fn *on_part;
    void *ctx;
    struct buf text;
};

static int give_part(struct parts *p, struct arp_err *err)
{
    int rc = buf_error(&p->text, err);
    if (rc == 0)
        rc = p->on_part(p->ctx, p->text.data, p->text.len, err);
    buf_reset(&p->text);
    return rc;
}

static int give_items(struct parts *p, const cJSON *items, struct arp_err *err)
{
    int rc = 0;
    for (const cJSON *item = cJSON_IsArray(items) ? items->child : NULL; item && rc == 0; item = item->next) {
        struct json j;
        json_init(&j, &p->text);
        json_value(&j, item);
        rc = give_part(p, err);
    }
    return rc;
}

/* The document with null for each item of its tools and its history. */
static int give_frame(struct parts *p, const struct model_request *r, struct arp_err *err)
{
    struct json j;
    json_init(&j, &p->text);
    json_obj_open(&j);
    for (const cJSON *m = r->doc->child; m; m = m->next) {
        bool split = strcmp(m->string, "tools") == 0 || strcmp(m->string, history_name(r->dialect)) == 0;
        json_key(&j, m->string);
        if (!split || !cJSON_IsArray(m)) {
            json_value(&j, m);
            continue;
        }
        json_arr_open(&j);
        for (const cJSON *item = m->child; item; item = item->next)
            json_null(&j);
        json_arr_close(&j);
    }
    json_obj_close(&j);
    return give_part(p, err);
}

int model_request_parts(const struct model_request *r, model_part_fn *on_part, void *ctx, struct arp_err *err)
{
    const cJSON *tools = json_member(r->doc, "tools");
    const cJSON *history = json_member(r->doc, history_name(r->dialect));
    size_t n = 1 + (size_t)cJSON_GetArraySize(tools) +
               (cJSON_IsArray(history) ? (size_t)cJSON_GetArraySize(history) : 0);
    if (n > MODEL_PARTS_MAX)
        return arp_fail(err, ARP_E_TOO_LARGE, 0, "a request of %zu parts", n);
    struct parts p = {.on_part = on_part, .ctx = ctx};
    /* U+007F is one byte when it is parsed and six when it is written. */
    buf_init(&p.text, MODEL_REQUEST_MAX * 8ul);
    int rc = give_frame(&p, r, err);
    if (rc == 0)
        rc = give_items(&p, tools, err);
    if (rc == 0)
        rc = give_items(&p, history, err);
    buf_done(&p.text);
    return rc;
}
