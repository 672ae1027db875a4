/*
 * What really ran: see ran.h.
 */
#include "orchestrator/evidence/ran.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shared/clock.h"
#include "shared/fd.h"
#include "shared/json.h"
#include "shared/limits.h"

/* The shim and the recorder look at the clock at different moments of one start. */
#define SLACK_US   2000000
#define PID_HEADS  4096
#define NO_LIFE    (-1)
#define NO_COMMAND (-1)

/* --- commands ------------------------------------------------------------------------------------------------------------------ */

/* What the events say of the log: the number of each line, and whether process records were dropped. */
struct told_ids {
    int64_t id[LIMIT_COMMAND_LINES];
    size_t n;
    bool dropped;
};

static void read_ids(struct log_text events, struct told_ids *ret)
{
    enum event_type type;
    cJSON *obj;
    while (lines_next_event(
        &events, LINES_OF(EVENT_RUN_COMMAND_FINISHED) | LINES_OF(EVENT_RUN_COMPLETED), &type, &obj)) {
        if (type == EVENT_RUN_COMPLETED)
            ret->dropped = json_get_int(obj, "recordsDropped", 0) > 0;
        else if (ret->n < LIMIT_COMMAND_LINES)
            ret->id[ret->n++] = json_get_int(obj, "commandId", -1);
        cJSON_Delete(obj);
    }
}

/* The forms in which all of a command's output may have been told. Only of one stream, whole in its line and free of replaced bytes: how two
 * streams were mixed nobody knows afterwards. */
static void take_output(const cJSON *line, struct ran_command *c)
{
    int64_t out_bytes = json_get_int(line, "stdoutBytes", -1),
            err_bytes = json_get_int(line, "stderrBytes", -1);
    bool is_out = out_bytes > 0 && err_bytes == 0;
    if (!is_out && !(out_bytes == 0 && err_bytes > 0))
        return;
    const char *text = json_get_str(line, is_out ? "stdout" : "stderr");
    const char *digest = sha256_hex_in(json_get_str(line, is_out ? "stdoutSha256" : "stderrSha256"));
    char hex[SHA256_HEX_LEN + 1];
    size_t len = text ? strlen(text) : 0;
    sha256_hex_of(text ? text : "", len, hex);
    /* Bytes may be claimed where there is no text. */
    if (len == 0 || !digest || strcmp(digest, hex) != 0)
        return;
    memcpy(c->outputs[c->output_count++], hex, sizeof(hex));
    if (text[len - 1] == '\n')
        sha256_hex_of(text, len - 1, c->outputs[c->output_count++]);
    while (len > 0 && isspace((unsigned char)text[len - 1]))
        len--;
    sha256_hex_of(text, len, c->outputs[c->output_count++]);
}

static void take_signal(const cJSON *line, struct ran_end *ret)
{
    const char *signal = json_get_str(line, "signal");
    snprintf(ret->signal, sizeof(ret->signal), "%s", signal ? signal : "");
}

/* false: the engine's own program, or no line of an engine's run. */
static bool take_command(const cJSON *line, int64_t id, struct ran_command *ret)
{
    const char *origin = json_get_str(line, "origin");
    const char *text = json_get_str(line, "command");
    const char *ts = json_get_str(line, "ts");
    struct ran_command c = {.id = id, .within = -1, .kernel_end = {.exit_code = -1}};
    c.shim = origin && strcmp(origin, "shim") == 0;
    if (!text || !ts || clock_parse_iso(ts, &c.start_us, NULL) != 0 ||
        !(c.shim || (origin && strcmp(origin, "builtin") == 0)) ||
        command_text_digests(text, &c.texts, NULL) != 0)
        return false;
    int64_t ms = json_get_int(line, "durationMs", 0);
    c.end_us = c.start_us + (ms > 0 && ms <= LIMIT_RUN_TIMEOUT_MS ? ms : 0) * 1000;
    c.setup = command_text_is_setup(text);
    c.abandoned = json_get_bool(line, "abandoned", false);
    c.pid = json_get_int(line, "pid", 0);
    c.end.exit_code = json_get_int(line, "exitCode", -1);
    take_signal(line, &c.end);
    take_output(line, &c);
    *ret = c;
    return true;
}

static int by_id(const void *a, const void *b)
{
    const struct ran_command *x = a, *y = b;
    /* What has no number ended last. */
    uint64_t i = (uint64_t)x->id, k = (uint64_t)y->id;
    if (i != k)
        return i < k ? -1 : 1;
    return x->line < y->line ? -1 : x->line > y->line;
}

static int read_commands(struct log_text log, const struct told_ids *ids, struct ran *r, struct arp_err *err)
{
    const char *line;
    size_t n, k = 0;
    bool ended;
    r->commands = calloc(LIMIT_COMMAND_LINES, sizeof(*r->commands));
    if (!r->commands)
        return arp_fail(err, ARP_E_NOMEM, 0, "commands");
    for (; k < LIMIT_COMMAND_LINES && (line = lines_next(&log, &n, &ended)) != NULL; k++) {
        cleanup_cjson cJSON *obj = NULL;
        if (json_parse_line(line, n, &obj, NULL) == 0 &&
            take_command(obj, k < ids->n ? ids->id[k] : -1, &r->commands[r->count]))
            r->commands[r->count++].line = k;
    }
    qsort(r->commands, r->count, sizeof(*r->commands), by_id);
    return 0;
}

/* --- processes ----------------------------------------------------------------------------------------------------------------- */

/* One process, from its first exec to its end. */
struct life {
    int64_t pid;
    bool ended;
    struct ran_end end;
    int64_t own;    /* index of the shim's command that it is, NO_COMMAND */
    int64_t within; /* of the innermost command it is in, itself included */
    int32_t next;   /* one before it with a pid of the same hash */
};

struct process_reader {
    struct ran *out;
    struct life lives[LIMIT_PROCESS_RECORDS];
    int32_t life_of[LIMIT_PROCESS_RECORDS]; /* by seq of the exec */
    int32_t heads[PID_HEADS];               /* the latest life whose pid has that hash */
    int32_t life_count;
    size_t seq;
    bool has_life[LIMIT_COMMAND_LINES]; /* by index of the command */
    int32_t life_of_command[LIMIT_COMMAND_LINES];
};

static int32_t find_life(const struct process_reader *r, int64_t pid)
{
    int32_t at = r->heads[(uint64_t)pid % PID_HEADS];
    while (at != NO_LIFE && r->lives[at].pid != pid)
        at = r->lives[at].next;
    return at;
}

/* The shim's command that says it is this process. */
static int64_t command_of(const struct process_reader *r, int64_t pid, int64_t at_us)
{
    for (size_t i = 0; i < r->out->count; i++) {
        const struct ran_command *c = &r->out->commands[i];
        if (c->shim && c->pid == pid && pid > 0 && !r->has_life[i] && at_us >= c->start_us - SLACK_US &&
            at_us <= c->end_us + SLACK_US)
            return (int64_t)i;
    }
    return NO_COMMAND;
}

static int32_t begin_life(struct process_reader *r, int64_t pid, int64_t ppid, int64_t at_us)
{
    int32_t parent = find_life(r, ppid);
    int32_t at = r->life_count++;
    int32_t *head = &r->heads[(uint64_t)pid % PID_HEADS];
    int64_t inherited = parent != NO_LIFE && !r->lives[parent].ended ? r->lives[parent].within : NO_COMMAND;
    struct life l = {.pid = pid,
        .end = {.exit_code = -1},
        .own = command_of(r, pid, at_us),
        .within = inherited,
        .next = *head};
    if (l.own != NO_COMMAND) {
        struct ran_command *c = &r->out->commands[l.own];
        if (inherited != NO_COMMAND)
            c->within = r->out->commands[inherited].id;
        r->has_life[l.own] = true;
        r->life_of_command[l.own] = at;
        l.within = l.own;
    }
    r->lives[at] = l;
    *head = at;
    return at;
}

static void count_outside(struct ran *r, const char *exe)
{
    size_t i = 0;
    char name[sizeof(r->programs[0].exe)];
    snprintf(name, sizeof(name), "%s", exe ? exe : "");
    r->outside++;
    while (i < r->program_count && strcmp(r->programs[i].exe, name) != 0)
        i++;
    if (i == RAN_PROGRAMS_MAX)
        return;
    if (i == r->program_count)
        memcpy(r->programs[r->program_count++].exe, name, sizeof(name));
    r->programs[i].execs++;
}

static void take_process(struct process_reader *r, const cJSON *line)
{
    const char *type = json_get_str(line, "type"), *ts = json_get_str(line, "ts");
    int64_t pid = json_get_int(line, "pid", -1), us = 0;
    size_t seq = r->seq++;
    r->life_of[seq] = NO_LIFE;
    if (!type || pid < 0 || !ts || clock_parse_iso(ts, &us, NULL) != 0)
        return;
    if (strcmp(type, "exit") == 0) {
        int64_t exec = json_get_int(line, "execSeq", -1);
        int32_t at = exec >= 0 && exec < (int64_t)seq ? r->life_of[exec] : NO_LIFE;
        if (at == NO_LIFE)
            return;
        r->lives[at].ended = true;
        r->lives[at].end.exit_code = json_get_int(line, "exitCode", -1);
        take_signal(line, &r->lives[at].end);
        return;
    }
    int32_t at = find_life(r, pid);
    if (at == NO_LIFE || r->lives[at].ended)
        at = begin_life(r, pid, json_get_int(line, "ppid", -1), us);
    r->life_of[seq] = at;
    if (r->lives[at].within == NO_COMMAND)
        count_outside(r->out, json_get_str(line, "exe"));
}

/* A command that could not be started has one of these codes and no process. */
static bool never_started(const struct ran_command *c)
{
    return c->pid == 0 && (c->end.exit_code == 126 || c->end.exit_code == 127 || c->end.exit_code == -1);
}

static void judge_command(const struct process_reader *r, size_t i, bool dropped, struct ran_command *c)
{
    if (!c->shim || c->abandoned || never_started(c))
        return;
    if (!r->has_life[i]) {
        c->kernel = dropped ? RAN_UNKNOWN : RAN_NOWHERE;
        return;
    }
    const struct life *l = &r->lives[r->life_of_command[i]];
    if (!l->ended || (l->end.exit_code < 0 && !l->end.signal[0]))
        return;
    c->kernel_end = l->end;
    bool same = l->end.signal[0] ? strcmp(l->end.signal, c->end.signal) == 0
                                 : !c->end.signal[0] && l->end.exit_code == c->end.exit_code;
    c->kernel = same ? RAN_SAME : RAN_OTHER;
}

static int read_processes(struct log_text log, bool dropped, struct ran *ret, struct arp_err *err)
{
    const char *line;
    size_t n;
    bool ended;
    if (log.len == 0)
        return 0; /* not collected, or nothing ran: no word of the kernel's */
    cleanup_free struct process_reader *r = calloc(1, sizeof(*r));
    if (!r)
        return arp_fail(err, ARP_E_NOMEM, 0, "processes");
    r->out = ret;
    for (size_t i = 0; i < PID_HEADS; i++)
        r->heads[i] = NO_LIFE;
    while (r->seq < LIMIT_PROCESS_RECORDS && (line = lines_next(&log, &n, &ended)) != NULL) {
        cleanup_cjson cJSON *obj = NULL;
        if (json_parse(line, n, &obj, NULL) == 0)
            take_process(r, obj);
        else
            r->life_of[r->seq++] = NO_LIFE;
    }
    for (size_t i = 0; i < ret->count; i++)
        judge_command(r, i, dropped, &ret->commands[i]);
    return 0;
}

int ran_read(struct log_text command_log, struct log_text processes, struct log_text events, struct ran *ret,
    struct arp_err *err)
{
    *ret = (struct ran){0};
    cleanup_free struct told_ids *ids = calloc(1, sizeof(*ids));
    if (!ids)
        return arp_fail(err, ARP_E_NOMEM, 0, "command ids");
    read_ids(events, ids);
    int rc = read_commands(command_log, ids, ret, err);
    if (rc == 0)
        rc = read_processes(processes, ids->dropped, ret, err);
    if (rc)
        ran_done(ret);
    return rc;
}

void ran_done(struct ran *r)
{
    free(r->commands);
    *r = (struct ran){0};
}
