/*
 * What a model asked for: see asked.h.
 */
#include "orchestrator/evidence/asked.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shared/json.h"
#include "shared/model_tools.h"

#define HEADS 4096
#define NONE  SIZE_MAX

struct reader {
    struct asked *out;
    size_t ask_cap, call_cap;
    unsigned char
        seed[16]; /* of the hash: ids are a provider's, who must not be able to choose those of one list */
    size_t heads[HEADS]; /* the latest ask whose id has that hash */
};

/* "" when there is none. */
static void take_digest(const cJSON *obj, const char *name, char ret[SHA256_HEX_LEN + 1])
{
    const char *hex = sha256_hex_in(json_get_str(obj, name));
    ret[0] = '\0';
    if (hex)
        memcpy(ret, hex, SHA256_HEX_LEN + 1);
}

static void take_id(const cJSON *obj, char ret[ASKED_ID_MAX + 1])
{
    const char *id = json_get_str(obj, "id");
    size_t len = id ? strlen(id) : 0;
    char hex[SHA256_HEX_LEN + 1];
    if (len <= ASKED_ID_MAX) {
        snprintf(ret, ASKED_ID_MAX + 1, "%s", id ? id : "");
        return;
    }
    sha256_hex_of(id, len, hex);
    snprintf(ret, ASKED_ID_MAX + 1, "sha256:%s", hex);
}

static size_t hash_of(const struct reader *r, const char *id)
{
    unsigned char text[sizeof(r->seed) + ASKED_ID_MAX], digest[SHA256_BYTES];
    size_t len = strlen(id);
    memcpy(text, r->seed, sizeof(r->seed));
    memcpy(text + sizeof(r->seed), id, len);
    sha256_of(text, sizeof(r->seed) + len, digest);
    return (digest[0] | (size_t)digest[1] << 8) % HEADS;
}

/* One more element of a growing array; false: no memory. */
static bool grow(void **v, size_t count, size_t *cap, size_t size)
{
    if (count < *cap)
        return true;
    size_t more = *cap ? 2 * *cap : 64;
    void *p = realloc(*v, more * size);
    if (!p)
        return false;
    *v = p;
    *cap = more;
    return true;
}

/* The results that a request tells belong to the latest calls of those ids. The first one counts: it is what the model went on with. */
static void take_results(struct reader *r, const cJSON *line)
{
    const cJSON *item;
    cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(line, "toolResults"))
    {
        char id[ASKED_ID_MAX + 1];
        take_id(item, id);
        size_t at = r->heads[hash_of(r, id)];
        while (at != NONE && strcmp(r->out->asks[at].id, id) != 0)
            at = r->out->asks[at].next;
        if (at == NONE || r->out->asks[at].told)
            continue;
        struct ask *ask = &r->out->asks[at];
        ask->told = true;
        ask->told_exit_known = cJSON_IsNumber(cJSON_GetObjectItemCaseSensitive(item, "exitCode"));
        ask->told_exit = json_get_int(item, "exitCode", 0);
        take_digest(item, "outputSha256", ask->told_output);
    }
}

static int take_calls(struct reader *r, const cJSON *line, struct arp_err *err)
{
    struct asked *a = r->out;
    const cJSON *item;
    cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(line, "toolCalls"))
    {
        const char *name = json_get_str(item, "name");
        struct ask ask = {
            .call = (uint64_t)json_get_int(line, "call", 0), .cut = json_get_bool(line, "cut", false)};
        if (name && model_tool_kind_of(name) == MODEL_TOOL_EDIT)
            a->edits++;
        take_digest(item, "commandSha256", ask.command);
        if (!ask.command[0])
            continue;
        if (a->ask_count == ASKED_MAX) {
            a->over++;
            continue;
        }
        if (!grow((void **)&a->asks, a->ask_count, &r->ask_cap, sizeof(*a->asks)))
            return arp_fail(err, ARP_E_NOMEM, 0, "tool calls");
        take_id(item, ask.id);
        size_t *head = &r->heads[hash_of(r, ask.id)];
        ask.next = *head;
        *head = a->ask_count;
        a->asks[a->ask_count++] = ask;
    }
    return 0;
}

static int take_exchange(struct reader *r, const cJSON *line, struct arp_err *err)
{
    struct asked *a = r->out;
    const char *lane = json_get_str(line, "lane");
    struct exchange x = {.call = (uint64_t)json_get_int(line, "call", 0),
        .attempt = (uint64_t)json_get_int(line, "attempt", 0),
        .side = lane && strcmp(lane, "side") == 0,
        .cut = json_get_bool(line, "cut", false),
        .status = json_get_int(line, "status", 0),
        .response_bytes = json_get_int(line, "respBytes", 0)};
    if (!grow((void **)&a->calls, a->call_count, &r->call_cap, sizeof(*a->calls)))
        return arp_fail(err, ARP_E_NOMEM, 0, "model calls");
    take_digest(line, "reqSha256", x.request);
    take_digest(line, "respSha256", x.response);
    a->calls[a->call_count++] = x;
    return 0;
}

static int take_line(struct reader *r, const cJSON *line, struct arp_err *err)
{
    int64_t status = json_get_int(line, "status", 0);
    bool refused = json_get_str(line, "refused") != NULL;
    r->out->attempts++;
    r->out->refused += refused;
    int rc = take_exchange(r, line, err);
    if (rc || refused)
        return rc; /* neither question nor answer got anywhere */
    r->out->over += cJSON_IsNull(cJSON_GetObjectItemCaseSensitive(line, "toolCalls"));
    take_results(r, line);
    return status >= 200 && status < 300 ? take_calls(r, line, err) : 0;
}

static int by_call(const void *a, const void *b)
{
    const struct exchange *x = a, *y = b;
    if (x->call != y->call)
        return x->call < y->call ? -1 : 1;
    return x->attempt < y->attempt ? -1 : x->attempt > y->attempt;
}

/* Of each call the last attempt. */
static void settle_calls(struct asked *a)
{
    size_t n = 0;
    if (a->call_count > 1)
        qsort(a->calls, a->call_count, sizeof(*a->calls), by_call);
    for (size_t i = 0; i < a->call_count; i++)
        if (i + 1 == a->call_count || a->calls[i + 1].call != a->calls[i].call)
            a->calls[n++] = a->calls[i];
    a->call_count = n;
}

int asked_read(struct log_text model_log, struct asked *ret, struct arp_err *err)
{
    struct reader *r = malloc(sizeof(*r));
    const char *line;
    size_t n;
    bool ended;
    int rc = 0;
    *ret = (struct asked){0};
    if (!r)
        return arp_fail(err, ARP_E_NOMEM, 0, "model log");
    *r = (struct reader){.out = ret};
    random_bytes(r->seed, sizeof(r->seed));
    for (size_t i = 0; i < HEADS; i++)
        r->heads[i] = NONE;
    while (rc == 0 && (line = lines_next(&model_log, &n, &ended)) != NULL) {
        cleanup_cjson cJSON *obj = NULL;
        if (json_parse_line(line, n, &obj, NULL) == 0)
            rc = take_line(r, obj, err);
    }
    free(r);
    if (rc)
        asked_done(ret);
    else
        settle_calls(ret);
    return rc;
}

void asked_done(struct asked *a)
{
    free(a->asks);
    free(a->calls);
    *a = (struct asked){0};
}

struct exchange *asked_find_call(const struct asked *a, uint64_t call)
{
    size_t low = 0, high = a->call_count;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (a->calls[mid].call == call)
            return &a->calls[mid];
        if (a->calls[mid].call < call)
            low = mid + 1;
        else
            high = mid;
    }
    return NULL;
}
