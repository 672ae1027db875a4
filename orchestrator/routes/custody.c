/*
 * Chains of custody and the signed days. Format: docs/formats/custody.md.
 */
#include <stdio.h>
#include <string.h>

#include "orchestrator/http/request.h"
#include "orchestrator/routes/app.h"
#include "orchestrator/routes/handlers.h"
#include "orchestrator/routes/render.h"
#include "orchestrator/seal/custody_head.h"
#include "orchestrator/store/custody.h"
#include "shared/clock.h"

/* Lines of one answer: with their proofs some 3 MB, 40 MB when all are holds with the longest reason of characters that are escaped. */
#define LINES_MAX 2000

/* The DSSE envelope of a day. */
static void render_day(struct json *j, const struct custody_head *h)
{
    cleanup_buf struct buf payload;
    buf_init(&payload, 4 * SIGNER_HEAD_MAX);
    base64_encode(h->head, strlen(h->head), &payload);
    json_obj_open(j);
    json_kstr(j, "payloadType", CUSTODY_HEAD_TYPE);
    json_kstr(j, "payload", buf_str(&payload));
    json_key(j, "signatures");
    json_arr_open(j);
    json_obj_open(j);
    json_kstr(j, "keyid", h->key_id);
    json_kstr(j, "sig", h->signature);
    json_obj_close(j);
    json_arr_close(j);
    json_obj_close(j);
}

/* Has one of the lines a proof in that day? A day that was signed after the lines were read has none yet, and is left out. */
static bool has_proof_in(const struct custody_lines *ls, const char *day)
{
    size_t i = 0;
    while (i < ls->n && strcmp(ls->v[i].day, day) != 0)
        i++;
    return i < ls->n;
}

/* ls: only days in which they are proven; NULL: all. */
static void render_days(struct json *j, const struct custody_heads *days, const struct custody_lines *ls)
{
    json_key(j, "days");
    json_arr_open(j);
    for (size_t i = 0; i < days->n; i++)
        if (!ls || has_proof_in(ls, days->v[i].day))
            render_day(j, &days->v[i]);
    json_arr_close(j);
}

static void render_proof(struct json *j, const struct custody_line *l)
{
    char hex[SHA256_HEX_LEN + 1];
    json_obj_open(j);
    json_kint(j, "seq", l->seq);
    json_kstr(j, "day", l->day);
    json_kint(j, "index", l->leaf);
    json_key(j, "path");
    json_arr_open(j);
    for (size_t i = 0; i < l->path->n; i++) {
        hex_encode(l->path->hash[i], SHA256_BYTES, hex);
        json_str(j, hex);
    }
    json_arr_close(j);
    json_obj_close(j);
}

static void render_chain(
    struct json *j, const char *run_id, const struct custody_lines *ls, const struct custody_heads *days)
{
    json_obj_open(j);
    json_kstr(j, "runId", run_id);
    json_key(j, "lines");
    json_arr_open(j);
    for (size_t i = 0; i < ls->n; i++)
        json_str(j, ls->v[i].line);
    json_arr_close(j);
    json_key(j, "proofs");
    json_arr_open(j);
    for (size_t i = 0; i < ls->n; i++)
        if (ls->v[i].path)
            render_proof(j, &ls->v[i]);
    json_arr_close(j);
    render_days(j, days, ls);
    if (ls->n == LINES_MAX)
        json_kint(j, "nextAfter", ls->v[ls->n - 1].seq);
    else
        json_knull(j, "nextAfter");
    json_obj_close(j);
}

int route_custody_get(void *ctx, struct http_req *req, struct arp_err *err)
{
    const struct app *app = ctx;
    const char *user_id = http_req_identity(req)->user_id;
    const char *run_id = http_req_param(req, "id");
    static const char *const names[] = {"after"};
    struct custody_lines ls = {0};
    struct custody_heads days = {0};
    int64_t after;
    int rc = http_req_check_query(req, names, 1, err);
    if (rc == 0)
        rc = http_req_after(req, &after, err);
    if (rc == 0)
        rc = custody_read(app->db, user_id, run_id, after, LINES_MAX, &ls, err);
    if (rc == 0 && ls.n == 0)
        rc = custody_check_owner(app->db, user_id, run_id, err);
    if (rc == 0 && ls.n > 0)
        rc = custody_days_of(app->db, user_id, run_id, ls.v[0].seq, ls.v[ls.n - 1].seq, &days, err);
    if (rc == 0) {
        cleanup_answer struct answer a;
        render_chain(answer_open(&a), run_id, &ls, &days);
        answer_send(&a, req, 200);
    }
    custody_lines_done(&ls);
    custody_heads_done(&days);
    return rc;
}

static int check_note(const cJSON *body, const char **ret_hex, const char **ret_verdict, struct arp_err *err)
{
    static const char *const verdicts[] = {"verified", "failed", "untrusted"};
    const char *digest = json_get_str(body, "zipSha256");
    if (strcmp(json_get_str(body, "action"), "verified") != 0)
        return arp_fail_field(err, "action", "'action' must be \"verified\"");
    if (strncmp(digest, "sha256:", 7) != 0 || !sha256_hex_ok(digest + 7))
        return arp_fail_field(
            err, "zipSha256", "'zipSha256' must be \"sha256:\" and 64 lower-case hex digits");
    *ret_hex = digest + 7;
    *ret_verdict = json_get_str(body, "verdict");
    for (size_t i = 0; i < sizeof(verdicts) / sizeof(verdicts[0]); i++)
        if (strcmp(*ret_verdict, verdicts[i]) == 0)
            return 0;
    return arp_fail_field(err, "verdict", "'verdict' must be one of verified, failed, untrusted");
}

int route_custody_note(void *ctx, struct http_req *req, struct arp_err *err)
{
    const struct app *app = ctx;
    static const struct json_field fields[] = {
        {"action", JSON_STRING, true}, {"zipSha256", JSON_STRING, true}, {"verdict", JSON_STRING, true}};
    cleanup_cjson cJSON *body = NULL;
    const char *hex = NULL, *verdict = NULL;
    char remote[HTTP_REMOTE_MAX];
    int rc = render_read_body(req, fields, 3, &body, err);
    if (rc == 0)
        rc = check_note(body, &hex, &verdict, err);
    if (rc)
        return rc;
    struct custody_by by = render_custody_by(req, remote);
    rc = custody_verified(
        app->db, http_req_identity(req)->user_id, http_req_param(req, "id"), hex, verdict, &by, err);
    if (rc == 0)
        answer_no_content(req);
    return rc;
}

/* A cursor here is the last day seen. */
static int check_cursor(const char *cursor, struct arp_err *err)
{
    char iso[64];
    int64_t us;
    if (!cursor)
        return 0;
    snprintf(iso, sizeof(iso), "%.20sT00:00:00.000Z", cursor);
    return strlen(cursor) == CUSTODY_DAY_LEN && clock_parse_iso(iso, &us, err) == 0
               ? 0
               : arp_fail_field(err, "cursor", "'cursor' is not one that a page gave");
}

int route_custody_days(void *ctx, struct http_req *req, struct arp_err *err)
{
    const struct app *app = ctx;
    unsigned limit;
    const char *cursor;
    struct custody_heads days = {0};
    int rc = render_page_query(req, &limit, &cursor, err);
    if (rc == 0)
        rc = check_cursor(cursor, err);
    if (rc == 0)
        rc = custody_days(app->db, limit, cursor, &days, err);
    if (rc)
        return rc;
    cleanup_answer struct answer a;
    struct json *j = answer_open(&a);
    json_obj_open(j);
    render_days(j, &days, NULL);
    json_kstr(j, "nextCursor", days.n == limit ? days.v[days.n - 1].day : NULL);
    json_obj_close(j);
    custody_heads_done(&days);
    answer_send(&a, req, 200);
    return 0;
}
