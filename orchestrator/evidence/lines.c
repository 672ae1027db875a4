/*
 * Lines of a log: see lines.h.
 */
#include "orchestrator/evidence/lines.h"

#include <string.h>

const char *lines_next(const char **p, const char *end, size_t *ret_len, bool *ret_ended)
{
    const char *line = *p;
    if (!line || line >= end)
        return NULL;
    const char *lf = memchr(line, '\n', (size_t)(end - line));
    *ret_len = (size_t)((lf ? lf : end) - line);
    *ret_ended = lf != NULL;
    *p = lf ? lf + 1 : end;
    return line;
}
