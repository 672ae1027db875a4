/*
 * Built-in engine: see builtin.h.
 */
#include "agent/builtin.h"

#include <inttypes.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/builtin_answer.h"
#include "agent/builtin_codec.h"
#include "agent/builtin_text.h"
#include "shared/clock.h"
#include "shared/fd.h"
#include "shared/json.h"
#include "shared/model_request.h"

/* Answers in a row that can't be carried out, after which nothing better is expected. */
#define MALFORMED_MAX 3
/* Asks for one answer: a stream that breaks twice breaks for a reason. */
#define ASKS_MAX 2
/* A token is about four bytes, where no one counted. */
#define BYTES_PER_TOKEN 4u
/* Where elision begins, and what it aims for, in tenths of the window. */
#define ELIDE_FROM 8u
#define ELIDE_TO   6u
/* Results of tools, as the model gets them: two streams' ends, or a piece of a file, or a list of changed files. */
#define SAID_MAX (4u << 20)

struct loop {
    const struct builtin_spec *spec;
    struct builtin_result *result;
    struct builtin_tools tools;
    cJSON *schemas;
    struct builtin_talk talk;
    struct buf system, body;
    bool ended;
    bool went_on;       /* the last answer was too long, and it was asked to go on */
    unsigned malformed; /* in a row */
    uint64_t tokens;    /* of all answers */
    uint64_t context;   /* tokens of the conversation, as far as is known */
};

/* --- ending --- */

__attribute__((format(printf, 3, 4))) static void end(
    struct loop *l, enum builtin_end how, const char *fmt, ...)
{
    if (l->ended)
        return;
    l->ended = true;
    l->result->end = how;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(l->result->message, sizeof(l->result->message), fmt, ap);
    va_end(ap);
}

/* By a code of somebody who was called. */
static void end_by(struct loop *l, int code, const char *message)
{
    enum builtin_end how = code == ARP_E_TIMEOUT ? BUILTIN_TIMEOUT
                           : code == ARP_E_GONE  ? BUILTIN_CANCELLED
                                                 : BUILTIN_FAILED;
    end(l, how, "%s", message);
}

/* Is the run over from outside? */
static void look_around(struct loop *l)
{
    struct pollfd p = {.fd = l->spec->cancel_fd, .events = POLLIN};
    if (l->spec->cancel_fd >= 0 && poll(&p, 1, 0) > 0)
        end(l, BUILTIN_CANCELLED, "cancelled");
    else if (clock_mono_ns() >= l->spec->deadline_ns)
        end(l, BUILTIN_TIMEOUT, "the run's time is up");
}

/* --- transcript --- */

static void line_open(struct json *j, struct buf *b, const struct loop *l, const char *type)
{
    buf_init(b, SIZE_MAX / 2);
    json_init(j, b);
    json_obj_open(j);
    json_kstr(j, "type", type);
    json_kuint(j, "step", l->result->steps);
}

static void line_close(struct json *j, struct buf *b, const struct loop *l)
{
    json_obj_close(j);
    buf_append_char(b, '\n');
    if (!b->error)
        l->spec->line(l->spec->io_ctx, b->data, b->len);
    buf_done(b);
}

static void tell_answer(const struct loop *l, const struct builtin_answer *a)
{
    static const char *const finishes[] = {"unfinished", "stopped", "tools", "length", "failed"};
    struct buf b;
    struct json j;
    line_open(&j, &b, l, "answer");
    json_kstr(&j, "finish", finishes[a->finish]);
    json_kstrn(&j, "text", buf_str(&a->text), a->text.len);
    json_kuint(&j, "calls", a->call_count);
    json_key(&j, "usage");
    model_usage_put(&j, &a->usage);
    line_close(&j, &b, l);
}

static void tell_trouble(const struct loop *l, const struct builtin_answer *a)
{
    struct buf b;
    struct json j;
    line_open(&j, &b, l, "ask_failed");
    json_kint(&j, "status", a->status);
    json_kstr(&j, "message", a->message);
    line_close(&j, &b, l);
}

static void tell_tool(
    const struct loop *l, const struct builtin_call *c, const struct buf *said, enum builtin_tool_end how)
{
    static const char *const ends[] = {"done", "failed", "malformed"};
    struct buf b;
    struct json j;
    line_open(&j, &b, l, "tool");
    json_kstr(&j, "id", c->id);
    json_kstr(&j, "name", c->name);
    json_kstrn(&j, "arguments", c->arguments, c->len);
    json_kstr(&j, "end", ends[how]);
    json_kstrn(&j, "result", buf_str(said), said->len);
    line_close(&j, &b, l);
}

static void tell_elided(const struct loop *l, size_t freed)
{
    struct buf b;
    struct json j;
    line_open(&j, &b, l, "elided");
    json_kuint(&j, "bytes", freed);
    line_close(&j, &b, l);
}

static void tell_end(const struct loop *l)
{
    static const char *const ends[] = {"succeeded", "failed", "timeout", "cancelled"};
    struct buf b;
    struct json j;
    line_open(&j, &b, l, "end");
    json_kstr(&j, "status", ends[l->result->end]);
    json_kstr(&j, "message", l->result->message[0] ? l->result->message : NULL);
    line_close(&j, &b, l);
}

/* --- conversation --- */

static void add(struct loop *l, enum builtin_item_kind kind, const char *id, const char *name,
    const char *text, size_t len)
{
    struct arp_err err = {0};
    int rc = builtin_talk_add(&l->talk, kind, id, name, text, len, &err);
    if (rc)
        end(l, BUILTIN_FAILED, "%s", err.msg);
}

static void elide(struct loop *l, bool hard, size_t want, size_t *ret_freed)
{
    struct arp_err err = {0};
    if (builtin_talk_elide(&l->talk, hard, want, ret_freed, &err))
        end(l, BUILTIN_FAILED, "%s", err.msg);
    uint64_t tokens = *ret_freed / BYTES_PER_TOKEN;
    l->context -= tokens < l->context ? tokens : l->context;
    if (*ret_freed > 0)
        tell_elided(l, *ret_freed);
}

static void keep_in_window(struct loop *l)
{
    uint64_t window = l->spec->window_tokens ? l->spec->window_tokens : BUILTIN_WINDOW;
    size_t freed = 0;
    if (l->context >= window / 10 * ELIDE_FROM)
        elide(l, false, (size_t)(l->context - window / 10 * ELIDE_TO) * BYTES_PER_TOKEN, &freed);
}

/* --- asking --- */

static void count(struct loop *l, const struct builtin_answer *a)
{
    uint64_t tokens = a->usage.input + a->usage.output;
    if (!a->usage.known)
        tokens = (l->body.len + a->text.len) / BYTES_PER_TOKEN;
    l->tokens += tokens;
    l->context = tokens;
    l->result->steps++;
}

/* The request for the conversation as it is. */
static void write_body(struct loop *l)
{
    struct arp_err err = {0};
    struct builtin_request r = {.dialect = l->spec->dialect,
        .model = l->spec->model,
        .system = buf_str(&l->system),
        .tools = l->schemas,
        .talk = &l->talk};
    buf_reset(&l->body);
    if (builtin_request_write(&r, &l->body, &err))
        end(l, BUILTIN_FAILED, "request to the model: %.300s", err.msg);
}

/* Ask until there is a whole answer in ret, or the run has ended. */
static void ask(struct loop *l, struct builtin_answer *ret)
{
    for (int asks = 1; !l->ended; asks++) {
        size_t freed = 0;
        write_body(l);
        look_around(l);
        if (l->ended)
            return;
        builtin_ask(l->spec, l->body.data, l->body.len, ret);
        if (ret->outcome == BUILTIN_ANSWERED)
            return;
        tell_trouble(l, ret);
        if (ret->outcome == BUILTIN_TOO_LONG) { /* a second time there is nothing left to elide */
            elide(l, true, 0, &freed);
            asks = 0;
        }
        if (ret->outcome == BUILTIN_STOPPED_BY)
            end_by(l, ret->code, ret->message);
        else if (freed == 0 && (ret->outcome != BUILTIN_BROKEN || asks >= ASKS_MAX))
            end(l, BUILTIN_FAILED, "%s", ret->message);
        builtin_answer_done(ret);
    }
}

/* --- working --- */

/* A name that a provider takes back. */
static const char *name_for_history(const char *name)
{
    static const char good[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";
    size_t len = strspn(name, good);
    return len > 0 && len <= 64 && name[len] == '\0' ? name : "unknown_tool";
}

/* Calls go back to the provider with the next request, and some read their arguments: what is no JSON object is wrapped into one. */
static void add_call(struct loop *l, const struct builtin_call *c)
{
    cleanup_cjson cJSON *doc = NULL;
    if (model_json(c->arguments, c->len, &doc, NULL) == 0 && cJSON_IsObject(doc)) {
        add(l, BUILTIN_CALL, c->id, name_for_history(c->name), c->arguments, c->len);
        return;
    }
    cleanup_buf struct buf b;
    struct json j;
    buf_init(&b, SIZE_MAX / 2);
    json_init(&j, &b);
    json_obj_open(&j);
    json_kstrn(&j, "malformed", c->arguments, c->len < 4096 ? c->len : 4096);
    json_obj_close(&j);
    add(l, BUILTIN_CALL, c->id, name_for_history(c->name), buf_str(&b), b.len);
}

/* Calls without an id get one, so that results can be told apart. */
static void name_calls(struct loop *l, struct builtin_answer *a)
{
    for (size_t i = 0; i < a->call_count; i++) {
        char id[64];
        if (a->calls[i].id[0])
            continue;
        snprintf(id, sizeof(id), "arp_%" PRIu64 "_%zu", l->result->steps, i);
        char *copy = strdup(id);
        if (!copy) {
            end(l, BUILTIN_FAILED, "out of memory");
            return;
        }
        free(a->calls[i].id);
        a->calls[i].id = copy;
    }
}

/* Do one call and add its result. Every call gets one, also when the run is over: a conversation with open calls can't be gone on with. */
static enum builtin_tool_end do_call(struct loop *l, const struct builtin_call *c)
{
    enum builtin_tool_end how = BUILTIN_TOOL_FAILED;
    struct arp_err err = {0};
    cleanup_buf struct buf said;
    buf_init(&said, SAID_MAX);
    look_around(l);
    if (!l->ended) {
        int rc = builtin_tool_call(&l->tools, c->name, c->arguments, c->len, &said, &how, &err);
        if (rc)
            end_by(l, rc, err.msg);
        else
            tell_tool(l, c, &said, how);
    }
    if (l->ended) {
        buf_reset(&said);
        buf_append_str(&said, "Not done: the run ended.");
    }
    add(l, BUILTIN_RESULT, c->id, NULL, buf_str(&said), said.len);
    return how;
}

static void count_malformed(struct loop *l, bool malformed)
{
    l->malformed = malformed ? l->malformed + 1 : 0;
    if (l->malformed >= MALFORMED_MAX)
        end(l, BUILTIN_FAILED, "%d answers of the model in a row could not be carried out", MALFORMED_MAX);
}

static void do_calls(struct loop *l, struct builtin_answer *a)
{
    size_t malformed = 0;
    name_calls(l, a);
    for (size_t i = 0; i < a->call_count; i++)
        add_call(l, &a->calls[i]);
    for (size_t i = 0; i < a->call_count; i++)
        malformed += do_call(l, &a->calls[i]) == BUILTIN_TOOL_MALFORMED;
    count_malformed(l, malformed == a->call_count);
    l->went_on = false;
}

static void say(struct loop *l, const char *text)
{
    add(l, BUILTIN_USER, NULL, NULL, text, strlen(text));
}

/* An answer that calls nothing: the end, unless it was cut by its length or is empty. */
static void conclude(struct loop *l, const struct builtin_answer *a)
{
    if (a->finish == MODEL_LENGTH && l->went_on) {
        end(l, BUILTIN_FAILED, "the model's answer was too long twice");
    } else if (a->finish == MODEL_LENGTH) {
        l->went_on = true;
        say(l, "Your answer was cut off because it was too long. Go on exactly where it stopped, or do the "
               "next step in smaller pieces.");
    } else if (a->text.len == 0) {
        count_malformed(l, true);
        say(l, "Your answer was empty. Go on with the task, or say in words that it is done.");
    } else {
        end(l, BUILTIN_SUCCEEDED, "%s", "");
    }
}

static void keep_text(struct loop *l, const struct builtin_answer *a)
{
    if (a->text.len == 0)
        return;
    if (!l->went_on)
        buf_reset(&l->result->final_text);
    buf_append(&l->result->final_text, a->text.data, a->text.len);
    add(l, BUILTIN_ASSISTANT, NULL, NULL, a->text.data, a->text.len);
}

static void step(struct loop *l)
{
    struct builtin_answer a = {0};
    uint64_t max_steps = l->spec->max_steps ? l->spec->max_steps : BUILTIN_STEPS;
    if (l->result->steps >= max_steps)
        end(l, BUILTIN_FAILED, "the limit of %" PRIu64 " steps is reached", max_steps);
    else if (l->spec->max_tokens && l->tokens >= l->spec->max_tokens)
        end(l, BUILTIN_FAILED, "the limit of %" PRIu64 " tokens is reached (%" PRIu64 " used)",
            l->spec->max_tokens, l->tokens);
    keep_in_window(l);
    ask(l, &a);
    if (!l->ended) {
        count(l, &a);
        tell_answer(l, &a);
        keep_text(l, &a);
        if (a.call_count > 0)
            do_calls(l, &a);
        else
            conclude(l, &a);
    }
    builtin_answer_done(&a);
}

/* --- the run --- */

/* The prompt for the repository, and what the project or agent adds. */
static void write_system(struct loop *l)
{
    const char *at = builtin_prompt, *hole;
    while ((hole = strstr(at, "{repo}")) != NULL) {
        buf_append(&l->system, at, (size_t)(hole - at));
        buf_append_str(&l->system, l->spec->files.repo_path);
        at = hole + strlen("{repo}");
    }
    buf_append_str(&l->system, at);
    if (l->spec->instructions && *l->spec->instructions)
        buf_printf(&l->system, "\n# Instructions\n%s\n", l->spec->instructions);
}

static void begin(struct loop *l)
{
    struct arp_err err = {0};
    const struct builtin_spec *s = l->spec;
    buf_init(&l->system, SIZE_MAX / 2);
    buf_init(&l->body, MODEL_REQUEST_MAX);
    l->tools = (struct builtin_tools){.files = s->files, .shell = s->shell, .ctx = s->ctx};
    if (s->dialect != MODEL_RESPONSES && s->dialect != MODEL_CHAT)
        end(l, BUILTIN_FAILED,
            "the built-in engine does not speak %s: it needs a provider of responses or chat",
            model_dialect_name(s->dialect));
    if (json_parse(builtin_tools, builtin_tools_len, &l->schemas, &err))
        end(l, BUILTIN_FAILED, "tools: %.300s", err.msg);
    if (s->earlier && builtin_talk_load(&l->talk, s->earlier, s->earlier_len, &err))
        end(l, BUILTIN_FAILED, "%s", err.msg);
    write_system(l);
    say(l, s->prompt);
    l->context = (l->talk.bytes + l->system.len) / BYTES_PER_TOKEN;
}

void builtin_run(const struct builtin_spec *spec, struct builtin_result *ret)
{
    struct loop l = {.spec = spec, .result = ret};
    *ret = (struct builtin_result){.end = BUILTIN_FAILED};
    buf_init(&ret->final_text, BUILTIN_TEXT_MAX);
    buf_init(&ret->conversation, BUILTIN_TALK_LINES_MAX);
    begin(&l);
    while (!l.ended)
        step(&l);
    if (ret->steps > 0 && builtin_talk_save(&l.talk, &ret->conversation, NULL))
        buf_done(&ret->conversation);
    tell_end(&l);
    builtin_talk_done(&l.talk);
    cJSON_Delete(l.schemas);
    buf_done(&l.system);
    buf_done(&l.body);
}

void builtin_result_done(struct builtin_result *r)
{
    buf_done(&r->final_text);
    buf_done(&r->conversation);
}

void builtin_digests(char ret_prompt[SHA256_HEX_LEN + 1], char ret_tools[SHA256_HEX_LEN + 1])
{
    sha256_hex_of(builtin_prompt, builtin_prompt_len, ret_prompt);
    sha256_hex_of(builtin_tools, builtin_tools_len, ret_tools);
}
