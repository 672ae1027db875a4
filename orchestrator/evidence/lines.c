/*
 * Lines of a log: see lines.h.
 */
#include "orchestrator/evidence/lines.h"

#include <string.h>

const char *lines_next(struct log_text *rest, size_t *ret_len, bool *ret_ended)
{
    const char *line = rest->data;
    if (rest->len == 0)
        return NULL;
    const char *lf = memchr(line, '\n', rest->len);
    *ret_ended = lf != NULL;
    *ret_len = lf ? (size_t)(lf - line) : rest->len;
    rest->data += *ret_len + *ret_ended;
    rest->len -= *ret_len + *ret_ended;
    return line;
}

bool lines_next_event(struct log_text *rest, unsigned types, enum event_type *ret_type, cJSON **ret)
{
    const char *line;
    size_t n;
    bool ended;
    uint64_t seq;
    while ((line = lines_next(rest, &n, &ended)) != NULL) {
        if (!event_peek(line, n, &seq, ret_type) || !(types & LINES_OF(*ret_type)))
            continue;
        if (json_parse_line(line, n, ret, NULL) != 0)
            *ret = NULL;
        return true;
    }
    return false;
}
