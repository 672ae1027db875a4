#include "orchestrator/evidence/checks.h"

#include <stdlib.h>
#include <string.h>

#include "orchestrator/evidence/lines.h"
#include "shared/fd.h"
#include "shared/json.h"

static void note_started(struct check_heads *h, const cJSON *obj)
{
    const char *origin = json_get_str(obj, "origin");
    if (json_get_int(obj, "commandId", -1) != (int64_t)h->started)
        h->defect = "a command started out of order";
    else if (h->started == 0)
        h->engine = origin && strcmp(origin, "engine") == 0;
    h->started++;
}

static void note_finished(struct check_heads *h, const cJSON *obj)
{
    const char *head = json_get_str(obj, "commandLogHead");
    int64_t id = json_get_int(obj, "commandId", -1);
    if (!head || !sha256_hex_ok(head))
        return;
    if (id < 0 || id >= (int64_t)h->started || id >= LIMIT_COMMAND_LINES)
        h->defect = "a command ended that never started";
    else if (h->ended[id])
        h->defect = "a command ended twice";
    else
        h->ended[id] = true;
    memcpy(h->head[h->n++], head, SHA256_HEX_LEN + 1);
}

void check_heads_read(const char *events, size_t len, struct check_heads *ret)
{
    struct log_text rest = {events, len};
    enum event_type type;
    cJSON *obj;
    memset(ret, 0, sizeof(*ret));
    while (ret->n < LIMIT_COMMAND_LINES &&
           lines_next_event(&rest, LINES_OF(EVENT_RUN_COMMAND_STARTED) | LINES_OF(EVENT_RUN_COMMAND_FINISHED),
               &type, &obj)) {
        if (type == EVENT_RUN_COMMAND_STARTED)
            note_started(ret, obj);
        else
            note_finished(ret, obj);
        cJSON_Delete(obj);
    }
}

/* Who ran it. The shim's commands have a process of their own, whose record is among those of the engine's; a command that broke off with
 * the engine's turn has no exit code. */
static int check_origin(const cJSON *obj, struct arp_err *err)
{
    static const char *const of_recorder[] = {"processes", "denied", "observed"};
    const cJSON *v = cJSON_GetObjectItemCaseSensitive(obj, "origin");
    const cJSON *abandoned = cJSON_GetObjectItemCaseSensitive(obj, "abandoned");
    const char *origin = v ? cJSON_GetStringValue(v) : "";
    if (!origin ||
        (v && strcmp(origin, "shim") != 0 && strcmp(origin, "engine") != 0 && strcmp(origin, "builtin") != 0))
        return arp_fail(err, ARP_E_CORRUPT, 0, "no known 'origin'");
    if (abandoned &&
        (strcmp(origin, "shim") != 0 || !cJSON_IsTrue(abandoned) || json_get_int(obj, "exitCode", 0) != -1))
        return arp_fail(err, ARP_E_CORRUPT, 0, "'abandoned' of a command that ended");
    if (strcmp(origin, "shim") != 0)
        return 0;
    const cJSON *pid = cJSON_GetObjectItemCaseSensitive(obj, "pid"); /* without: it could not be started */
    if (pid && (!cJSON_IsNumber(pid) || json_get_int(obj, "pid", 0) <= 0))
        return arp_fail(err, ARP_E_CORRUPT, 0, "no valid 'pid'");
    for (size_t i = 0; i < sizeof(of_recorder) / sizeof(of_recorder[0]); i++)
        if (cJSON_GetObjectItemCaseSensitive(obj, of_recorder[i]))
            return arp_fail(err, ARP_E_CORRUPT, 0, "'%s' of a shim's command", of_recorder[i]);
    return 0;
}

static int check_log_line(const char *line, size_t len, struct chain *chain, struct arp_err *err)
{
    cleanup_cjson cJSON *obj = NULL;
    if (len > LIMIT_LINE)
        return arp_fail(err, ARP_E_TOO_LARGE, 0, "line of %zu bytes", len);
    int rc = json_parse_line(line, len, &obj, err); /* captured output may hold U+0000 */
    if (rc != 0)
        return rc;
    const char *type = json_get_str(obj, "type");
    if (!type || strcmp(type, "command") != 0)
        return arp_fail(err, ARP_E_CORRUPT, 0, "not a command");
    rc = check_origin(obj, err);
    return rc ? rc : chain_accept(chain, line, len, obj, err);
}

int check_command_log(const char *run_id, const char *bytes, size_t len, const struct check_heads *heads,
    struct chain *ret_end, struct arp_err *err)
{
    struct chain chain;
    struct log_text rest = {bytes, len};
    const char *line;
    size_t n;
    size_t count = 0;
    bool ended = true;
    if (heads->defect)
        return arp_fail(err, ARP_E_CORRUPT, 0, "the streamed events: %s", heads->defect);
    chain_init(&chain, run_id, "command_log.jsonl");
    while ((line = lines_next(&rest, &n, &ended)) != NULL) {
        if (!ended)
            return arp_fail(err, ARP_E_CORRUPT, 0, "the last line is not finished");
        if (count == LIMIT_COMMAND_LINES)
            return arp_fail(err, ARP_E_TOO_LARGE, 0, "more than %d lines", LIMIT_COMMAND_LINES);
        int rc = check_log_line(line, n, &chain, err);
        if (rc != 0) {
            arp_wrap(err, "line %zu", count);
            return rc;
        }
        if (count < heads->n && strcmp(heads->head[count], chain.prev) != 0)
            return arp_fail(err, ARP_E_CORRUPT, 0, "line %zu is not the one whose hash was streamed", count);
        count++;
    }
    if (count < heads->n || (heads->closed && (count > heads->n || heads->n != heads->started)))
        return arp_fail(err, ARP_E_CORRUPT, 0,
            "%zu lines, but %zu commands were streamed, of which %zu ended", count, heads->started, heads->n);
    *ret_end = chain;
    return 0;
}

/* --- processes.jsonl --- */

/* A process image that the log has told of, by seq. Of an exit line, is_exec stays false. */
struct seen_exec {
    int64_t command;
    int64_t pid;
    bool is_exec;
    bool ended; /* an exit line has named it */
};

struct process_walk {
    struct chain chain;
    struct seen_exec *seen; /* LIMIT_PROCESS_RECORDS of them */
    bool engine;            /* all are of command 0 */
};

/* A member that a line must have, and the kinds of cJSON it may be. */
struct process_member {
    const char *name;
    int kinds;
};
#define KIND_TEXT_OR_NULL (cJSON_String | cJSON_NULL)
#define KIND_NUM_OR_NULL  (cJSON_Number | cJSON_NULL)
#define KIND_BOOL         (cJSON_True | cJSON_False)
static const struct process_member exec_members[] = {
    {"commandId", cJSON_Number},
    {"pid", cJSON_Number},
    {"ppid", cJSON_Number},
    {"uid", cJSON_Number},
    {"confirmed", KIND_BOOL},
    {"exe", KIND_TEXT_OR_NULL},
    {"exeSha256", KIND_TEXT_OR_NULL},
    {"argv", cJSON_Array},
    {"argvBytes", cJSON_Number},
    {"argvTruncated", KIND_BOOL},
    {"argvSha256", KIND_TEXT_OR_NULL},
    {"cwd", KIND_TEXT_OR_NULL},
    {"flags", cJSON_Array},
};
static const struct process_member exit_members[] = {
    {"commandId", cJSON_Number},
    {"pid", cJSON_Number},
    {"execSeq", cJSON_Number},
    {"exitCode", KIND_NUM_OR_NULL},
    {"signal", KIND_TEXT_OR_NULL},
};
#define MEMBERS(a) (a), sizeof(a) / sizeof((a)[0])

static int check_members(
    const cJSON *obj, const struct process_member *members, size_t n, struct arp_err *err)
{
    for (size_t i = 0; i < n; i++) {
        const cJSON *v = cJSON_GetObjectItemCaseSensitive(obj, members[i].name);
        bool fits = v && (v->type & members[i].kinds);
        if (fits && cJSON_IsNumber(v))
            fits = json_get_int(obj, members[i].name, -1) >= 0;
        if (!fits)
            return arp_fail(err, ARP_E_CORRUPT, 0, "no valid '%s'", members[i].name);
    }
    return 0;
}

static bool is_digest_or_null(const cJSON *v)
{
    const char *text = cJSON_GetStringValue(v);
    return cJSON_IsNull(v) || (text && strncmp(text, "sha256:", 7) == 0 && sha256_hex_ok(text + 7));
}

/* Known ones, each at most once, in the order of the format. */
static bool are_flags(const cJSON *list)
{
    static const char *const known[] = {
        "argv_changed", "path_changed", "memfd", "deleted", "traced", "unhashed"};
    const size_t n = sizeof(known) / sizeof(known[0]);
    const cJSON *item;
    size_t i = 0;
    cJSON_ArrayForEach(item, list)
    {
        const char *flag = cJSON_GetStringValue(item);
        while (i < n && (!flag || strcmp(flag, known[i]) != 0))
            i++;
        if (i++ >= n)
            return false;
    }
    return true;
}

static int check_exec(const cJSON *obj, struct arp_err *err)
{
    int rc = check_members(obj, MEMBERS(exec_members), err);
    if (rc != 0)
        return rc;
    const cJSON *scripts = cJSON_GetObjectItemCaseSensitive(obj, "scripts");
    const cJSON *item;
    bool good = is_digest_or_null(cJSON_GetObjectItemCaseSensitive(obj, "exeSha256")) &&
                is_digest_or_null(cJSON_GetObjectItemCaseSensitive(obj, "argvSha256")) &&
                are_flags(cJSON_GetObjectItemCaseSensitive(obj, "flags")) &&
                (!scripts || cJSON_IsArray(scripts));
    cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(obj, "argv"))
    {
        good = good && cJSON_IsString(item);
    }
    cJSON_ArrayForEach(item, scripts)
    {
        good = good && json_get_str(item, "path") &&
               is_digest_or_null(cJSON_GetObjectItemCaseSensitive(item, "sha256"));
    }
    return good ? 0 : arp_fail(err, ARP_E_CORRUPT, 0, "a digest or a list of an exec is malformed");
}

/* An exit names the exec it ends: an earlier line, of the same process and command, not ended before. */
static int check_exit(const struct process_walk *w, const cJSON *obj, struct arp_err *err)
{
    int rc = check_members(obj, MEMBERS(exit_members), err);
    if (rc != 0)
        return rc;
    uint64_t seq = (uint64_t)json_get_int(obj, "execSeq", 0);
    struct seen_exec *exec = seq < w->chain.next_seq ? &w->seen[seq] : NULL;
    if (!exec || !exec->is_exec || exec->ended || exec->pid != json_get_int(obj, "pid", -1) ||
        exec->command != json_get_int(obj, "commandId", -1))
        return arp_fail(err, ARP_E_CORRUPT, 0, "execSeq %llu is no running process of that pid and command",
            (unsigned long long)seq);
    exec->ended = true;
    return 0;
}

static int check_process_line(struct process_walk *w, const char *line, size_t len, struct arp_err *err)
{
    cleanup_cjson cJSON *obj = NULL;
    if (len > LIMIT_LINE)
        return arp_fail(err, ARP_E_TOO_LARGE, 0, "line of %zu bytes", len);
    int rc = json_parse(line, len, &obj, err); /* no path or argument holds U+0000 */
    if (rc != 0)
        return rc;
    const char *type = json_get_str(obj, "type");
    const char *ts = json_get_str(obj, "ts");
    int64_t us;
    bool is_exec = type && strcmp(type, "exec") == 0;
    if (!is_exec && (!type || strcmp(type, "exit") != 0))
        return arp_fail(err, ARP_E_CORRUPT, 0, "neither an exec nor an exit");
    if (!ts || clock_parse_iso(ts, &us, NULL) != 0)
        return arp_fail(err, ARP_E_CORRUPT, 0, "no valid 'ts'");
    rc = is_exec ? check_exec(obj, err) : check_exit(w, obj, err);
    if (rc != 0)
        return rc;
    if (w->engine && json_get_int(obj, "commandId", -1) != 0)
        return arp_fail(err, ARP_E_CORRUPT, 0, "of another command than the engine's program");
    w->seen[w->chain.next_seq] = (struct seen_exec){.command = json_get_int(obj, "commandId", -1),
        .pid = json_get_int(obj, "pid", -1),
        .is_exec = is_exec};
    return chain_accept(&w->chain, line, len, obj, err);
}

/* The processHead of the next RunProcess event, "" when that says none. False at the end. */
static bool next_process_head(struct log_text *events, char ret[SHA256_HEX_LEN + 1])
{
    enum event_type type;
    cJSON *obj;
    if (!lines_next_event(events, LINES_OF(EVENT_RUN_PROCESS), &type, &obj))
        return false;
    const char *head = json_get_str(obj, "processHead");
    ret[0] = '\0';
    if (head && sha256_hex_ok(head))
        memcpy(ret, head, SHA256_HEX_LEN + 1);
    cJSON_Delete(obj);
    return true;
}

int check_processes(const char *run_id, const char *bytes, size_t len, const struct check_streamed *streamed,
    struct chain *ret_end, struct arp_err *err)
{
    cleanup_free struct seen_exec *seen = calloc(LIMIT_PROCESS_RECORDS, sizeof(*seen));
    struct process_walk w = {.seen = seen, .engine = streamed->engine};
    struct log_text rest = {bytes, len}, events = {streamed->events, streamed->len};
    const char *line;
    char head[SHA256_HEX_LEN + 1];
    size_t n;
    bool ended = true, more = true;
    if (!seen)
        return arp_fail(err, ARP_E_NOMEM, 0, "process log");
    chain_init(&w.chain, run_id, "processes.jsonl");
    while ((line = lines_next(&rest, &n, &ended)) != NULL) {
        unsigned long long k = w.chain.next_seq;
        if (!ended)
            return arp_fail(err, ARP_E_CORRUPT, 0, "the last line is not finished");
        if (k == LIMIT_PROCESS_RECORDS)
            return arp_fail(err, ARP_E_TOO_LARGE, 0, "more than %d lines", LIMIT_PROCESS_RECORDS);
        int rc = check_process_line(&w, line, n, err);
        if (rc != 0) {
            arp_wrap(err, "line %llu", k);
            return rc;
        }
        more = more && next_process_head(&events, head);
        if (more ? strcmp(head, w.chain.prev) != 0 : streamed->closed)
            return arp_fail(err, ARP_E_CORRUPT, 0, "line %llu is not %s", k,
                more ? "the one whose hash was streamed" : "among the processes that were streamed");
    }
    if (more && next_process_head(&events, head))
        return arp_fail(err, ARP_E_CORRUPT, 0, "%llu lines, but more processes were streamed",
            (unsigned long long)w.chain.next_seq);
    *ret_end = w.chain;
    return 0;
}

/* --- documents --- */

static int parse_of_run(const char *run_id, const char *bytes, size_t len, cJSON **ret, struct arp_err *err)
{
    int rc = json_parse(bytes, len, ret, err);
    if (rc != 0)
        return rc;
    const char *id = json_get_str(*ret, "runId");
    if (!cJSON_IsObject(*ret) || !id || strcmp(id, run_id) != 0) {
        cJSON_Delete(*ret);
        *ret = NULL;
        return arp_fail(err, ARP_E_CORRUPT, 0, "not an object of this run");
    }
    return 0;
}

static bool read_stats(const cJSON *summary, struct check_diff_stats *ret)
{
    static const struct json_field fields[] = {
        {"filesChanged", JSON_INT, true}, {"insertions", JSON_INT, true}, {"deletions", JSON_INT, true}};
    if (json_check_object(summary, fields, 3, "diffSummary.", NULL) != 0)
        return false;
    ret->files_changed = json_get_int(summary, "filesChanged", 0);
    ret->insertions = json_get_int(summary, "insertions", 0);
    ret->deletions = json_get_int(summary, "deletions", 0);
    ret->known = ret->files_changed >= 0 && ret->insertions >= 0 && ret->deletions >= 0;
    return ret->known;
}

int check_outputs(
    const char *run_id, const char *bytes, size_t len, struct check_diff_stats *ret, struct arp_err *err)
{
    cleanup_cjson cJSON *doc = NULL;
    memset(ret, 0, sizeof(*ret));
    int rc = parse_of_run(run_id, bytes, len, &doc, err);
    if (rc != 0)
        return rc;
    const cJSON *summary = cJSON_GetObjectItemCaseSensitive(doc, "diffSummary");
    const cJSON *artifacts = cJSON_GetObjectItemCaseSensitive(doc, "artifacts");
    if (summary && !cJSON_IsNull(summary) && !read_stats(summary, ret))
        return arp_fail(err, ARP_E_CORRUPT, 0, "diffSummary is not three counts");
    if (!cJSON_IsArray(artifacts) || cJSON_GetArraySize(artifacts) > LIMIT_ARTIFACTS)
        return arp_fail(err, ARP_E_CORRUPT, 0, "artifacts is not a list within its limit");
    return 0;
}

int check_env(const char *run_id, const char *bytes, size_t len, struct arp_err *err)
{
    cleanup_cjson cJSON *doc = NULL;
    return parse_of_run(run_id, bytes, len, &doc, err);
}
