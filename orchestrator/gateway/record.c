/*
 * Record: see record.h.
 */
#include "orchestrator/gateway/record.h"

#include <stdlib.h>
#include <string.h>

#include "shared/json.h"
#include "shared/limits.h"
#include "shared/model_tools.h"
#include "shared/utf8.h"

/* MODEL_PARTS_MAX digests of 67 bytes. */
#define PARTS_BYTES   (MODEL_PARTS_MAX * 68u)
#define RESULTS_BYTES (256u << 10)
/* Bytes of a method and of a path: what passes (gateway/policy.h) is no longer. */
#define METHOD_MAX        16
#define PATH_RECORDED_MAX 512

/* --- names --------------------------------------------------------------------------------------------------------------------------- */

static void copy_text(char ret[ATTEMPT_NAME_MAX + 1], const char *s)
{
    size_t n = strnlen(s, ATTEMPT_NAME_MAX);
    memcpy(ret, s, n);
    ret[n] = '\0';
}

void record_names_add(struct record_names *n, const char *id, const char *name)
{
    if (!n->items)
        n->items = calloc(RECORD_NAMES_MAX, sizeof(*n->items));
    if (!n->items)
        return;
    struct record_name *item = &n->items[n->next++ % RECORD_NAMES_MAX];
    copy_text(item->id, id);
    copy_text(item->name, name);
}

const char *record_names_find(const struct record_names *n, const char *id)
{
    size_t count = n->next < RECORD_NAMES_MAX ? n->next : RECORD_NAMES_MAX;
    for (size_t i = 0; n->items && i < count; i++)
        if (strncmp(n->items[i].id, id, ATTEMPT_NAME_MAX) == 0)
            return n->items[i].name;
    return "";
}

void record_names_done(struct record_names *n)
{
    free(n->items);
    n->items = NULL;
}

/* --- request ------------------------------------------------------------------------------------------------------------------------- */

void record_request_init(struct record_request *r)
{
    *r = (struct record_request){0};
    buf_init(&r->results, RESULTS_BYTES);
    buf_init(&r->parts, PARTS_BYTES);
}

void record_request_done(struct record_request *r)
{
    buf_done(&r->results);
    buf_done(&r->parts);
}

static void put_result(struct buf *out, const struct model_tool_result *t, const char *name)
{
    struct model_told told = {0};
    char hex[SHA256_HEX_LEN + 1];
    struct json j;
    if (out->len > 0)
        buf_append_char(out, ',');
    json_init(&j, out);
    json_obj_open(&j);
    json_kstrn(&j, "id", t->id, strnlen(t->id, ATTEMPT_NAME_MAX));
    sha256_hex_of(t->text, strlen(t->text), hex);
    json_kdigest(&j, "sha256", hex);
    if (model_tool_kind_of(name) == MODEL_TOOL_SHELL) {
        model_tool_told(name, t->text, t->is_error, &told);
        if (told.has_exit_code)
            json_kint(&j, "exitCode", told.exit_code);
        if (told.output != t->text) /* else it is the text, no head was known */
            sha256_hex_of(told.output, told.output_len, hex);
        json_kdigest(&j, "outputSha256", hex);
    }
    json_obj_close(&j);
}

struct part_keeper {
    struct record_request *r;
    struct ledger *ledger; /* NULL: digests only */
    bool all;              /* were kept */
};

static int on_part(void *ctx, const char *text, size_t len, struct arp_err *err)
{
    struct part_keeper *k = ctx;
    char hex[SHA256_HEX_LEN + 1];
    bool kept = true;
    int rc = 0;
    if (k->ledger)
        rc = ledger_blob(k->ledger, text, len, hex, &kept, err);
    else
        sha256_hex_of(text, len, hex);
    k->all = k->all && kept;
    if (rc == 0)
        buf_printf(&k->r->parts, "%s\"%s\"", k->r->parts.len ? "," : "", hex);
    return rc;
}

int record_request_take(struct record_request *r, const char *body, size_t len,
    const struct model_request *doc, const struct record_names *names, enum model_record policy,
    struct ledger *ledger, struct arp_err *err)
{
    r->bytes = len;
    sha256_hex_of(body, len, r->sha256);
    if (!doc)
        return 0;
    for (size_t i = 0; i < doc->result_count && i < RECORD_RESULTS_MAX; i++)
        put_result(&r->results, &doc->results[i], record_names_find(names, doc->results[i].id));
    int rc = model_request_digests(doc, r->full, r->shape, err);
    if (rc != 0 || policy == MODEL_RECORD_NONE)
        return rc;
    struct part_keeper k = {r, policy == MODEL_RECORD_FULL ? ledger : NULL, true};
    rc = model_request_parts(doc, on_part, &k, err);
    if (rc == ARP_E_TOO_LARGE) /* more parts than a record lists: none is better than some */
        return 0;
    /* A list under "full" promises blobs. */
    r->has_parts = rc == 0 && k.all;
    return rc;
}

/* --- line ---------------------------------------------------------------------------------------------------------------------------- */

static void put_request(struct json *j, const struct record_line *l)
{
    const struct record_request *r = l->request;
    json_kdigest(j, "reqSha256", r->sha256);
    json_kuint(j, "reqBytes", r->bytes);
    json_kdigest(j, "fullSha256", r->full);
    json_kdigest(j, "shapeSha256", r->shape);
}

static void put_answer(struct json *j, const struct record_line *l)
{
    static const struct model_usage none;
    const struct attempt *a = l->answer;
    int64_t ttfb_ms = a && a->first_ns ? (a->first_ns - a->started_ns) / 1000000 : -1;
    /* What the client got; of an attempt that was made again what the provider said. */
    json_kdigest(j, "respSha256", l->refused ? l->own_sha256 : a ? a->sha256 : NULL);
    json_kuint(j, "respBytes", l->refused ? l->own_bytes : a ? a->bytes : 0);
    json_kint(j, "ttfbMs", ttfb_ms);
    json_kint(j, "durMs", a ? (a->ended_ns - a->started_ns) / 1000000 : l->duration_ms);
    json_kbool(j, "cut", l->cut);
    json_key(j, "usage");
    model_usage_put(j, a ? &a->usage : &none);
}

/* A text of the client's: its start is enough of one that is longer than any that passes (LEDGER_SHORT_LINE). */
static void put_start(struct json *j, const char *key, const char *text, size_t max)
{
    size_t len = strlen(text);
    json_kstrn(j, key, text, utf8_cut(text, len, max));
}

/* A list, or null when lists are left out or this one overflowed. */
static void put_list(struct json *j, const char *key, const struct buf *items, bool lists)
{
    json_key(j, key);
    if (!lists || items->error) {
        json_null(j);
        return;
    }
    json_arr_open(j);
    buf_append(j->out, items->data, items->len);
    json_arr_close(j);
}

static void put_line(const struct record_line *l, bool lists, struct buf *out)
{
    static const char *const policies[] = {"none", "digest", "full"};
    static const struct buf empty;
    const struct record_request *r = l->request;
    struct json j;
    json_init(&j, out);
    j.need_comma = true;
    json_kuint(&j, "call", l->call);
    json_kuint(&j, "attempt", l->attempt);
    json_kstr(&j, "lane", l->side ? "side" : "main");
    json_kstr(&j, "provider", l->provider);
    json_kstr(&j, "dialect", model_dialect_name(l->dialect));
    put_start(&j, "method", l->method, METHOD_MAX);
    put_start(&j, "path", l->path, PATH_RECORDED_MAX);
    json_kstr(&j, "model", l->model[0] ? l->model : NULL);
    json_kstr(&j, "modelSent", l->model_sent ? l->model_sent : l->model[0] ? l->model : NULL);
    json_kint(&j, "status", l->status);
    json_kstr(&j, "refused", l->refused ? refusal_word(l->refused->kind) : NULL);
    put_request(&j, l);
    put_answer(&j, l);
    put_list(&j, "toolCalls", l->answer ? &l->answer->tools : &empty, lists);
    put_list(&j, "toolResults", &r->results, lists);
    put_list(&j, "parts", &r->parts, lists && r->has_parts);
    json_kstr(&j, "respBlob", l->resp_blob);
    json_kstr(&j, "policy", policies[l->policy]);
}

int record_write(const struct record_line *l, struct ledger *ledger, struct arp_err *err)
{
    cleanup_buf struct buf out;
    buf_init(&out, LIMIT_LINE);
    put_line(l, true, &out);
    int rc = out.error ? out.error : ledger_append(ledger, out.data, out.len, err);
    if (rc != ARP_E_TOO_LARGE)
        return rc;
    /* The lists of a request can be longer than a line. The line itself must not be missing. */
    buf_reset(&out);
    put_line(l, false, &out);
    rc = buf_error(&out, err);
    return rc ? rc : ledger_append(ledger, out.data, out.len, err);
}
