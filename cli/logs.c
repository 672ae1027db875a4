/*
 * The three chained logs of a bundle, and the order of a run's events: see checks.h, docs/formats/chain.md and docs/formats/events.md.
 * Lines are hashed as the bytes they are; they are parsed only to read members.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/checks.h"
#include "shared/clock.h"
#include "shared/limits.h"

/* More commands than any run can have; bounds memory against a hostile log. */
#define COMMANDS_MAX 1000000

cJSON *line_parse(const struct text_line *line)
{
    cJSON *obj = NULL;
    return json_parse_line(line->text, line->len, &obj, NULL) == 0 ? obj : NULL;
}

/* Cut the next line off the file at *at. Returns false at the end; *whole says whether the line had its LF. */
static bool next_line(const struct packed_file *f, size_t *at, struct text_line *ret, bool *whole)
{
    if (*at >= f->size)
        return false;
    ret->text = f->data + *at;
    const char *end = memchr(ret->text, '\n', f->size - *at);
    *whole = end != NULL;
    ret->len = end ? (size_t)(end - ret->text) : f->size - *at;
    *at += ret->len + 1;
    return true;
}

/* prev and seq of one parsed line against the walk so far. */
static bool stamp_check(const struct walked_log *w, const char *file, const cJSON *obj, struct check *c)
{
    const cJSON *seq = json_at(obj, "seq");
    const char *prev = json_str_at(obj, "prev");
    if (!cJSON_IsNumber(seq) || seq->valuedouble != (double)w->lines) {
        check_fail(c,
            "%s: line %" PRIu64 " has another seq than its place: a line was removed, added or moved", file,
            w->lines);
        return false;
    }
    if (!prev || strcmp(prev, w->head) != 0) {
        check_fail(c, "%s: line %" PRIu64 " does not follow from the line before it: the chain is broken",
            file, w->lines);
        return false;
    }
    return true;
}

static bool line_check(const struct verification *v, struct walked_log *w, const char *file,
    const char *id_member, const struct text_line *line, struct check *c)
{
    cleanup_cjson cJSON *obj = NULL;
    struct arp_err err = {0};
    if (line->len > LIMIT_LINE || json_parse_line(line->text, line->len, &obj, &err) != 0 ||
        !cJSON_IsObject(obj)) {
        check_fail(c, "%s: line %" PRIu64 " is not a JSON object: %.120s", file, w->lines, err.msg);
        return false;
    }
    if (!stamp_check(w, file, obj, c))
        return false;
    const char *run_id = json_str_at(obj, id_member);
    if (run_id && strcmp(run_id, v->zip.run_id) != 0) {
        check_fail(c, "%s: line %" PRIu64 " belongs to another run", file, w->lines);
        return false;
    }
    sha256_hex_of(line->text, line->len, w->head);
    w->lines++;
    return true;
}

/* The end of the chain must be the one the signed statement names; without that, a cut tail would go unseen. */
static void end_check(
    const struct verification *v, const struct walked_log *w, const char *file, struct check *c)
{
    const cJSON *item;
    cJSON_ArrayForEach(item, json_at(v->statement, "predicate/runDetails/byproducts"))
    {
        const char *name = json_str_at(item, "name");
        if (!name || strcmp(name, file) != 0)
            continue;
        const cJSON *lines = json_at(item, "annotations/arp_lines");
        const char *head = json_str_at(item, "annotations/arp_head");
        if (!cJSON_IsNumber(lines) || lines->valuedouble != (double)w->lines || !head ||
            strcmp(head, w->head) != 0)
            check_fail(c,
                "%s ends after %" PRIu64
                " lines at %.12s, the statement gives another end: lines were cut or added",
                file, w->lines, w->head);
        return;
    }
    check_unable(c, "there is no signed end of %s to compare with", file);
}

void log_walk(const struct verification *v, struct walked_log *w, const char *file, const char *id_member,
    struct check *c)
{
    const struct packed_file *f = packed_find(&v->zip, file);
    char start[128];
    int n = snprintf(start, sizeof(start), "arp-chain-v1\n%s\n%s\n", v->zip.run_id, file);
    sha256_hex_of(start, (size_t)n, w->head);
    struct text_line line;
    bool whole;
    for (size_t at = 0; next_line(f, &at, &line, &whole);) {
        if (!whole) {
            check_fail(c, "%s: the last line is cut", file);
            return;
        }
        if (!line_check(v, w, file, id_member, &line, c))
            return;
    }
    w->ok = true;
    end_check(v, w, file, c);
    check_pass(c, "%" PRIu64 " lines in unbroken order, the last is %.12s", w->lines, w->head);
}

struct text_line *log_split(
    const struct verification *v, struct walked_log *w, const char *file, size_t *ret_n)
{
    struct text_line *lines = w->ok ? calloc(w->lines + 1, sizeof(*lines)) : NULL;
    if (!lines) {
        w->ok = false;
        return NULL;
    }
    const struct packed_file *f = packed_find(&v->zip, file);
    bool whole;
    for (size_t at = 0; next_line(f, &at, &lines[*ret_n], &whole);)
        ++*ret_n;
    return lines;
}

void step_events_chain(struct verification *v, struct check *c)
{
    log_walk(v, &v->events, "events.jsonl", "runId", c);
}

void step_command_log_chain(struct verification *v, struct check *c)
{
    log_walk(v, &v->command_log, "command_log.jsonl", "runId", c);
    v->log_lines = log_split(v, &v->command_log, "command_log.jsonl", &v->log_line_count);
}

void step_processes_chain(struct verification *v, struct check *c)
{
    log_walk(v, &v->process_log, "processes.jsonl", "runId", c);
    v->process_lines = log_split(v, &v->process_log, "processes.jsonl", &v->process_line_count);
}

/* --- the order of events -------------------------------------------------------------------------------------------------- */

/* Remember a command's line under its id. Returns a reason, or NULL. */
static const char *command_line(
    struct verification *v, const cJSON *obj, const struct text_line *line, bool finished)
{
    const cJSON *id = json_at(obj, "commandId");
    double n = cJSON_IsNumber(id) ? id->valuedouble : -1;
    if (!finished) {
        if (n != (double)v->command_count)
            return "a command starts out of order";
        if (v->command_count >= COMMANDS_MAX)
            return "there are too many commands";
        struct seen_command *grown = v->commands;
        if ((v->command_count & (v->command_count - 1)) == 0)
            grown = realloc(v->commands, (v->command_count ? 2 * v->command_count : 1) * sizeof(*grown));
        if (!grown)
            return "memory is too short";
        v->commands = grown;
        v->commands[v->command_count++] = (struct seen_command){.started = *line, .line = NO_LINE};
        return NULL;
    }
    if (n < 0 || n >= (double)v->command_count || n != (double)(size_t)n)
        return "a command finishes that never started";
    if (v->commands[(size_t)n].finished.text)
        return "a command finishes twice";
    size_t *order = v->finish_order;
    if ((v->finished_count & (v->finished_count - 1)) == 0)
        order = realloc(order, (v->finished_count ? 2 * v->finished_count : 1) * sizeof(*order));
    if (!order)
        return "memory is too short";
    v->finish_order = order;
    v->finish_order[v->finished_count] = (size_t)n;
    v->commands[(size_t)n].finished = *line;
    v->commands[(size_t)n].line = v->finished_count++;
    return NULL;
}

/* Remember a RunProcess event, and whether its command is running here. Returns a reason, or NULL. */
static const char *process_line(struct verification *v, const cJSON *obj, const struct text_line *line)
{
    const cJSON *id = json_at(obj, "commandId");
    double n = cJSON_IsNumber(id) ? id->valuedouble : -1;
    struct seen_process *grown = v->processes;
    if ((v->process_count & (v->process_count - 1)) == 0)
        grown = realloc(v->processes, (v->process_count ? 2 * v->process_count : 1) * sizeof(*grown));
    if (!grown)
        return "memory is too short";
    v->processes = grown;
    v->processes[v->process_count++] = (struct seen_process){.event = *line,
        .in_command = n >= 0 && n < (double)v->command_count && !v->commands[(size_t)n].finished.text};
    return NULL;
}

/* Remember a RunModelCall. Returns a reason, or NULL. */
static const char *model_event(struct verification *v, const struct text_line *line)
{
    struct text_line *grown = v->model_events;
    size_t n = v->model_event_count;
    if ((n & (n - 1)) == 0)
        grown = realloc(v->model_events, (n ? 2 * n : 1) * sizeof(*grown));
    if (!grown)
        return "memory is too short";
    v->model_events = grown;
    v->model_events[v->model_event_count++] = *line;
    return NULL;
}

/* Place one event. Returns what is wrong, or NULL. */
static const char *event_place(
    struct verification *v, const cJSON *obj, const struct text_line *line, uint64_t n)
{
    const char *type = json_str_at(obj, "type");
    if (!type)
        return "an event has no type";
    if (!json_str_at(obj, "runId"))
        return "an event has no runId";
    if ((n == 0) != (strcmp(type, "RunStarted") == 0))
        return n == 0 ? "the first event is not RunStarted" : "RunStarted comes twice";
    if (v->run_completed.text)
        return "events follow RunCompleted";
    if (strcmp(type, "RunStarted") == 0) {
        v->run_started = *line;
    } else if (strcmp(type, "ToolContext") == 0) {
        if (n != 1)
            return "ToolContext does not follow RunStarted";
        v->tool_context = *line;
    } else if (strcmp(type, "RunCompleted") == 0) {
        v->run_completed = *line;
    } else if (strcmp(type, "RunDiffReady") == 0) {
        if (v->diff_ready.text)
            return "RunDiffReady comes twice";
        v->diff_ready = *line;
    } else if (strcmp(type, "RunCommandStarted") == 0 || strcmp(type, "RunCommandFinished") == 0) {
        return command_line(v, obj, line, strcmp(type, "RunCommandFinished") == 0);
    } else if (strcmp(type, "RunProcess") == 0) {
        return process_line(v, obj, line);
    } else if (strcmp(type, "RunModelCall") == 0) {
        return model_event(v, line);
    }
    return NULL;
}

/* Time must be well-formed; a clock that was set back is the machine's doing, not tampering, and is told as such. */
static bool time_check(const cJSON *obj, uint64_t n, int64_t *last_us, struct check *c)
{
    const char *ts = json_str_at(obj, "ts");
    int64_t us;
    if (!ts || clock_parse_iso(ts, &us, NULL) != 0) {
        check_fail(c, "event %" PRIu64 " has no well-formed time", n);
        return false;
    }
    if (n > 0 && us < *last_us)
        check_unable(c,
            "event %" PRIu64 " is %" PRId64
            " ms earlier than the one before: the recorder's clock was set back",
            n, (*last_us - us) / 1000);
    *last_us = us;
    return true;
}

void step_lifecycle(struct verification *v, struct check *c)
{
    if (!v->events.ok) {
        check_unable(c, "the chain of events.jsonl is not sound");
        return;
    }
    const struct packed_file *f = packed_find(&v->zip, "events.jsonl");
    struct text_line line;
    bool whole;
    uint64_t n = 0;
    int64_t last_us = 0;
    for (size_t at = 0; next_line(f, &at, &line, &whole); n++) {
        cleanup_cjson cJSON *obj = line_parse(&line);
        const char *wrong = obj ? event_place(v, obj, &line, n) : "memory is too short";
        if (wrong) {
            check_fail(c, "event %" PRIu64 ": %s", n, wrong);
            return;
        }
        if (!time_check(obj, n, &last_us, c))
            return;
    }
    if (!v->run_started.text || !v->run_completed.text)
        check_fail(c, "%s", n ? "the last event is not RunCompleted" : "there are no events");
    else if (v->complete && !v->diff_ready.text)
        check_fail(c, "the record is said to be complete, but RunDiffReady is missing");
    check_pass(c,
        "RunStarted first, RunCompleted last, %zu commands and %zu process records between them, times "
        "in order",
        v->command_count, v->process_count);
}
