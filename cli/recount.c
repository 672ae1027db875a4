/*
 * Counting anew: see recount.h.
 */
#include "cli/recount.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "shared/clock.h"
#include "shared/command_text.h"
#include "shared/limits.h"
#include "shared/model_tools.h"

/* Comparisons of one bundle: seconds of work. A recorder's files need far fewer. */
#define WORK_MAX 2000000000ull
#define NOBODY   SIZE_MAX
/* Two clocks of one start differ by less. */
#define SLACK_US 2000000

/* A shell command that was asked for. */
struct wish {
    char *id;
    char command[SHA256_HEX_LEN + 1];
    bool cut, told, code_known;
    double code;
    char output[SHA256_HEX_LEN + 1];
};

/* A command that ran. */
struct deed {
    size_t id; /* NOBODY: its end was not streamed */
    bool shim, abandoned, setup, inside, asked_for;
    double pid, code;
    char signal[16];
    int64_t from_us, to_us;
    struct command_texts texts;
    char outputs[3][SHA256_HEX_LEN + 1];
    size_t output_count;
    size_t life; /* its process, or NOBODY */
};

/* A process. */
struct life {
    double pid, code;
    bool ended;
    char signal[16];
    size_t in; /* the innermost deed it is part of, or NOBODY */
};

struct count {
    const struct verification *v;
    struct recount out;
    struct wish *wishes;
    size_t wish_count;
    struct deed *deeds;
    size_t deed_count;
    struct life *lives;
    size_t life_count;
    size_t *life_at; /* by line of processes.jsonl */
    uint64_t work;
    const char *trouble;
};

static bool text_is(const char *a, const char *b)
{
    return a && strcmp(a, b) == 0;
}

static double number_at(const cJSON *obj, const char *name, double otherwise)
{
    const cJSON *v = json_at(obj, name);
    return cJSON_IsNumber(v) ? v->valuedouble : otherwise;
}

static void copy_digest(const cJSON *obj, const char *name, char ret[SHA256_HEX_LEN + 1])
{
    const char *hex = sha256_hex_in(json_str_at(obj, name));
    ret[0] = '\0';
    if (hex)
        memcpy(ret, hex, SHA256_HEX_LEN + 1);
}

/* Some steps of work were done; false: too many. */
static bool spend(struct count *k, uint64_t steps)
{
    k->work += steps;
    if (k->work > WORK_MAX)
        k->trouble = "there is too much to count";
    return !k->trouble;
}

/* --- asked and told ------------------------------------------------------------------------------------------------------------ */

/* A result is of the latest call of its id, and the first one told counts. */
static void hear(struct count *k, const cJSON *result)
{
    const char *id = json_str_at(result, "id");
    size_t i = k->wish_count;
    while (i > 0 && !text_is(id, k->wishes[i - 1].id))
        i--;
    spend(k, k->wish_count - i + 1);
    if (i == 0 || k->wishes[i - 1].told)
        return;
    struct wish *w = &k->wishes[i - 1];
    w->told = true;
    w->code_known = cJSON_IsNumber(json_at(result, "exitCode"));
    w->code = number_at(result, "exitCode", 0);
    copy_digest(result, "outputSha256", w->output);
}

static void wish(struct count *k, const cJSON *call, bool cut)
{
    struct wish w = {.cut = cut};
    const char *name = json_str_at(call, "name"), *id = json_str_at(call, "id");
    k->out.edit_calls += name && model_tool_kind_of(name) == MODEL_TOOL_EDIT;
    copy_digest(call, "commandSha256", w.command);
    if (!w.command[0])
        return;
    if (k->wish_count == RECOUNT_ASKS_MAX) {
        k->trouble = "more commands were asked for than are counted";
        return;
    }
    w.id = strdup(id ? id : "");
    if (!w.id)
        k->trouble = "memory is too short";
    else
        k->wishes[k->wish_count++] = w;
}

static void read_model_line(struct count *k, const cJSON *line)
{
    const cJSON *item;
    double status = number_at(line, "status", 0);
    k->out.attempts++;
    if (json_str_at(line, "refused")) {
        k->out.refused++;
        return;
    }
    if (cJSON_IsNull(json_at(line, "toolCalls")))
        k->trouble = "a model call has more tool calls than its line lists";
    cJSON_ArrayForEach(item, json_at(line, "toolResults"))
    {
        hear(k, item);
    }
    if (status < 200 || status > 299)
        return;
    cJSON_ArrayForEach(item, json_at(line, "toolCalls"))
    {
        wish(k, item, cJSON_IsTrue(json_at(line, "cut")));
    }
}

/* --- ran ----------------------------------------------------------------------------------------------------------------------- */

/* The forms in which a command's whole output may have been told: when one stream alone has bytes, and they all stand in the line. */
static void read_output(struct deed *d, const cJSON *line)
{
    double out = number_at(line, "stdoutBytes", -1), err = number_at(line, "stderrBytes", -1);
    const char *stream = out > 0 && err == 0 ? "stdout" : out == 0 && err > 0 ? "stderr" : NULL;
    if (!stream)
        return;
    const char *text = json_str_at(line, stream);
    const char *want =
        sha256_hex_in(json_str_at(line, *(stream + 3) == 'o' ? "stdoutSha256" : "stderrSha256"));
    size_t len = text ? strlen(text) : 0;
    char hex[SHA256_HEX_LEN + 1];
    sha256_hex_of(text ? text : "", len, hex);
    if (len == 0 || !want || strcmp(want, hex) != 0)
        return;
    memcpy(d->outputs[d->output_count++], hex, sizeof(hex));
    if (text[len - 1] == '\n')
        sha256_hex_of(text, len - 1, d->outputs[d->output_count++]);
    while (len > 0 && isspace((unsigned char)text[len - 1]))
        len--;
    sha256_hex_of(text, len, d->outputs[d->output_count++]);
}

static void read_command(struct count *k, size_t id, const struct text_line *line)
{
    cleanup_cjson cJSON *obj = line_parse(line);
    const char *origin = json_str_at(obj, "origin"), *text = json_str_at(obj, "command"),
               *ts = json_str_at(obj, "ts"), *signal = json_str_at(obj, "signal");
    struct deed d = {.id = id, .shim = text_is(origin, "shim"), .life = NOBODY};
    if (!(d.shim || text_is(origin, "builtin")) || !text || !ts ||
        clock_parse_iso(ts, &d.from_us, NULL) != 0 || command_text_digests(text, &d.texts, NULL) != 0)
        return;
    double ms = number_at(obj, "durationMs", 0);
    d.to_us = d.from_us + (ms > 0 && ms <= (double)LIMIT_RUN_TIMEOUT_MS ? (int64_t)ms * 1000 : 0);
    d.setup = command_text_is_setup(text);
    d.abandoned = cJSON_IsTrue(json_at(obj, "abandoned"));
    d.pid = number_at(obj, "pid", 0);
    d.code = number_at(obj, "exitCode", -1);
    snprintf(d.signal, sizeof(d.signal), "%s", signal ? signal : "");
    read_output(&d, obj);
    k->deeds[k->deed_count++] = d;
}

/* In order of their numbers; what was logged and not streamed last. */
static void read_commands(struct count *k)
{
    const struct verification *v = k->v;
    for (size_t id = 0; id < v->command_count; id++)
        if (v->commands[id].line < v->log_line_count)
            read_command(k, id, &v->log_lines[v->commands[id].line]);
    for (size_t n = v->finished_count; n < v->log_line_count; n++)
        read_command(k, NOBODY, &v->log_lines[n]);
}

/* --- processes ----------------------------------------------------------------------------------------------------------------- */

/* The latest process of that pid, or NOBODY. */
static size_t find_life(struct count *k, double pid)
{
    size_t i = k->life_count;
    while (i > 0 && k->lives[i - 1].pid != pid)
        i--;
    spend(k, k->life_count - i + 1);
    return i ? i - 1 : NOBODY;
}

static size_t begin_life(struct count *k, double pid, double ppid, int64_t us)
{
    struct life l = {.pid = pid, .code = -1, .in = NOBODY};
    size_t parent = find_life(k, ppid), self = k->life_count;
    if (parent != NOBODY && !k->lives[parent].ended)
        l.in = k->lives[parent].in;
    size_t i = 0;
    for (; i < k->deed_count; i++) {
        const struct deed *d = &k->deeds[i];
        if (d->shim && d->pid == pid && pid > 0 && d->life == NOBODY && us >= d->from_us - SLACK_US &&
            us <= d->to_us + SLACK_US)
            break;
    }
    spend(k, i + 1);
    if (i < k->deed_count) {
        k->deeds[i].inside = l.in != NOBODY && k->deeds[l.in].id != NOBODY;
        k->deeds[i].life = self;
        l.in = i;
    }
    k->lives[k->life_count++] = l;
    return self;
}

static void read_process(struct count *k, size_t n, const cJSON *line)
{
    const char *type = json_str_at(line, "type"), *ts = json_str_at(line, "ts"),
               *signal = json_str_at(line, "signal");
    double pid = number_at(line, "pid", -1);
    int64_t us;
    k->life_at[n] = NOBODY;
    if (!type || pid < 0 || !ts || clock_parse_iso(ts, &us, NULL) != 0)
        return;
    if (text_is(type, "exit")) {
        double exec = number_at(line, "execSeq", -1);
        size_t at = exec >= 0 && exec < (double)n ? k->life_at[(size_t)exec] : NOBODY;
        if (at == NOBODY)
            return;
        k->lives[at].ended = true;
        k->lives[at].code = number_at(line, "exitCode", -1);
        snprintf(k->lives[at].signal, sizeof(k->lives[at].signal), "%s", signal ? signal : "");
        return;
    }
    size_t at = find_life(k, pid);
    if (at == NOBODY || k->lives[at].ended)
        at = begin_life(k, pid, number_at(line, "ppid", -1), us);
    k->life_at[n] = at;
    k->out.outside += k->lives[at].in == NOBODY;
}

/* The shim's word against the kernel's; true: they contradict. */
static bool is_contradicted(const struct count *k, const struct deed *d, bool dropped)
{
    bool not_started = d->pid == 0 && (d->code == 126 || d->code == 127 || d->code == -1);
    if (!d->shim || d->abandoned || not_started || k->v->process_line_count == 0)
        return false;
    if (d->life == NOBODY)
        return !dropped;
    const struct life *l = &k->lives[d->life];
    if (!l->ended || (l->code < 0 && !l->signal[0]))
        return false;
    return l->signal[0] ? strcmp(l->signal, d->signal) != 0 : d->signal[0] || l->code != d->code;
}

/* --- held against one another -------------------------------------------------------------------------------------------------- */

static bool has_text(const struct deed *d, const char *hex)
{
    for (size_t i = 0; i < d->texts.n; i++)
        if (strcmp(d->texts.v[i], hex) == 0)
            return true;
    return false;
}

static bool has_output(const struct deed *d, const char *hex)
{
    for (size_t i = 0; i < d->output_count; i++)
        if (strcmp(d->outputs[i], hex) == 0)
            return true;
    return false;
}

static void compare(struct count *k, const struct wish *w)
{
    struct verify_reconciliation *n = &k->out.counts;
    size_t i = 0;
    while (i < k->deed_count && (k->deeds[i].asked_for || !has_text(&k->deeds[i], w->command)))
        i++;
    spend(k, i + 1);
    if (i == k->deed_count) {
        n->cut += w->cut && !w->told;
        n->missing += !(w->cut && !w->told);
        return;
    }
    struct deed *d = &k->deeds[i];
    d->asked_for = true;
    n->matched++;
    n->misreported += w->code_known && w->code != d->code;
    n->misreported +=
        w->code_known && w->output[0] && d->output_count > 0 && !d->abandoned && !has_output(d, w->output);
}

static void count_deeds(struct count *k)
{
    cleanup_cjson cJSON *done = line_parse(&k->v->run_completed);
    bool dropped = number_at(done, "recordsDropped", 0) > 0;
    for (size_t i = 0; i < k->deed_count; i++) {
        const struct deed *d = &k->deeds[i];
        k->out.counts.unattributed += !d->asked_for;
        k->out.counts.setup += !d->asked_for && (d->setup || d->inside);
        k->out.counts.misreported += is_contradicted(k, d, dropped);
    }
}

static void count_changes(struct count *k)
{
    static const char head[] = "diff --git ";
    const struct packed_file *f = packed_find(&k->v->zip, "diff.patch");
    bool explained = k->out.edit_calls > 0 || k->deed_count > 0;
    for (const char *p = f->data, *end = f->data + f->size, *lf; p < end; p = lf + 1) {
        lf = memchr(p, '\n', (size_t)(end - p));
        if (!lf)
            lf = end;
        bool is_head = (size_t)(lf - p) >= sizeof(head) && memcmp(p, head, sizeof(head) - 1) == 0;
        k->out.counts.changed_paths += is_head;
        k->out.counts.unexplained += is_head && !explained;
    }
}

/* --- model calls --------------------------------------------------------------------------------------------------------------- */

/* The last attempt of a call, and what an event says of it. */
struct exchange {
    double call, attempt;
    size_t line;
    bool side, seen;
};

static int by_call(const void *a, const void *b)
{
    const struct exchange *x = a, *y = b;
    if (x->call != y->call)
        return x->call < y->call ? -1 : 1;
    return x->attempt < y->attempt ? -1 : x->attempt > y->attempt;
}

/* True when either is not known. A text that is no digest is none of the line's. */
static bool same_digest(const cJSON *event, const cJSON *line, const char *name)
{
    const char *text = json_str_at(event, name);
    const char *told = sha256_hex_in(text), *want = sha256_hex_in(json_str_at(line, name));
    return !text || !want || (told && strcmp(told, want) == 0);
}

/* One difference at most is counted for an event. */
static bool differs(const cJSON *event, const cJSON *line)
{
    double got = number_at(event, "respBytes", 0), sent = number_at(line, "respBytes", 0);
    if (!same_digest(event, line, "reqSha256"))
        return true;
    if (cJSON_IsTrue(json_at(event, "cut")) || cJSON_IsTrue(json_at(line, "cut")))
        return false;
    if (number_at(event, "status", -1) != number_at(line, "status", 0))
        return true;
    if (!sha256_hex_in(json_str_at(line, "respSha256")) || got < sent)
        return false;
    return got != sent || !same_digest(event, line, "respSha256");
}

static void compare_event(struct count *k, struct exchange *list, size_t n, const struct text_line *text)
{
    cleanup_cjson cJSON *event = line_parse(text);
    struct exchange *x = NULL;
    double call = number_at(event, "call", -1);
    for (size_t low = 0, high = n; low < high && !x;) {
        size_t mid = low + (high - low) / 2;
        if (list[mid].call == call)
            x = &list[mid];
        else if (list[mid].call < call)
            low = mid + 1;
        else
            high = mid;
    }
    if (!x || x->seen) {
        k->out.counts.calls_differ++;
        return;
    }
    cleanup_cjson cJSON *line = line_parse(&k->v->model_lines[x->line]);
    x->seen = true;
    k->out.counts.calls_differ += differs(event, line);
}

static void compare_calls(struct count *k, struct exchange *all)
{
    const struct verification *v = k->v;
    size_t n = 0;
    qsort(all, v->model_line_count, sizeof(*all), by_call);
    for (size_t i = 0; i < v->model_line_count; i++)
        if (i + 1 == v->model_line_count || all[i + 1].call != all[i].call)
            all[n++] = all[i];
    for (size_t i = 0; i < n; i++)
        k->out.side_calls += all[i].side;
    k->out.counts.model_calls = n;
    for (size_t i = 0; i < v->model_event_count; i++)
        compare_event(k, all, n, &v->model_events[i]);
    for (size_t i = 0; i < n && v->closed; i++)
        k->out.counts.calls_differ += !all[i].seen;
}

/* --- all ----------------------------------------------------------------------------------------------------------------------- */

static void count_all(struct count *k, struct exchange *calls)
{
    const struct verification *v = k->v;
    for (size_t i = 0; i < v->model_line_count && !k->trouble; i++) {
        cleanup_cjson cJSON *line = line_parse(&v->model_lines[i]);
        read_model_line(k, line);
        calls[i] = (struct exchange){.call = number_at(line, "call", 0),
            .attempt = number_at(line, "attempt", 0),
            .line = i,
            .side = text_is(json_str_at(line, "lane"), "side")};
    }
    read_commands(k);
    for (size_t i = 0; i < v->process_line_count && !k->trouble; i++) {
        cleanup_cjson cJSON *line = line_parse(&v->process_lines[i]);
        read_process(k, i, line);
    }
    for (size_t i = 0; i < k->wish_count && !k->trouble; i++)
        compare(k, &k->wishes[i]);
    if (k->trouble)
        return;
    count_deeds(k);
    count_changes(k);
    compare_calls(k, calls);
    k->out.counts.asked = k->wish_count;
    k->out.counts.ran = k->deed_count;
}

bool recount_make(const struct verification *v, struct recount *ret, const char **ret_reason)
{
    struct count k = {.v = v};
    struct exchange *calls = calloc(v->model_line_count + 1, sizeof(*calls));
    k.wishes = calloc(RECOUNT_ASKS_MAX, sizeof(*k.wishes));
    k.deeds = calloc(v->log_line_count + 1, sizeof(*k.deeds));
    k.lives = calloc(v->process_line_count + 1, sizeof(*k.lives));
    k.life_at = calloc(v->process_line_count + 1, sizeof(*k.life_at));
    if (!calls || !k.wishes || !k.deeds || !k.lives || !k.life_at)
        k.trouble = "memory is too short";
    else
        count_all(&k, calls);
    for (size_t i = 0; i < k.wish_count; i++)
        free(k.wishes[i].id);
    free(calls);
    free(k.wishes);
    free(k.deeds);
    free(k.lives);
    free(k.life_at);
    *ret = k.out;
    *ret_reason = k.trouble;
    return !k.trouble;
}
