#include "orchestrator/evidence/checks.h"

#include <string.h>

#include "shared/chain.h"
#include "shared/json.h"

/* The line at *p, without LF; moves *p behind it. A last line without LF counts too. NULL at the end. */
static const char *next_line(const char **p, const char *end, size_t *ret_len, bool *ret_ended)
{
    const char *line = *p;
    if (line >= end)
        return NULL;
    const char *lf = memchr(line, '\n', (size_t)(end - line));
    *ret_len = (size_t)((lf ? lf : end) - line);
    *ret_ended = lf != NULL;
    *p = lf ? lf + 1 : end;
    return line;
}

void check_heads_read(const char *events, size_t len, struct check_heads *ret)
{
    static const char type[] = "\"RunCommandFinished\"";
    const char *p = events;
    size_t n;
    bool ended;
    const char *line;
    ret->n = 0;
    while (ret->n < LIMIT_COMMANDS && (line = next_line(&p, events + len, &n, &ended)) != NULL) {
        cleanup_cjson cJSON *obj = NULL;
        if (!memmem(line, n, type, sizeof(type) - 1) || json_parse_line(line, n, &obj, NULL) != 0)
            continue;
        const char *is = json_get_str(obj, "type");
        const char *head = json_get_str(obj, "commandLogHead");
        if (is && strcmp(is, "RunCommandFinished") == 0 && head && sha256_hex_ok(head))
            memcpy(ret->head[ret->n++], head, SHA256_HEX_LEN + 1);
    }
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
    return chain_accept(chain, line, len, obj, err);
}

int check_command_log(const char *run_id, const char *bytes, size_t len, const struct check_heads *heads,
    uint64_t *ret_lines, struct arp_err *err)
{
    struct chain chain;
    const char *p = bytes;
    const char *line;
    size_t n;
    size_t count = 0;
    bool ended = true;
    chain_init(&chain, run_id, "command_log.jsonl");
    while ((line = next_line(&p, bytes + len, &n, &ended)) != NULL) {
        if (!ended)
            return arp_fail(err, ARP_E_CORRUPT, 0, "the last line is not finished");
        if (count == LIMIT_COMMANDS)
            return arp_fail(err, ARP_E_TOO_LARGE, 0, "more than %d lines", LIMIT_COMMANDS);
        int rc = check_log_line(line, n, &chain, err);
        if (rc != 0) {
            arp_wrap(err, "line %zu", count);
            return rc;
        }
        if (count < heads->n && strcmp(heads->head[count], chain.prev) != 0)
            return arp_fail(err, ARP_E_CORRUPT, 0, "line %zu is not the one whose hash was streamed", count);
        count++;
    }
    if (count < heads->n || (heads->closed && count > heads->n))
        return arp_fail(err, ARP_E_CORRUPT, 0, "%zu lines, but %zu commands were streamed", count, heads->n);
    *ret_lines = count;
    return 0;
}

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
