/*
 * The processes of a run: processes.jsonl against the RunProcess events, the command log and RunCompleted. See checks.h and
 * docs/formats/processes.md. Its chain is walked in logs.c. A record signed as not complete may lack parts; that is UNABLE, never PASS.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/checks.h"
#include "shared/clock.h"
#include "shared/limits.h"

/* 2^53: up to here a double holds every integer. */
#define WHOLE_MAX 9007199254740992.0

/* One line of processes.jsonl, as far as later lines and the command log refer to it. */
struct record {
    double command, pid;
    bool is_exec, ended;
};

/* Lines of one command. */
struct tally {
    uint64_t execs, exits, unconfirmed, changed;
};

struct walk {
    struct verification *v;
    struct check *c;
    struct record *records; /* by seq */
    struct tally *tallies;  /* by commandId */
};

/* NULL when it is no JSON, or has U+0000: no argument or path has one, and a reader would lose what follows it. */
static cJSON *strict_parse(const struct text_line *line)
{
    cJSON *obj = NULL;
    return json_parse(line->text, line->len, &obj, NULL) == 0 ? obj : NULL;
}

/* A count: a whole number that is not negative. NULL is none. */
static bool is_count(const cJSON *v)
{
    return cJSON_IsNumber(v) && v->valuedouble >= 0 && v->valuedouble <= WHOLE_MAX &&
           v->valuedouble == (double)(uint64_t)v->valuedouble;
}

static bool is_count_or_null(const cJSON *v)
{
    return is_count(v) || cJSON_IsNull(v);
}

static bool is_text_or_null(const cJSON *v)
{
    return cJSON_IsString(v) || cJSON_IsNull(v);
}

static bool is_digest_or_null(const cJSON *v)
{
    const char *text = cJSON_GetStringValue(v);
    return cJSON_IsNull(v) || (text && strncmp(text, "sha256:", 7) == 0 && sha256_hex_ok(text + 7));
}

static bool is_text_list(const cJSON *list)
{
    const cJSON *item;
    cJSON_ArrayForEach(item, list)
    {
        if (!cJSON_IsString(item))
            return false;
    }
    return cJSON_IsArray(list);
}

/* Each flag at most once, in the order of the format. */
static bool are_flags(const cJSON *list)
{
    static const char *const known[] = {
        "argv_changed", "path_changed", "memfd", "deleted", "traced", "unhashed"};
    const cJSON *item;
    size_t i = 0;
    if (!is_text_list(list))
        return false;
    cJSON_ArrayForEach(item, list)
    {
        while (i < sizeof(known) / sizeof(known[0]) && strcmp(known[i], item->valuestring) != 0)
            i++;
        if (i++ == sizeof(known) / sizeof(known[0]))
            return false;
    }
    return true;
}

static bool are_scripts(const cJSON *list)
{
    const cJSON *item;
    if (!list)
        return true;
    cJSON_ArrayForEach(item, list)
    {
        if (!json_str_at(item, "path") || !is_digest_or_null(json_at(item, "sha256")))
            return false;
    }
    return cJSON_IsArray(list);
}

/* The name of the first member of an exec that is not what the format says, or NULL. */
static const char *exec_defect(const cJSON *obj)
{
    return !is_count(json_at(obj, "ppid"))                  ? "ppid"
           : !is_count(json_at(obj, "uid"))                 ? "uid"
           : !cJSON_IsBool(json_at(obj, "confirmed"))       ? "confirmed"
           : !is_text_or_null(json_at(obj, "exe"))          ? "exe"
           : !is_digest_or_null(json_at(obj, "exeSha256"))  ? "exeSha256"
           : !are_scripts(json_at(obj, "scripts"))          ? "scripts"
           : !is_text_list(json_at(obj, "argv"))            ? "argv"
           : !is_count(json_at(obj, "argvBytes"))           ? "argvBytes"
           : !cJSON_IsBool(json_at(obj, "argvTruncated"))   ? "argvTruncated"
           : !is_digest_or_null(json_at(obj, "argvSha256")) ? "argvSha256"
           : !is_text_or_null(json_at(obj, "cwd"))          ? "cwd"
           : !are_flags(json_at(obj, "flags"))              ? "flags"
                                                            : NULL;
}

static const char *exit_defect(const cJSON *obj)
{
    return !is_count(json_at(obj, "execSeq"))            ? "execSeq"
           : !is_count_or_null(json_at(obj, "exitCode")) ? "exitCode"
           : !is_text_or_null(json_at(obj, "signal"))    ? "signal"
                                                         : NULL;
}

/* The exec that an exit ends stands earlier, is of the same process and command, and is ended once. */
static void exec_seq_check(struct walk *w, size_t k, const cJSON *obj)
{
    double at = json_at(obj, "execSeq")->valuedouble;
    struct record *exec = at < (double)k ? &w->records[(size_t)at] : NULL;
    if (!exec || !exec->is_exec || exec->pid != w->records[k].pid || exec->command != w->records[k].command)
        check_fail(w->c, "process record %zu: execSeq %.0f is no earlier exec of its process", k, at);
    else if (exec->ended)
        check_fail(w->c, "process record %zu: the exec at %.0f ends twice", k, at);
    else
        exec->ended = true;
}

static void tally_add(struct tally *t, bool is_exec, const cJSON *obj)
{
    const cJSON *flag;
    bool changed = false;
    cJSON_ArrayForEach(flag, json_at(obj, "flags"))
    {
        changed = changed || strcmp(flag->valuestring, "argv_changed") == 0 ||
                  strcmp(flag->valuestring, "path_changed") == 0;
    }
    t->execs += is_exec;
    t->exits += !is_exec;
    t->unconfirmed += is_exec && !cJSON_IsTrue(json_at(obj, "confirmed"));
    t->changed += changed;
}

/* The line by itself and against the lines before it. Returns false when it can't be held against anything. */
static bool line_check(struct walk *w, size_t k, const cJSON *obj)
{
    const char *type = json_str_at(obj, "type"), *ts = json_str_at(obj, "ts");
    const cJSON *command = json_at(obj, "commandId"), *pid = json_at(obj, "pid");
    int64_t us;
    bool is_exec = type && strcmp(type, "exec") == 0;
    const char *defect = !is_exec && (!type || strcmp(type, "exit") != 0) ? "type"
                         : !ts || clock_parse_iso(ts, &us, NULL) != 0     ? "ts"
                         : !is_count(command)                             ? "commandId"
                         : !is_count(pid)                                 ? "pid"
                         : is_exec                                        ? exec_defect(obj)
                                                                          : exit_defect(obj);
    if (defect) {
        check_fail(w->c, "process record %zu has no valid %s", k, defect);
        return false;
    }
    /* An agent that was lost may have gone on to commands of which nothing was streamed. */
    bool known = command->valuedouble < (double)w->v->command_count;
    if (!known && (w->v->complete || k < w->v->process_count)) {
        check_fail(
            w->c, "process record %zu is of command %.0f, which never started", k, command->valuedouble);
        return false;
    }
    w->records[k] =
        (struct record){.command = command->valuedouble, .pid = pid->valuedouble, .is_exec = is_exec};
    if (!is_exec)
        exec_seq_check(w, k, obj);
    if (known)
        tally_add(&w->tallies[(size_t)command->valuedouble], is_exec, obj);
    return true;
}

static bool is_one_of(const char *name, const char *const *names)
{
    for (; *names; names++)
        if (strcmp(name, *names) == 0)
            return true;
    return false;
}

/* Every member of a, but for those that are its own, must stand in b with the same value. */
static const cJSON *odd_member(const cJSON *a, const char *const *own, const cJSON *b)
{
    const cJSON *m;
    cJSON_ArrayForEach(m, a)
    {
        if (!is_one_of(m->string, own) &&
            !cJSON_Compare(m, cJSON_GetObjectItemCaseSensitive(b, m->string), true))
            return m;
    }
    return NULL;
}

static bool same_text(const char *a, const char *b)
{
    return a && b && strcmp(a, b) == 0;
}

/* The event that was streamed when the line was made says the same, and names its digest. */
static void event_check(struct walk *w, size_t k, const cJSON *obj)
{
    static const char *const line_own[] = {"ts", "type", "seq", "prev", NULL};
    static const char *const event_own[] = {
        "ts", "runId", "type", "phase", "at", "processHead", "seq", "prev", NULL};
    const struct seen_process *seen = &w->v->processes[k];
    cleanup_cjson cJSON *event = strict_parse(&seen->event);
    char hex[SHA256_HEX_LEN + 1];
    if (!event) {
        check_fail(w->c, "process record %zu: its RunProcess holds U+0000", k);
        return;
    }
    const cJSON *odd = odd_member(obj, line_own, event);
    if (!odd)
        odd = odd_member(event, event_own, obj);
    if (odd)
        check_fail(
            w->c, "process record %zu: %.40s differs between processes.jsonl and RunProcess", k, odd->string);
    if (!same_text(json_str_at(event, "phase"), json_str_at(obj, "type")) ||
        !same_text(json_str_at(event, "at"), json_str_at(obj, "ts")))
        check_fail(w->c, "process record %zu: RunProcess gives it another phase or time", k);
    sha256_hex_of(w->v->process_lines[k].text, w->v->process_lines[k].len, hex);
    if (!same_text(json_str_at(event, "processHead"), hex))
        check_fail(w->c, "process record %zu is not the line that its RunProcess names", k);
    if (!seen->in_command)
        check_fail(
            w->c, "process record %zu: RunProcess does not stand between start and finish of its command", k);
}

static void lines_check(struct walk *w)
{
    const struct verification *v = w->v;
    if (v->process_line_count > LIMIT_PROCESS_RECORDS) {
        check_fail(w->c, "processes.jsonl has %zu lines, a recorder makes at most %d", v->process_line_count,
            LIMIT_PROCESS_RECORDS);
        return;
    }
    for (size_t k = 0; k < v->process_line_count; k++) {
        cleanup_cjson cJSON *obj = strict_parse(&v->process_lines[k]);
        if (!obj)
            check_fail(w->c, "process record %zu holds U+0000", k);
        if (!obj || !line_check(w, k, obj))
            return;
        if (k < v->process_count)
            event_check(w, k, obj);
    }
    if (v->process_count == v->process_line_count)
        return;
    if (v->complete)
        check_fail(w->c, "processes.jsonl has %zu lines, events.jsonl %zu RunProcess", v->process_line_count,
            v->process_count);
    else
        check_unable(w->c,
            "processes.jsonl has %zu lines, events.jsonl %zu RunProcess; the record is not complete",
            v->process_line_count, v->process_count);
}

/* One count of a command: what it saw, of which its lines tell all but what was dropped. */
static void count_check(
    struct walk *w, size_t id, const cJSON *counts, const char *name, uint64_t lines, bool dropped)
{
    const cJSON *n = json_at(counts, name);
    if (!is_count(n))
        check_fail(w->c, "command %zu: command_log.jsonl does not count its %s", id, name);
    else if (dropped ? n->valuedouble < (double)lines : n->valuedouble != (double)lines)
        check_fail(w->c, "command %zu: command_log.jsonl counts %.0f %s, processes.jsonl has %" PRIu64, id,
            n->valuedouble, name, lines);
}

/* What the command log counts for one command. Returns how many records it says were dropped. */
static double tally_check(struct walk *w, size_t id)
{
    cleanup_cjson cJSON *entry = line_parse(&w->v->log_lines[w->v->commands[id].line]);
    const cJSON *counts = json_at(entry, "processes"), *lost = json_at(counts, "recordsDropped");
    const struct tally *t = &w->tallies[id];
    if (same_text(json_str_at(entry, "origin"), "shim")) {
        if (t->execs + t->exits > 0)
            check_fail(w->c, "command %zu: process records of a shim's command, they are of command 0", id);
        return 0;
    }
    if (!is_count(lost)) {
        check_fail(w->c, "command %zu: command_log.jsonl does not count its recordsDropped", id);
        return 0;
    }
    bool dropped = lost->valuedouble > 0;
    count_check(w, id, counts, "execs", t->execs, dropped);
    count_check(w, id, counts, "exits", t->exits, dropped);
    count_check(w, id, counts, "unconfirmed", t->unconfirmed, dropped);
    count_check(w, id, counts, "changed", t->changed, dropped);
    const cJSON *execs = json_at(counts, "execs"), *exits = json_at(counts, "exits");
    if (is_count(execs) && is_count(exits) &&
        execs->valuedouble + exits->valuedouble != (double)(t->execs + t->exits) + lost->valuedouble)
        check_fail(
            w->c, "command %zu: its execs and exits are not those in processes.jsonl and those dropped", id);
    return lost->valuedouble;
}

static double tallies_check(struct walk *w)
{
    double dropped = 0;
    for (size_t id = 0; id < w->v->command_count && w->v->complete; id++)
        if (w->v->commands[id].line < w->v->log_line_count)
            dropped += tally_check(w, id);
    return dropped;
}

/* RunCompleted of the agent: the end of the log, and what is not in it. */
static void completed_check(struct walk *w, double dropped)
{
    struct verification *v = w->v;
    cleanup_cjson cJSON *done = line_parse(&v->run_completed);
    const cJSON *records = json_at(done, "processRecords"), *lost = json_at(done, "recordsDropped");
    if (is_count(lost))
        v->records_dropped = (uint64_t)lost->valuedouble;
    if (v->complete) {
        if (!is_count(records) || records->valuedouble != (double)v->process_log.lines)
            check_fail(
                w->c, "RunCompleted counts other than the %" PRIu64 " process records", v->process_log.lines);
        if (!same_text(json_str_at(done, "processHead"), v->process_log.head))
            check_fail(w->c, "RunCompleted names another end of processes.jsonl");
        if (!is_count(lost) || lost->valuedouble != dropped)
            check_fail(
                w->c, "RunCompleted and command_log.jsonl disagree on the process records that were dropped");
    }
    file_digest_check(v, done, "processesSha256", "processes.jsonl", w->c);
}

void step_processes(struct verification *v, struct check *c)
{
    if (!v->events.ok || !v->command_log.ok || !v->process_log.ok || !v->run_completed.text) {
        check_unable(c, "a chain is not sound, or there is no RunCompleted");
        return;
    }
    struct walk w = {.v = v,
        .c = c,
        .records = calloc(v->process_line_count + 1, sizeof(*w.records)),
        .tallies = calloc(v->command_count + 1, sizeof(*w.tallies))};
    if (!w.records || !w.tallies) {
        check_fail(c, "memory is too short");
    } else {
        lines_check(&w);
        completed_check(&w, tallies_check(&w));
    }
    free(w.records);
    free(w.tallies);
    if (v->records_dropped)
        check_unable(c,
            "%zu process records agree with events and command log, %" PRIu64
            " more were over the limit and are not in the record",
            v->process_line_count, v->records_dropped);
    check_pass(c, "%zu process records: events, command log and RunCompleted agree", v->process_line_count);
}
