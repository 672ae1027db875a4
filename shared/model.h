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
/* False when there is none of that name; so for the others below. */
bool model_dialect_of(const char *name, enum model_dialect *ret);

/* What a request asks of the provider. */
enum model_kind { MODEL_GENERATE, MODEL_COUNT_TOKENS, MODEL_LIST };

/* How a provider wants its key. */
enum model_auth {
    MODEL_AUTH_BEARER,
    MODEL_AUTH_X_API_KEY,
    MODEL_AUTH_X_GOOG_API_KEY,
    MODEL_AUTH_NONE,
    MODEL_AUTHS
};
const char *model_auth_name(enum model_auth a); /* "bearer", "x-api-key", "x-goog-api-key", "none" */
bool model_auth_of(const char *name, enum model_auth *ret);
/* What is kept of requests and answers: their digests, those of their parts too, or all. */
enum model_record { MODEL_RECORD_NONE, MODEL_RECORD_DIGEST, MODEL_RECORD_FULL, MODEL_RECORDS };
const char *model_record_name(enum model_record r); /* "none", "digest", "full" */
bool model_record_of(const char *name, enum model_record *ret);

/* Does the engine of that name call models? All do, "auto" too, but "shell", which runs commands. */
bool model_called_by(const char *engine);

#define MODEL_NAME_MAX 128

/* What a run may ask for, by the same rules where it is admitted and where it runs.
 * A model's name becomes an argument of a CLI and a part of texts and paths: 1..MODEL_NAME_MAX bytes of printable ASCII, nothing that could be read as
 * an option (a '-' in front), nothing to quote (blanks, '"', '\'). */
bool model_name_ok(const char *name);
/* A conversation's name, as the engines give them (UUIDs, "ses_" and some letters): 1..MODEL_THREAD_MAX letters, digits, '_', '-', '.', the first a
 * letter or digit. */
#define MODEL_THREAD_MAX 128
bool model_thread_ok(const char *id);
/* Of limits.maxSteps: answers of the model in one run. */
#define MODEL_STEPS_MAX 10000
/* Of limits.maxTokens. */
#define MODEL_TOKENS_MAX 1000000000000ll

struct model_route {
    enum model_dialect dialect;
    enum model_kind kind;
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
/* Write its members into the object that is open: "inputTokens", "cachedInputTokens", "outputTokens", "reasoningTokens"; unknown ones are 0. */
void model_usage_members(struct json *j, const struct model_usage *u);
/* Write an object of them, or null when it is not known, as a value. */
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
