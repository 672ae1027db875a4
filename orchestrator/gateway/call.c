/*
 * Call: see call.h.
 */
#include "orchestrator/gateway/call.h"

#include <stdlib.h>
#include <string.h>

#include "orchestrator/gateway/request.h"
#include "orchestrator/gateway/retry.h"
#include "orchestrator/gateway/upload.h"
#include "shared/clock.h"

/* A provider that sent the first byte and then nothing for so long has forgotten us. Before the first byte a model may think as long as the run may. */
#define IDLE_NS (300ll * 1000000000)
/* For the rest of an error text that nobody waits for. */
#define DROPPED_NS (2ll * 1000000000)
/* Requests whose parsed documents wait for their record: bytes of one, and how many of a run. */
#define PREPARE_AT_ONCE (512u << 10)
#define UNPREPARED_MAX  16
#define MS_NS           1000000ll

enum call_state {
    CALL_NEW,       /* to be judged */
    CALL_WAITING,   /* for a place */
    CALL_ADMITTING, /* for the user's day */
    CALL_ASKING,    /* the provider is at it; its answer may be on its way already */
    CALL_RETRYING,  /* until again_ns */
    CALL_ANSWERING, /* all of the answer is in the upload's queue */
    CALL_OVER
};

struct call {
    struct call *next;
    struct gateway_run *run; /* borrowed */
    uint64_t number;
    enum call_state state;
    bool gone, has_place;
    int64_t began_ns, again_ns;
    struct request request;  /* its source until it is prepared */
    bool prepared, deferred; /* deferred: not yet, and counted in the run */
    struct record_request record;
    struct day_job *day;
    struct refusal refusal;
    bool refused, spent;
    char own_sha256[SHA256_HEX_LEN + 1]; /* of the answer to a refused call */
    uint64_t own_bytes, asked_bytes;     /* asked_bytes: of the request as it came */
    struct attempt attempt;
    bool has_attempt;
    unsigned attempts;
    bool again; /* the attempt is to be made again after wait_ms */
    int64_t wait_ms;
    struct upload upload;
    int status; /* given to the client, 0: none */
};

/* --- made and freed ---------------------------------------------------------------------------------------------------------------- */

struct call *call_of_frame(struct gateway_run *run, const struct frame *f, struct arp_err *err)
{
    struct call *c = calloc(1, sizeof(*c));
    if (!c)
        goto fail;
    c->run = run;
    c->number = f->call;
    c->began_ns = clock_mono_ns();
    upload_init(&c->upload);
    record_request_init(&c->record);
    c->asked_bytes = f->body->len;
    if (request_init(&c->request, f, err) == 0)
        return c;
fail:
    call_free(c);
    arp_fail(err, ARP_E_NOMEM, 0, "model call");
    return NULL;
}

void call_free(struct call *c)
{
    if (!c)
        return;
    if (c->has_attempt)
        attempt_done(&c->attempt);
    upload_done(&c->upload);
    record_request_done(&c->record);
    request_done(&c->request);
    free(c);
}

uint64_t call_number(const struct call *c)
{
    return c->number;
}

struct call *call_next(const struct call *c)
{
    return c->next;
}

struct call **call_link(struct call *c)
{
    return &c->next;
}

size_t call_held(const struct call *c)
{
    return c->request.body.len + c->request.sent.len;
}

void call_gone(struct call *c)
{
    c->gone = true;
}

bool call_is_over(const struct call *c)
{
    return c->state == CALL_OVER;
}

/* --- record ------------------------------------------------------------------------------------------------------------------------ */

bool call_prepares(const struct call *c)
{
    return c->deferred;
}

static void prepare(struct call *c)
{
    struct arp_err err = {0};
    struct gateway_run *run = c->run;
    c->prepared = true;
    run->unprepared -= c->deferred;
    c->deferred = false;
    struct request *r = &c->request;
    /* Of a body that was read over there is nothing to say. */
    if (!r->too_large && record_request_take(&c->record, buf_str(&r->body), r->body.len, request_doc(r),
                             &run->names, run->record, run->ledger, &err) != 0)
        gateway_run_record_failed(run, &err);
    request_drop_source(r);
}

void call_prepare(struct call *c)
{
    int64_t began = clock_mono_ns();
    prepare(c);
    gateway_run_charge(c->run, began);
}

/* The line of the attempt at hand, or of none when the provider was not asked. */
static void write_line(struct call *c, int status, bool cut)
{
    struct arp_err err = {0};
    struct gateway_run *run = c->run;
    struct attempt *a = c->has_attempt ? &c->attempt : NULL;
    bool kept = false;
    int64_t began = clock_mono_ns();
    if (!c->prepared)
        prepare(c);
    if (a && a->spool &&
        ledger_spool_end(a->spool, a->spool_failed || c->refused ? NULL : a->sha256, &kept, &err) != 0)
        gateway_run_record_failed(run, &err);
    if (a)
        a->spool = NULL;
    const struct request *r = &c->request;
    struct record_line line = {.call = c->number,
        .attempt = a ? a->number : c->attempts + 1,
        .side = r->side,
        .cut = cut,
        .provider = run->provider.name,
        .method = r->method,
        .path = r->path,
        .model = r->model,
        .model_sent = r->model_sent,
        .dialect = r->dialect,
        .status = status,
        .refused = c->refused ? &c->refusal : NULL,
        .own_sha256 = c->own_sha256,
        .own_bytes = c->own_bytes,
        .request = &c->record,
        .answer = a,
        .resp_blob = kept ? a->sha256 : NULL,
        .duration_ms = (clock_mono_ns() - c->began_ns) / MS_NS,
        .policy = run->record};
    run->lines++;
    if (record_write(&line, run->ledger, &err) != 0)
        gateway_run_record_failed(run, &err);
    gateway_run_charge(run, began);
}

/* Tokens of the attempt. What the provider did not tell (a stream without usage; of an answer that was left before its end or its beginning: all or
 * the last number) is estimated, four bytes for a token, so that a budget can't be gone round by not listening to the end. */
static struct model_usage cost_of(const struct call *c)
{
    const struct attempt *a = &c->attempt;
    struct model_usage usage = a->usage;
    uint64_t written = a->text_bytes / 4;
    bool answered = a->status == 200 || (a->status == 0 && a->left);
    if (!answered || c->request.route.kind != MODEL_GENERATE)
        return usage;
    if (!usage.known)
        usage.input = c->asked_bytes / 4;
    if ((!usage.known || a->finish == MODEL_UNFINISHED) && usage.output < written)
        usage.output = written;
    return usage;
}

static void spend(struct call *c)
{
    struct gateway_run *run = c->run;
    const struct attempt *a = &c->attempt;
    static const char *const kinds[] = {"input", "cached_input", "output", "reasoning"};
    if (c->spent)
        return;
    c->spent = true;
    const struct model_usage usage = cost_of(c);
    if (usage.input + usage.output == 0)
        return;
    budget_spend(&run->budget, &usage);
    day_desk_add(run->desk, &run->day, 0, &usage);
    if (!a->usage.known)
        return;
    const uint64_t tokens[] = {a->usage.input, a->usage.cached_input, a->usage.output, a->usage.reasoning};
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        metrics_count(run->metrics, METRIC_MODEL_TOKENS, tokens[i], METRIC_LABELS(kinds[i]));
    model_usage_add(&run->sums.usage, &a->usage);
}

static void count(struct call *c, bool cut)
{
    struct gateway_run *run = c->run;
    const char *outcome = c->refused ? "refused" : cut ? "cut" : c->status >= 400 ? "error" : "ok";
    run->sums.refused += c->refused;
    run->sums.cut += cut;
    metrics_count(
        run->metrics, METRIC_MODEL_CALLS, 1, METRIC_LABELS(model_dialect_name(c->request.dialect), outcome));
    metrics_observe(run->metrics, METRIC_MODEL_CALL_DURATION, clock_mono_ns() - c->began_ns, NULL);
    if (c->refused)
        metrics_count(run->metrics, METRIC_MODEL_REFUSED, 1, METRIC_LABELS(refusal_word(c->refusal.kind)));
}

/* An answer that is one document is read only now. */
static void end_attempt(struct call *c)
{
    int64_t began = clock_mono_ns();
    attempt_finish(&c->attempt);
    gateway_run_charge(c->run, began);
}

/* The client has all that it will get. */
static void finish(struct call *c)
{
    const struct attempt *a = &c->attempt;
    bool whole = upload_whole(&c->upload) && (c->refused || (c->has_attempt && a->whole));
    /* CLIs hang up at a stream's last event: then they have it all. */
    bool had_end = !c->refused && c->has_attempt && a->reader && a->finish != MODEL_UNFINISHED;
    bool cut = !whole && !had_end;
    write_line(c, c->status, cut);
    count(c, cut);
    if (c->has_attempt)
        spend(c);
    day_job_forget(c->run->desk, c->day);
    c->day = NULL;
    if (c->has_place)
        c->run->active--;
    transfer_close(&c->upload.t);
    c->state = CALL_OVER;
}

void call_abort(struct call *c)
{
    if (c->state == CALL_OVER)
        return;
    if (c->has_attempt)
        end_attempt(c);
    finish(c);
}

/* --- answer ------------------------------------------------------------------------------------------------------------------------ */

static void start_upload(struct call *c, const struct upload_head *head)
{
    c->status = head->status;
    if (upload_start(&c->upload, c->run->multi, &c->run->target, c->run->run_id, c->number, head, NULL) != 0)
        c->gone = true;
}

/* Answer it ourselves, as c->refusal says. */
static int64_t answer_refusal(struct call *c)
{
    struct upload_head head = {c->refusal.status, "application/json", ""};
    struct buf body;
    buf_init(&body, 8192);
    c->refused = true;
    refusal_write(&c->refusal, c->request.dialect, &body);
    sha256_hex_of(body.data, body.len, c->own_sha256);
    c->own_bytes = body.len;
    if (!upload_put(&c->upload, body.data, body.len))
        c->gone = true;
    buf_done(&body);
    upload_end(&c->upload);
    start_upload(c, &head);
    c->state = CALL_ANSWERING;
    return 0;
}

static int64_t answering(struct call *c)
{
    if (c->upload.t.over) {
        finish(c);
        return 0;
    }
    return upload_turn(&c->upload) ? 0 : INT64_MAX;
}

static int64_t judge(struct call *c)
{
    struct gateway_run *run = c->run;
    int64_t began = clock_mono_ns();
    bool passes = request_judge(&c->request, &run->provider, &c->refusal);
    if (passes && run->ledger_failed)
        passes = refuse(&c->refusal, REFUSED_UNAVAILABLE, 503, "model calls can't be recorded");
    /* A parsed document takes several times its text: many of them, or a large one, are not kept until there is time. */
    if (c->request.body.len > PREPARE_AT_ONCE || run->unprepared >= UNPREPARED_MAX) {
        prepare(c);
    } else {
        c->deferred = true;
        run->unprepared++;
    }
    gateway_run_charge(run, began);
    if (!passes)
        return answer_refusal(c);
    c->state = CALL_WAITING;
    return 0;
}

/* --- ask --------------------------------------------------------------------------------------------------------------------------- */

static bool decide_again(struct call *c, const struct attempt *a, int status)
{
    uint32_t random;
    random_bytes(&random, sizeof(random));
    struct retry_case r = {.attempt = a->number,
        .status = status,
        .retry_after = status ? a->retry_after : "",
        .retry_after_ms = status ? a->retry_after_ms : "",
        .now_s = clock_now_us() / 1000000,
        .left_ms = budget_left_ms(&c->run->budget, clock_mono_ns()),
        .random = random};
    c->again = retry_again(&r, &c->wait_ms);
    return c->again;
}

static bool hands_on(void *ctx, const struct attempt *a)
{
    struct call *c = ctx;
    /* A redirect would carry the key elsewhere, and the client could not follow it. The text of a 401 shows parts of the key (OpenAI's does). */
    bool usable = (a->status >= 200 && a->status <= 299) || (a->status >= 400 && a->status <= 599);
    return usable && a->status != 401 && !decide_again(c, a, a->status);
}

static bool put(void *ctx, const char *bytes, size_t len)
{
    struct call *c = ctx;
    if (upload_waiting(&c->upload) >= UPLOAD_QUEUE_HIGH || gateway_run_rests(c->run, c->attempt.last_ns))
        return false;
    if (upload_put(&c->upload, bytes, len))
        return true;
    call_gone(c); /* no memory: there never is room again */
    return false;
}

static void on_work(void *ctx, int64_t began_ns)
{
    struct call *c = ctx;
    gateway_run_charge(c->run, began_ns);
}

static void on_tool(void *ctx, const char *id, const char *name)
{
    struct call *c = ctx;
    record_names_add(&c->run->names, id, name);
}

static int64_t ask(struct call *c)
{
    struct gateway_run *run = c->run;
    struct attempt_sink sink = {hands_on, put, on_work, on_tool, c};
    const struct request *q = &c->request;
    struct attempt_request r = {.provider = &run->provider,
        .url = buf_str(&q->url),
        .headers = q->headers,
        .body = q->route.kind == MODEL_LIST ? NULL : buf_str(&q->sent),
        .body_len = q->sent.len,
        .dialect = q->dialect,
        .reads = q->route.kind == MODEL_GENERATE,
        .keep = run->record == MODEL_RECORD_FULL ? run->ledger : NULL};
    c->again = false;
    if (attempt_start(&c->attempt, run->multi, &r, &sink, c->attempts + 1, NULL) != 0) {
        refuse(&c->refusal, REFUSED_UNAVAILABLE, 503, "no memory for a model call");
        return answer_refusal(c);
    }
    c->attempts++;
    c->has_attempt = true;
    c->state = CALL_ASKING;
    return 0;
}

static int64_t wait_for_place(struct call *c, int64_t now_ns)
{
    static const struct model_usage none;
    struct gateway_run *run = c->run;
    unsigned places = run->budget.limits.concurrent;
    if (places > 0 && run->active >= places && !budget_is_late(&run->budget, now_ns))
        return run->budget.deadline_ns ? run->budget.deadline_ns : INT64_MAX;
    if (!budget_admit(&run->budget, now_ns, &c->refusal))
        return answer_refusal(c);
    run->active++;
    c->has_place = true;
    if (!budget_has_day(&run->budget)) {
        run->sums.calls++;
        day_desk_add(run->desk, &run->day, 1, &none);
        return ask(c);
    }
    c->day = day_desk_ask(run->desk, &run->day, &run->budget.limits);
    c->state = CALL_ADMITTING;
    return 0;
}

static int64_t admitting(struct call *c)
{
    struct gateway_run *run = c->run;
    enum day_verdict verdict = c->day ? day_job_take(run->desk, c->day) : DAY_UNKNOWN;
    if (verdict == DAY_PENDING)
        return INT64_MAX; /* the desk wakes us */
    c->day = NULL;
    if (!budget_day(&run->budget, verdict, &c->refusal))
        return answer_refusal(c);
    run->sums.calls++;
    return ask(c);
}

static void refuse_answer(struct call *c, bool answered)
{
    int status = c->attempt.status;
    if (!answered)
        refuse(&c->refusal, REFUSED_PROVIDER, 502, "%s",
            c->attempt.barred ? "the provider's name leads to an address that this server does not call"
                              : "the provider gave no answer");
    else if (status == 401)
        refuse(
            &c->refusal, REFUSED_KEY, 400, "the provider does not accept the key that is configured for it");
    else
        refuse(&c->refusal, REFUSED_PROVIDER, 502, "the provider's answer can't be handed on (status %d)",
            status);
}

/* The attempt is over and nothing of it was handed on. */
static int64_t on_nothing(struct call *c, int64_t now_ns)
{
    struct attempt *a = &c->attempt;
    struct gateway_run *run = c->run;
    bool answered = a->fate == ATTEMPT_DROPPED;
    if (answered ? c->again : a->transient && decide_again(c, a, 0)) {
        write_line(c, answered ? a->status : 0, !a->whole);
        attempt_done(a);
        c->has_attempt = false;
        c->state = CALL_RETRYING;
        c->again_ns = now_ns + c->wait_ms * MS_NS;
        run->sums.retries++;
        metrics_count(run->metrics, METRIC_MODEL_RETRIES, 1, NULL);
        return 0;
    }
    refuse_answer(c, answered);
    return answer_refusal(c);
}

static void start_answer(struct call *c)
{
    const struct attempt *a = &c->attempt;
    bool told = a->status == 429 || a->status == 503;
    struct upload_head head = {a->status, a->content_type[0] ? a->content_type : "application/octet-stream",
        told ? a->retry_after : ""};
    if (!c->upload.started)
        start_upload(c, &head);
}

/* The attempt will bring no more. */
static int64_t on_attempt_over(struct call *c, int64_t now_ns)
{
    struct attempt *a = &c->attempt;
    end_attempt(c);
    if (a->fate != ATTEMPT_HANDED)
        return on_nothing(c, now_ns);
    start_answer(c);
    spend(c); /* before the client can know that it has it all, and ask again */
    if (a->whole)
        upload_end(&c->upload);
    else
        upload_break(&c->upload);
    c->state = CALL_ANSWERING;
    return 0;
}

static int64_t on_late(struct call *c)
{
    struct attempt *a = &c->attempt;
    end_attempt(c);
    if (a->fate == ATTEMPT_HANDED)
        return on_attempt_over(c, 0);
    c->refusal = c->run->budget.why;
    return answer_refusal(c);
}

/* When the attempt has been silent for too long. */
static int64_t silence_ns(const struct attempt *a)
{
    if (a->fate == ATTEMPT_DROPPED)
        return a->first_ns + DROPPED_NS;
    return a->first_ns && !a->resting ? a->last_ns + IDLE_NS : INT64_MAX;
}

/* No attempt is made after this one, and libcurl has read all of the body. */
static void drop_sent(struct call *c)
{
    curl_off_t up = 0;
    struct buf *sent = &c->request.sent;
    if (sent->len > 0 && curl_easy_getinfo(c->attempt.t.easy, CURLINFO_SIZE_UPLOAD_T, &up) == CURLE_OK &&
        (size_t)up >= sent->len)
        buf_done(sent);
}

static int64_t asking(struct call *c, int64_t now_ns)
{
    struct attempt *a = &c->attempt;
    if (attempt_is_over(a) || now_ns >= silence_ns(a))
        return on_attempt_over(c, now_ns);
    if (c->upload.t.over) { /* before the answer's end: the client left */
        call_abort(c);
        return 0;
    }
    if (budget_is_late(&c->run->budget, now_ns))
        return on_late(c);
    if (a->fate == ATTEMPT_HANDED && !c->upload.started) {
        start_answer(c);
        drop_sent(c);
        return 0;
    }
    int64_t rests = a->resting ? gateway_run_rests(c->run, now_ns) : 0;
    if (a->resting && !rests && upload_waiting(&c->upload) <= UPLOAD_QUEUE_LOW) {
        attempt_resume(a);
        return 0;
    }
    if (upload_turn(&c->upload))
        return 0;
    int64_t next = rests ? rests : silence_ns(a), deadline = c->run->budget.deadline_ns;
    return deadline && deadline < next ? deadline : next;
}

/* --- turns ------------------------------------------------------------------------------------------------------------------------- */

/* Is its request to be read now, or the end of its answer, or its record to be made? Also when nobody waits for it any more. */
static bool is_work(const struct call *c)
{
    bool asking = c->state == CALL_ASKING;
    bool over = c->gone || c->upload.t.over || (asking && attempt_is_over(&c->attempt));
    return c->state == CALL_NEW || (over && (asking || c->deferred));
}

int64_t call_turn(struct call *c, int64_t now_ns)
{
    int64_t rests = is_work(c) ? gateway_run_rests(c->run, now_ns) : 0;
    if (rests)
        return rests;
    if (c->gone && c->state != CALL_OVER) {
        call_abort(c);
        return 0;
    }
    switch (c->state) {
    case CALL_NEW:
        return judge(c);
    case CALL_WAITING:
        return wait_for_place(c, now_ns);
    case CALL_ADMITTING:
        return admitting(c);
    case CALL_ASKING:
        return asking(c, now_ns);
    case CALL_RETRYING:
        return now_ns >= c->again_ns ? ask(c) : c->again_ns;
    case CALL_ANSWERING:
        return answering(c);
    case CALL_OVER:
        break;
    }
    return INT64_MAX;
}
