/*
 * Scenario: see scenario.h.
 */
#include "tests/provider/scenario.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILE_MAX (64u << 20)

struct scenario {
    cJSON *doc;
    unsigned *used; /* in step with the steps */
    pthread_mutex_t lock;
};

long number_of(const cJSON *object, const char *name, long otherwise)
{
    const cJSON *v = cJSON_GetObjectItemCaseSensitive(object, name);
    return cJSON_IsNumber(v) ? (long)v->valuedouble : otherwise;
}

const char *text_of(const cJSON *object, const char *name, const char *otherwise)
{
    const char *v = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, name));
    return v ? v : otherwise;
}

static bool ends_with(const char *s, const char *end)
{
    size_t n = strlen(s), m = strlen(end);
    return n >= m && strcmp(s + n - m, end) == 0;
}

enum dialect dialect_of(const char *path, const char *body, bool *ret_streamed)
{
    cJSON *doc = cJSON_Parse(body);
    *ret_streamed = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(doc, "stream"));
    cJSON_Delete(doc);
    if (ends_with(path, "/responses"))
        return DIALECT_RESPONSES;
    if (ends_with(path, "/chat/completions"))
        return DIALECT_CHAT;
    if (ends_with(path, "/messages"))
        return DIALECT_MESSAGES;
    if (ends_with(path, ":generateContent") || ends_with(path, ":streamGenerateContent")) {
        *ret_streamed = ends_with(path, ":streamGenerateContent");
        return DIALECT_GEMINI;
    }
    return DIALECT_NONE;
}

static char *file_text(const char *path)
{
    FILE *f = fopen(path, "r");
    char *text = f ? malloc(FILE_MAX) : NULL;
    size_t n = text ? fread(text, 1, FILE_MAX - 1, f) : 0;
    if (f)
        fclose(f);
    if (text)
        text[n] = '\0';
    return text;
}

/* Steps that could never answer are mistakes of the test's author. */
static bool steps_are_good(const cJSON *steps, const char *path)
{
    const cJSON *step;
    int i = 0;
    if (!cJSON_IsArray(steps)) {
        fprintf(stderr, "%s: no \"steps\"\n", path);
        return false;
    }
    cJSON_ArrayForEach(step, steps)
    {
        if (!cJSON_IsObject(cJSON_GetObjectItemCaseSensitive(step, "answer"))) {
            fprintf(stderr, "%s: step %d has no \"answer\"\n", path, i);
            return false;
        }
        i++;
    }
    return true;
}

struct scenario *scenario_read(const char *path)
{
    char *text = file_text(path);
    struct scenario *s = calloc(1, sizeof(*s));
    if (!text || !s) {
        fprintf(stderr, "%s: can't be read\n", path);
        free(text);
        free(s);
        return NULL;
    }
    s->doc = cJSON_Parse(text);
    if (!s->doc)
        fprintf(stderr, "%s: no JSON near '%.60s'\n", path, cJSON_GetErrorPtr() ? cJSON_GetErrorPtr() : "");
    free(text);
    const cJSON *steps = cJSON_GetObjectItemCaseSensitive(s->doc, "steps");
    if (!s->doc || !steps_are_good(steps, path)) {
        cJSON_Delete(s->doc);
        free(s);
        return NULL;
    }
    s->used = calloc((size_t)cJSON_GetArraySize(steps) + 1, sizeof(*s->used));
    pthread_mutex_init(&s->lock, NULL);
    return s;
}

static bool fits(const cJSON *match, const struct request *r)
{
    static const char *const names[] = {"responses", "chat", "messages", "gemini", ""};
    const char *dialect = text_of(match, "dialect", NULL);
    const char *path = text_of(match, "path", NULL);
    const char *contains = text_of(match, "contains", NULL);
    const char *lacks = text_of(match, "lacks", NULL);
    long call = number_of(match, "call", -1);
    return (!dialect || strcmp(dialect, names[r->dialect]) == 0) && (!path || strcmp(path, r->path) == 0) &&
           (call < 0 || call == (long)r->call) && (!contains || strstr(r->body, contains)) &&
           (!lacks || !strstr(r->body, lacks));
}

const cJSON *scenario_take(struct scenario *s, const struct request *r, unsigned *ret_step)
{
    const cJSON *step, *answer = NULL;
    unsigned i = 0;
    pthread_mutex_lock(&s->lock);
    cJSON_ArrayForEach(step, cJSON_GetObjectItemCaseSensitive(s->doc, "steps"))
    {
        long times = number_of(step, "times", 1);
        if ((times == 0 || (long)s->used[i] < times) &&
            fits(cJSON_GetObjectItemCaseSensitive(step, "match"), r)) {
            s->used[i]++;
            *ret_step = i;
            answer = cJSON_GetObjectItemCaseSensitive(step, "answer");
            break;
        }
        i++;
    }
    pthread_mutex_unlock(&s->lock);
    return answer;
}
