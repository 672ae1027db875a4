/*
 * Model APIs as they pass through the gateway: which dialect a path belongs to, and the small words all readers of a model exchange share.
 * Sources: OpenAI Responses and Chat Completions, Anthropic Messages, Gemini generateContent; docs/formats/model_log.md.
 */
#ifndef ARP_SHARED_MODEL_H
#define ARP_SHARED_MODEL_H

#include <stdbool.h>
#include <stdint.h>

#include "shared/err.h"
#include "shared/json.h"

enum model_dialect { MODEL_RESPONSES, MODEL_CHAT, MODEL_MESSAGES, MODEL_GEMINI, MODEL_DIALECTS };
const char *model_dialect_name(enum model_dialect d); /* "responses", "chat", "messages", "gemini" */
/* False when there is none of that name. */
bool model_dialect_of(const char *name, enum model_dialect *ret);

/* What a request asks of the provider. */
enum model_kind { MODEL_GENERATE, MODEL_COUNT_TOKENS, MODEL_LIST };

#define MODEL_NAME_MAX 128

struct model_route {
    enum model_dialect dialect;
    enum model_kind kind;
    bool streamed; /* by its path (Gemini's streamGenerateContent); the other dialects say it in the body */
    char model[MODEL_NAME_MAX + 1]; /* named by the path (Gemini), else "" */
};
/* The known paths and methods; everything else is refused: POST …/responses, …/chat/completions, …/messages, …/messages/count_tokens,
 * …/models/M:generateContent, …:streamGenerateContent, GET …/models. The dialect of a model list is the caller's to know: MODEL_RESPONSES stands
 * there. Errors: ARP_E_FORBIDDEN. */
int model_route_of(const char *method, const char *path, struct model_route *ret, struct arp_err *err);

struct model_usage {
    bool known;
    uint64_t input, cached_input, output,
        reasoning; /* tokens; cached is a part of input, reasoning of output */
};
void model_usage_add(struct model_usage *sum, const struct model_usage *u);
/* Write the object {"inputTokens",…}, or null when it is not known, as a value. */
void model_usage_put(struct json *j, const struct model_usage *u);

/* JSON values of one document: a history of some thousand items has about 100000. Each takes 64 bytes and more when it is parsed, whatever it takes
 * in the text, so that 32 MiB of "[],[],…" would be a gigabyte. */
#define MODEL_VALUES_MAX 500000
/* About how many a text has, whatever white space stands in it; those of a document are those of its parts together. */
size_t model_json_values(const char *bytes, size_t len);
/* json_parse for what a provider or a CLI wrote: the escapes of U+0000 and of halves of a character, which programs do send when they quote a
 * command's output and which json_parse refuses, are read as U+FFFD. Errors: as json_parse, ARP_E_TOO_LARGE (MODEL_VALUES_MAX),
 * ARP_E_NOMEM. */
int model_json(const char *bytes, size_t len, cJSON **ret, struct arp_err *err);

#endif
