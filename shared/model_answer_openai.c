/*
 * Model answer: OpenAI's Responses API and Chat Completions (and what others serve under their names).
 * Sources: OpenAI API reference, "Streaming events" and "The chat completion chunk object"; samples in the engines' tests.
 */
#include <string.h>

#include "shared/model_answer.intern.h"

static bool says(const cJSON *obj, const char *name, const char *word)
{
    const char *s = json_get_str(obj, name);
    return s && strcmp(s, word) == 0;
}

/* --- Responses --- */

static int message_text(struct model_answer *a, const cJSON *item, struct arp_err *err)
{
    const cJSON *part;
    cJSON_ArrayForEach(part, json_member(item, "content"))
    {
        const char *text = json_get_str(part, says(part, "type", "refusal") ? "refusal" : "text");
        int rc = model_emit_text(a, text, err);
        if (rc)
            return rc;
    }
    return 0;
}

/* An output item as a whole. Items that the provider works off itself (web_search_call …) and reasoning are passed over. */
static int take_item(struct model_answer *a, const cJSON *item, struct arp_err *err)
{
    const char *type = json_get_str(item, "type");
    bool shown = a->text_shown;
    a->items++;
    a->text_shown = false;
    if (!type)
        return 0;
    if (strcmp(type, "message") == 0)
        return shown ? 0 : message_text(a, item, err);
    const char *id = json_get_str(item, "call_id");
    if (!id)
        id = json_get_str(item, "id");
    const char *name = json_get_str(item, "name");
    if (strcmp(type, "function_call") == 0)
        return model_emit_call(a, id, name, json_get_str(item, "arguments"), err);
    if (strcmp(type, "custom_tool_call") == 0)
        return model_emit_call(a, id, name, json_get_str(item, "input"), err);
    if (strcmp(type, "local_shell_call") == 0)
        return model_emit_call_json(a, id, "local_shell", json_member(item, "action"), err);
    return 0;
}

static int take_items(struct model_answer *a, const cJSON *items, struct arp_err *err)
{
    const cJSON *item;
    int rc = 0;
    cJSON_ArrayForEach(item, items)
    {
        rc = take_item(a, item, err);
        if (rc)
            break;
    }
    return rc;
}

static void responses_usage(struct model_answer *a, const cJSON *usage)
{
    if (!cJSON_IsObject(usage))
        return;
    a->usage = (struct model_usage){.known = true,
        .input = model_count(usage, "input_tokens"),
        .cached_input = model_count(json_member(usage, "input_tokens_details"), "cached_tokens"),
        .output = model_count(usage, "output_tokens"),
        .reasoning = model_count(json_member(usage, "output_tokens_details"), "reasoning_tokens")};
}

static int incomplete(struct model_answer *a, const cJSON *response, struct arp_err *err)
{
    const cJSON *details = json_member(response, "incomplete_details");
    if (says(details, "reason", "max_output_tokens")) {
        model_answer_finish(a, MODEL_LENGTH);
        return 0;
    }
    return model_emit_error(a, json_member(details, "reason"), "the answer is incomplete", err);
}

/* A response object at its end. */
static int ended(struct model_answer *a, const cJSON *response, const char *status, struct arp_err *err)
{
    responses_usage(a, json_member(response, "usage"));
    /* Some providers send no item events: then this is the first time that the items come whole. */
    int rc = a->items == 0 ? take_items(a, json_member(response, "output"), err) : 0;
    if (rc)
        return rc;
    if (strcmp(status, "completed") == 0)
        model_answer_finish(a, MODEL_STOPPED);
    else if (strcmp(status, "incomplete") == 0)
        return incomplete(a, response, err);
    else
        return model_emit_error(a, json_member(response, "error"), "the response failed", err);
    return 0;
}

int model_responses_event(struct model_answer *a, const cJSON *doc, struct arp_err *err)
{
    const char *type = json_get_str(doc, "type");
    const cJSON *response = json_member(doc, "response");
    if (!type)
        return cJSON_IsObject(json_member(doc, "error"))
                   ? model_emit_error(a, json_member(doc, "error"), "error", err)
                   : 0;
    if (strcmp(type, "response.output_text.delta") == 0 || strcmp(type, "response.refusal.delta") == 0) {
        a->text_shown = true;
        return model_emit_text(a, json_get_str(doc, "delta"), err);
    }
    if (strcmp(type, "response.output_item.done") == 0)
        return take_item(a, json_member(doc, "item"), err);
    if (strcmp(type, "error") == 0) {
        const cJSON *error = json_member(doc, "error");
        return model_emit_error(a, cJSON_IsObject(error) ? error : doc, "error", err);
    }
    static const char *const ends[] = {"completed", "incomplete", "failed"};
    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
        if (strncmp(type, "response.", 9) == 0 && strcmp(type + 9, ends[i]) == 0)
            return ended(a, response, ends[i], err);
    }
    return 0;
}

int model_responses_whole(struct model_answer *a, const cJSON *doc, struct arp_err *err)
{
    const char *status = json_get_str(doc, "status");
    if (status)
        return ended(a, doc, status, err);
    const cJSON *error = json_member(doc, "error");
    return error && !cJSON_IsNull(error) ? model_emit_error(a, error, "error", err) : 0;
}

/* --- Chat Completions --- */

static int chat_finish(struct model_answer *a, const char *reason, struct arp_err *err)
{
    if (strcmp(reason, "length") == 0)
        model_answer_finish(a, MODEL_LENGTH);
    else if (strcmp(reason, "content_filter") == 0 || strcmp(reason, "error") == 0)
        return model_emit_error(a, NULL, reason, err);
    else
        model_answer_finish(a, MODEL_STOPPED);
    return 0;
}

static void chat_usage(struct model_answer *a, const cJSON *usage)
{
    if (!cJSON_IsObject(usage))
        return;
    a->usage = (struct model_usage){.known = true,
        .input = model_count(usage, "prompt_tokens"),
        .cached_input = model_count(json_member(usage, "prompt_tokens_details"), "cached_tokens"),
        .output = model_count(usage, "completion_tokens"),
        .reasoning = model_count(json_member(usage, "completion_tokens_details"), "reasoning_tokens")};
}

/* Is it a piece of c? A piece with another id is not, whatever its index: some providers give every call index 0. */
static bool is_of(const struct model_open_call *c, const char *id, const cJSON *index, const cJSON *piece)
{
    if (cJSON_IsNumber(index) && c->index != model_count(piece, "index"))
        return false;
    return !id || !*id || !c->id || strcmp(c->id, id) == 0;
}

/* The call that a piece belongs to: the latest that it may be of, else it begins one. */
static struct model_open_call *call_of_piece(struct model_answer *a, const cJSON *piece, struct arp_err *err)
{
    const char *id = json_get_str(piece, "id");
    const cJSON *index = json_member(piece, "index");
    for (size_t i = a->open_count; i-- > 0;) {
        if (is_of(&a->open[i], id, index, piece))
            return &a->open[i];
    }
    uint64_t next = a->open_count > 0 ? a->open[a->open_count - 1].index + 1 : 0;
    return model_open_call_new(a, cJSON_IsNumber(index) ? model_count(piece, "index") : next, err);
}

static int take_piece(struct model_answer *a, const cJSON *piece, struct arp_err *err)
{
    struct model_open_call *c = call_of_piece(a, piece, err);
    const cJSON *function = json_member(piece, "function");
    const cJSON *custom = json_member(piece, "custom");
    if (!c)
        return err->code;
    int rc = model_open_call_set(a, &c->id, json_get_str(piece, "id"), err);
    if (rc == 0)
        rc = model_open_call_set(a, &c->name, json_get_str(function ? function : custom, "name"), err);
    if (rc)
        return rc;
    const char *text = function ? json_get_str(function, "arguments") : json_get_str(custom, "input");
    return text ? model_open_call_add(a, c, text, err) : 0;
}

/* message: a streamed delta or a whole message. */
static int take_message(struct model_answer *a, const cJSON *message, struct arp_err *err)
{
    int rc = model_emit_text(a, json_get_str(message, "content"), err);
    if (rc == 0)
        rc = model_emit_text(a, json_get_str(message, "refusal"), err);
    const cJSON *piece;
    cJSON_ArrayForEach(piece, json_member(message, "tool_calls"))
    {
        if (rc)
            break;
        rc = take_piece(a, piece, err);
    }
    return rc;
}

/* Only the first choice: CLIs ask for one. */
static int take_choice(struct model_answer *a, const cJSON *choice, const char *member, struct arp_err *err)
{
    const char *reason = json_get_str(choice, "finish_reason");
    int rc = take_message(a, json_member(choice, member), err);
    if (rc || !reason || !*reason)
        return rc;
    rc = model_open_calls_emit(a, err);
    return rc ? rc : chat_finish(a, reason, err);
}

static int chat_document(struct model_answer *a, const cJSON *doc, const char *member, struct arp_err *err)
{
    const cJSON *error = json_member(doc, "error");
    if (error && !cJSON_IsNull(error))
        return model_emit_error(a, error, "error", err);
    chat_usage(a, json_member(doc, "usage"));
    const cJSON *choice;
    cJSON_ArrayForEach(choice, json_member(doc, "choices"))
    {
        if (model_count(choice, "index") == 0)
            return take_choice(a, choice, member, err);
    }
    return 0;
}

int model_chat_event(struct model_answer *a, const cJSON *doc, struct arp_err *err)
{
    return chat_document(a, doc, "delta", err);
}

int model_chat_whole(struct model_answer *a, const cJSON *doc, struct arp_err *err)
{
    return chat_document(a, doc, "message", err);
}

int model_chat_done(struct model_answer *a, struct arp_err *err)
{
    if (a->finish != MODEL_UNFINISHED)
        return 0;
    /* Ended in order, without a word on why. */
    model_answer_finish(a, MODEL_STOPPED);
    return model_open_calls_emit(a, err);
}
