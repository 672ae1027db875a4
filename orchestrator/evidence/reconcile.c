/*
 * Reconciliation: see reconcile.h. Reading what was asked is asked.c, what ran is ran.c; here both are held against one another.
 */
#include "orchestrator/evidence/reconcile.h"

#include <stdlib.h>
#include <string.h>

#include "orchestrator/evidence/asked.h"
#include "orchestrator/evidence/ran.h"
#include "shared/fd.h"
#include "shared/limits.h"

#define PATH_SHOWN 512

void reconcile_counts_put(struct json *j, const struct reconcile_counts *c)
{
    json_obj_open(j);
#define X(member, name) json_kuint(j, name, c->member);
    RECONCILE_COUNTS(X)
#undef X
    json_obj_close(j);
}

const char *reconcile_finding(size_t i)
{
    static const char *const names[RECONCILE_FINDINGS] = {
        "matched", "missing", "unattributed", "misreported", "unexplained", "model_calls"};
    return names[i];
}

uint64_t reconcile_count(const struct reconcile_counts *c, size_t i)
{
    const uint64_t counts[RECONCILE_FINDINGS] = {
        c->matched, c->missing, c->unattributed, c->misreported, c->unexplained, c->calls_differ};
    return counts[i];
}

/* A pair of what was asked and what ran. */
struct match {
    const struct ran_command *command; /* NULL: it never ran */
    bool part;                         /* it ran inside a longer text */
};

struct work {
    struct asked asked;
    struct ran ran;
    struct match *matches; /* by ask */
    struct reconcile_counts counts;
    struct json j;
    size_t listed; /* in the list that is being written */
};

/* --- matching ------------------------------------------------------------------------------------------------------------------ */

/* False: that command was not asked for by these words. */
static bool is_asked(const struct ask *ask, const struct ran_command *c, bool *ret_part)
{
    for (size_t i = 0; i < c->texts.n; i++) {
        if (strcmp(c->texts.v[i], ask->command) != 0)
            continue;
        *ret_part = c->texts.last_is_part && i + 1 == c->texts.n;
        return true;
    }
    return false;
}

/* In order: the first command of those words that no earlier question has. What was asked twice must run twice. */
static void match_all(struct work *w)
{
    for (size_t i = 0; i < w->asked.ask_count; i++) {
        struct match *m = &w->matches[i];
        for (size_t k = 0; k < w->ran.count; k++) {
            struct ran_command *c = &w->ran.commands[k];
            if (c->taken || !is_asked(&w->asked.asks[i], c, &m->part))
                continue;
            c->taken = true;
            m->command = c;
            break;
        }
    }
}

/* --- writing ------------------------------------------------------------------------------------------------------------------- */

static void list_open(struct work *w, const char *name)
{
    json_key(&w->j, name);
    json_arr_open(&w->j);
    w->listed = 0;
}

/* Begin an element; false: the list is full. */
static bool item_open(struct work *w)
{
    if (w->listed++ >= RECONCILE_LISTED)
        return false;
    json_obj_open(&w->j);
    return true;
}

static void put_id(struct json *j, const char *key, int64_t id)
{
    if (id < 0)
        json_knull(j, key);
    else
        json_kint(j, key, id);
}

static void put_ask(struct json *j, const struct ask *a)
{
    json_kuint(j, "call", a->call);
    json_kstr(j, "id", a->id);
    json_kdigest(j, "commandSha256", a->command);
}

/* "same", "different", or "unknown" where nothing comparable is on record. */
static const char *output_verdict(const struct ask *a, const struct ran_command *c)
{
    if (!a->told_exit_known || !a->told_output[0] || c->output_count == 0 || c->abandoned)
        return "unknown"; /* without an exit code the head of the result was not understood, or the command went on */
    for (size_t i = 0; i < c->output_count; i++)
        if (strcmp(a->told_output, c->outputs[i]) == 0)
            return "same";
    return "different";
}

static const char *exit_verdict(const struct ask *a, const struct ran_command *c)
{
    if (!a->told_exit_known)
        return "unknown";
    return a->told_exit == c->end.exit_code ? "same" : "different";
}

static void write_matched(struct work *w)
{
    list_open(w, "matched");
    for (size_t i = 0; i < w->asked.ask_count; i++) {
        const struct ask *a = &w->asked.asks[i];
        const struct match *m = &w->matches[i];
        if (!m->command)
            continue;
        w->counts.matched++;
        if (!item_open(w))
            continue;
        put_ask(&w->j, a);
        put_id(&w->j, "commandId", m->command->id);
        json_kbool(&w->j, "part", m->part);
        json_kbool(&w->j, "told", a->told);
        json_kstr(&w->j, "exitCode", exit_verdict(a, m->command));
        json_kstr(&w->j, "output", output_verdict(a, m->command));
        json_obj_close(&w->j);
    }
    json_arr_close(&w->j);
}

static void write_missing(struct work *w)
{
    list_open(w, "missing");
    for (size_t i = 0; i < w->asked.ask_count; i++) {
        const struct ask *a = &w->asked.asks[i];
        if (w->matches[i].command)
            continue;
        if (a->cut && !a->told) {
            w->counts.cut++;
            continue;
        }
        w->counts.missing++;
        if (!item_open(w))
            continue;
        put_ask(&w->j, a);
        json_kbool(&w->j, "told", a->told);
        if (a->told_exit_known)
            json_kint(&w->j, "toldExitCode", a->told_exit);
        json_obj_close(&w->j);
    }
    json_arr_close(&w->j);
}

static void write_unattributed(struct work *w)
{
    list_open(w, "unattributed");
    for (size_t i = 0; i < w->ran.count; i++) {
        const struct ran_command *c = &w->ran.commands[i];
        if (c->taken)
            continue;
        bool inside = c->within >= 0;
        w->counts.unattributed++;
        w->counts.setup += c->setup || inside;
        if (!item_open(w))
            continue;
        put_id(&w->j, "commandId", c->id);
        json_kdigest(&w->j, "commandSha256", c->texts.v[0]);
        json_kstr(&w->j, "origin", inside ? "inside" : c->setup ? "setup" : "unknown");
        if (inside)
            json_kint(&w->j, "within", c->within);
        json_obj_close(&w->j);
    }
    json_arr_close(&w->j);
}

static void put_end(struct json *j, const char *key, const struct ran_end *e)
{
    json_key(j, key);
    json_obj_open(j);
    if (e->signal[0])
        json_knull(j, "exitCode");
    else
        json_kint(j, "exitCode", e->exit_code);
    json_kstr(j, "signal", e->signal[0] ? e->signal : NULL);
    json_obj_close(j);
}

/* One contradiction: what of which command. False: the list is full. */
static bool misreport(struct work *w, const char *what, const struct ran_command *c)
{
    w->counts.misreported++;
    if (!item_open(w))
        return false;
    json_kstr(&w->j, "what", what);
    put_id(&w->j, "commandId", c->id);
    return true;
}

/* What the model was told against what was recorded. */
static void write_told(struct work *w, const struct ask *a, const struct ran_command *c)
{
    if (strcmp(exit_verdict(a, c), "different") == 0 && misreport(w, "exitCode", c)) {
        put_ask(&w->j, a);
        json_kint(&w->j, "told", a->told_exit);
        json_kint(&w->j, "recorded", c->end.exit_code);
        json_obj_close(&w->j);
    }
    if (strcmp(output_verdict(a, c), "different") == 0 && misreport(w, "output", c)) {
        put_ask(&w->j, a);
        json_kdigest(&w->j, "told", a->told_output);
        json_kdigest(&w->j, "recorded", c->outputs[0]);
        json_obj_close(&w->j);
    }
}

/* What the shim said against what the kernel told. */
static void write_kernel(struct work *w, const struct ran_command *c)
{
    if (c->kernel == RAN_OTHER && misreport(w, "end", c)) {
        json_kint(&w->j, "pid", c->pid);
        put_end(&w->j, "told", &c->end);
        put_end(&w->j, "recorded", &c->kernel_end);
        json_obj_close(&w->j);
    }
    if (c->kernel == RAN_NOWHERE && misreport(w, "forged", c)) {
        json_kint(&w->j, "pid", c->pid);
        json_obj_close(&w->j);
    }
}

static void write_misreported(struct work *w)
{
    list_open(w, "misreported");
    for (size_t i = 0; i < w->asked.ask_count; i++)
        if (w->matches[i].command)
            write_told(w, &w->asked.asks[i], w->matches[i].command);
    for (size_t i = 0; i < w->ran.count; i++)
        write_kernel(w, &w->ran.commands[i]);
    json_arr_close(&w->j);
}

/* --- changes ------------------------------------------------------------------------------------------------------------------- */

/* "a/P b/P" gives P; of a rename or a quoted name both as they stand. */
static void put_path(struct json *j, const char *names, size_t len)
{
    size_t half = len / 2;
    if (len > 4 && len % 2 == 1 && names[half] == ' ' && memcmp(names, "a/", 2) == 0 &&
        memcmp(names + half + 1, "b/", 2) == 0 && memcmp(names + 2, names + half + 3, half - 2) == 0) {
        names += 2;
        len = half - 2;
    }
    json_strn(j, names, len < PATH_SHOWN ? len : PATH_SHOWN);
}

/* A changed path is explained when an edit was asked for or a command ran: what a command did is not known, nor which file an edit was of. */
static void write_changes(struct work *w, struct log_text diff)
{
    static const char head[] = "diff --git ";
    const char *line;
    size_t n;
    bool ended, explained = w->asked.edits > 0 || w->ran.count > 0;
    json_key(&w->j, "edits");
    json_obj_open(&w->j);
    json_kuint(&w->j, "calls", w->asked.edits);
    json_kbool(&w->j, "commandsRan", w->ran.count > 0);
    list_open(w, "unexplainedPaths");
    while ((line = lines_next(&diff, &n, &ended)) != NULL) {
        if (n <= sizeof(head) - 1 || memcmp(line, head, sizeof(head) - 1) != 0)
            continue;
        w->counts.changed_paths++;
        if (explained)
            continue;
        if (w->counts.unexplained++ < RECONCILE_LISTED)
            put_path(&w->j, line + sizeof(head) - 1, n - (sizeof(head) - 1));
    }
    json_arr_close(&w->j);
    json_obj_close(&w->j);
}

/* --- model calls --------------------------------------------------------------------------------------------------------------- */

static void put_difference(struct work *w, uint64_t call, const char *what)
{
    w->counts.calls_differ++;
    if (!item_open(w))
        return;
    json_kuint(&w->j, "call", call);
    json_kstr(&w->j, "what", what);
    json_obj_close(&w->j);
}

/* True when either is not known. A text that is no digest is another one. */
static bool same_digest(const cJSON *event, const char *name, const char *hex)
{
    const char *text = json_get_str(event, name), *told = sha256_hex_in(text);
    return !hex[0] || !text || (told && strcmp(told, hex) == 0);
}

/* A client that has read the last event may hang up: then it got fewer bytes than the provider sent, and its digest is of those. */
static bool same_response(const cJSON *event, const struct exchange *x)
{
    int64_t got = json_get_int(event, "respBytes", 0);
    if (!x->response[0] || got < x->response_bytes)
        return true;
    return got == x->response_bytes && same_digest(event, "respSha256", x->response);
}

static void compare_call(struct work *w, const cJSON *event)
{
    uint64_t call = (uint64_t)json_get_int(event, "call", 0);
    struct exchange *x = asked_find_call(&w->asked, call);
    if (!x) {
        put_difference(w, call, "unrecorded");
        return;
    }
    if (x->seen) {
        put_difference(w, call, "twice");
        return;
    }
    x->seen = true;
    /* Of an answer that broke off, each end of the line has its own length. */
    bool cut = x->cut || json_get_bool(event, "cut", false);
    if (!same_digest(event, "reqSha256", x->request))
        put_difference(w, call, "request");
    else if (!cut && json_get_int(event, "status", -1) != x->status)
        put_difference(w, call, "status");
    else if (!cut && !same_response(event, x))
        put_difference(w, call, "response");
}

static void compare_calls(struct work *w, struct log_text events)
{
    enum event_type type;
    cJSON *obj;
    bool closed = false;
    while (lines_next_event(
        &events, LINES_OF(EVENT_RUN_MODEL_CALL) | LINES_OF(EVENT_RUN_COMPLETED), &type, &obj)) {
        if (obj && type == EVENT_RUN_MODEL_CALL)
            compare_call(w, obj);
        else if (obj)
            closed = json_get_str(obj, "closedBy") == NULL;
        cJSON_Delete(obj);
    }
    /* An agent that was lost had no time to speak of all. */
    for (size_t i = 0; i < w->asked.call_count && closed; i++)
        if (!w->asked.calls[i].seen)
            put_difference(w, w->asked.calls[i].call, "unseen");
}

static void write_model_calls(struct work *w, struct log_text events)
{
    w->counts.model_calls = w->asked.call_count;
    json_key(&w->j, "modelCalls");
    json_obj_open(&w->j);
    json_kuint(&w->j, "attempts", w->asked.attempts);
    json_kuint(&w->j, "refused", w->asked.refused);
    list_open(w, "side");
    for (size_t i = 0; i < w->asked.call_count; i++)
        if (w->asked.calls[i].side && w->listed++ < RECONCILE_LISTED)
            json_uint(&w->j, w->asked.calls[i].call);
    json_arr_close(&w->j);
    list_open(w, "differ");
    compare_calls(w, events);
    json_arr_close(&w->j);
    json_obj_close(&w->j);
}

/* Programs that the engine executed outside every command. */
static void write_outside(struct work *w)
{
    json_key(&w->j, "outside");
    json_obj_open(&w->j);
    json_kuint(&w->j, "execs", w->ran.outside);
    list_open(w, "programs");
    for (size_t i = 0; i < w->ran.program_count && item_open(w); i++) {
        const struct ran_program *p = &w->ran.programs[i];
        json_kstr(&w->j, "exe", p->exe[0] ? p->exe : NULL);
        json_kuint(&w->j, "execs", p->execs);
        json_obj_close(&w->j);
    }
    json_arr_close(&w->j);
    json_obj_close(&w->j);
}

static int write_all(struct work *w, const struct reconcile_input *in, struct buf *out, struct arp_err *err)
{
    match_all(w);
    w->counts.asked = w->asked.ask_count;
    w->counts.ran = w->ran.count;
    json_init(&w->j, out);
    json_obj_open(&w->j);
    json_kint(&w->j, "v", 1);
    json_kstr(&w->j, "runId", in->run_id);
    write_matched(w);
    write_missing(w);
    write_unattributed(w);
    write_misreported(w);
    write_changes(w, in->diff);
    write_model_calls(w, in->events);
    write_outside(w);
    json_kuint(&w->j, "over", w->asked.over);
    json_key(&w->j, "counts");
    reconcile_counts_put(&w->j, &w->counts);
    json_obj_close(&w->j);
    buf_append_char(out, '\n');
    return buf_error(out, err);
}

int reconcile_write(
    const struct reconcile_input *in, struct buf *out, struct reconcile_counts *ret, struct arp_err *err)
{
    struct work *w = calloc(1, sizeof(*w));
    if (!w)
        return arp_fail(err, ARP_E_NOMEM, 0, "reconciliation");
    int rc = asked_read(in->model_log, &w->asked, err);
    if (rc == 0)
        rc = ran_read(in->command_log, in->processes, in->events, &w->ran, err);
    if (rc == 0 && !(w->matches = calloc(w->asked.ask_count + 1, sizeof(*w->matches))))
        rc = arp_fail(err, ARP_E_NOMEM, 0, "reconciliation");
    if (rc == 0)
        rc = write_all(w, in, out, err);
    if (rc == 0)
        *ret = w->counts;
    asked_done(&w->asked);
    ran_done(&w->ran);
    free(w->matches);
    free(w);
    return rc;
}
