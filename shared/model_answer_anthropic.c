/*
 * Model answer: Anthropic's Messages API.
 * Source: Anthropic API reference, "Streaming messages". Reasoning and tools that the provider runs itself are passed over.
 */
#include <string.h>

#include "shared/model_answer.intern.h"

/* The counts of message_start and message_delta: the later ones are totals, members that are absent stay as they were. */
static void take_usage(struct model_answer *a, const cJSON *usage)
{
    if (!cJSON_IsObject(usage))
        return;
    a->usage.known = true;
    if (cJSON_IsNumber(json_member(usage, "input_tokens"))) {
        /* input_tokens are those that came from no cache and went into none. */
        a->usage.cached_input = model_count(usage, "cache_read_input_tokens");
        a->usage.input = model_count(usage, "input_tokens") + a->usage.cached_input +
                         model_count(usage, "cache_creation_input_tokens");
    }
    if (cJSON_IsNumber(json_member(usage, "output_tokens")))
        a->usage.output = model_count(usage, "output_tokens");
}

static enum model_finish finish_of(const char *reason)
{
    if (strcmp(reason, "max_tokens") == 0 || strcmp(reason, "model_context_window_exceeded") == 0)
        return MODEL_LENGTH;
    return MODEL_STOPPED;
}

static int block_start(struct model_answer *a, const cJSON *doc, struct arp_err *err)
{
    const cJSON *block = json_member(doc, "content_block");
    const char *type = json_get_str(block, "type");
    if (type && strcmp(type, "text") == 0)
        return model_emit_text(a, json_get_str(block, "text"), err);
    if (!type || strcmp(type, "tool_use") != 0)
        return 0;
    struct model_open_call *c = model_open_call_new(a, model_count(doc, "index"), err);
    if (!c)
        return err->code;
    int rc = model_open_call_set(a, &c->id, json_get_str(block, "id"), err);
    return rc ? rc : model_open_call_set(a, &c->name, json_get_str(block, "name"), err);
}

static int block_delta(struct model_answer *a, const cJSON *doc, struct arp_err *err)
{
    const cJSON *delta = json_member(doc, "delta");
    const char *piece = json_get_str(delta, "partial_json");
    struct model_open_call *c = piece ? model_open_call_find(a, model_count(doc, "index")) : NULL;
    if (c)
        return model_open_call_add(a, c, piece, err);
    return model_emit_text(a, json_get_str(delta, "text"), err);
}

/* The call is whole, and CLIs may begin it before the message has ended. */
static int block_stop(struct model_answer *a, const cJSON *doc, struct arp_err *err)
{
    struct model_open_call *c = model_open_call_find(a, model_count(doc, "index"));
    return c ? model_open_call_emit(a, c, err) : 0;
}

static int message_stop(struct model_answer *a, struct arp_err *err)
{
    model_answer_finish(a, a->reason == MODEL_UNFINISHED ? MODEL_STOPPED : a->reason);
    return model_open_calls_emit(a, err);
}

int model_messages_event(struct model_answer *a, const cJSON *doc, struct arp_err *err)
{
    const char *type = json_get_str(doc, "type");
    if (!type)
        return 0;
    if (strcmp(type, "content_block_delta") == 0)
        return block_delta(a, doc, err);
    if (strcmp(type, "content_block_start") == 0)
        return block_start(a, doc, err);
    if (strcmp(type, "content_block_stop") == 0)
        return block_stop(a, doc, err);
    if (strcmp(type, "message_stop") == 0)
        return message_stop(a, err);
    if (strcmp(type, "error") == 0)
        return model_emit_error(a, json_member(doc, "error"), "error", err);
    if (strcmp(type, "message_start") == 0) {
        const cJSON *message = json_member(doc, "message");
        take_usage(a, json_member(message, "usage"));
    } else if (strcmp(type, "message_delta") == 0) {
        const char *reason = json_get_str(json_member(doc, "delta"), "stop_reason");
        if (reason)
            a->reason = finish_of(reason);
        take_usage(a, json_member(doc, "usage"));
    }
    return 0;
}

int model_messages_whole(struct model_answer *a, const cJSON *doc, struct arp_err *err)
{
    const char *type = json_get_str(doc, "type");
    if (type && strcmp(type, "error") == 0)
        return model_emit_error(a, json_member(doc, "error"), "error", err);
    take_usage(a, json_member(doc, "usage"));
    const cJSON *block;
    cJSON_ArrayForEach(block, json_member(doc, "content"))
    {
        const char *kind = json_get_str(block, "type");
        int rc = 0;
        if (kind && strcmp(kind, "text") == 0)
            rc = model_emit_text(a, json_get_str(block, "text"), err);
        else if (kind && strcmp(kind, "tool_use") == 0)
            rc = model_emit_call_json(
                a, json_get_str(block, "id"), json_get_str(block, "name"), json_member(block, "input"), err);
        if (rc)
            return rc;
    }
    const char *reason = json_get_str(doc, "stop_reason");
    if (reason)
        model_answer_finish(a, finish_of(reason));
    return 0;
}
