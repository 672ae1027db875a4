/*
 * Model answer: Gemini's generateContent and streamGenerateContent, whose events are documents of the same shape.
 * Source: Gemini API reference, "GenerateContentResponse". Calls have an id only when the request gave one; else the name stands for it.
 */
#include <string.h>

#include "shared/model_answer.intern.h"

static int take_part(struct model_answer *a, const cJSON *part, struct arp_err *err)
{
    const cJSON *call = json_member(part, "functionCall");
    if (call) {
        const char *name = json_get_str(call, "name");
        const char *id = json_get_str(call, "id");
        return model_emit_call_json(a, id ? id : name, name, json_member(call, "args"), err);
    }
    return json_get_bool(part, "thought", false) ? 0 : model_emit_text(a, json_get_str(part, "text"), err);
}

static int take_finish(struct model_answer *a, const char *reason, struct arp_err *err)
{
    if (strcmp(reason, "STOP") == 0)
        model_answer_finish(a, MODEL_STOPPED);
    else if (strcmp(reason, "MAX_TOKENS") == 0)
        model_answer_finish(a, MODEL_LENGTH);
    else
        return model_emit_error(a, NULL, reason, err); /* SAFETY, MALFORMED_FUNCTION_CALL … */
    return 0;
}

static void take_usage(struct model_answer *a, const cJSON *usage)
{
    if (!cJSON_IsObject(usage))
        return;
    uint64_t thoughts = model_count(usage, "thoughtsTokenCount");
    a->usage = (struct model_usage){.known = true,
        .input = model_count(usage, "promptTokenCount"),
        .cached_input = model_count(usage, "cachedContentTokenCount"),
        .output = model_count(usage, "candidatesTokenCount") + thoughts,
        .reasoning = thoughts};
}

int model_gemini_event(struct model_answer *a, const cJSON *doc, struct arp_err *err)
{
    const cJSON *error = json_member(doc, "error");
    if (error && !cJSON_IsNull(error))
        return model_emit_error(a, error, "error", err);
    const char *blocked = json_get_str(json_member(doc, "promptFeedback"), "blockReason");
    if (blocked)
        return model_emit_error(a, NULL, blocked, err);
    take_usage(a, json_member(doc, "usageMetadata"));
    const cJSON *candidate = cJSON_GetArrayItem(json_member(doc, "candidates"), 0);
    const cJSON *part;
    cJSON_ArrayForEach(part, json_member(json_member(candidate, "content"), "parts"))
    {
        int rc = take_part(a, part, err);
        if (rc)
            return rc;
    }
    const char *reason = json_get_str(candidate, "finishReason");
    return reason ? take_finish(a, reason, err) : 0;
}
