/*
 * Shell words: see shellwords.h.
 */
#include "agent/shellwords.h"

#include <stdbool.h>
#include <string.h>

static void quote_word(struct buf *out, const char *w)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:=,@%+";
    if (*w && w[strspn(w, plain)] == 0) {
        buf_append_str(out, w);
        return;
    }
    buf_append_char(out, '\'');
    for (; *w; w++) {
        if (*w == '\'')
            buf_append_str(out, "'\\''");
        else
            buf_append_char(out, *w);
    }
    buf_append_char(out, '\'');
}

void shellwords_quote(struct buf *out, char *const *argv, size_t argc)
{
    for (size_t i = 0; i < argc; i++) {
        if (i > 0)
            buf_append_char(out, ' ');
        quote_word(out, argv[i]);
    }
}

/* Long options of bash whose value is the next argument. */
static bool takes_value(const char *option)
{
    return strcmp(option, "--rcfile") == 0 || strcmp(option, "--init-file") == 0;
}

size_t shellwords_command(char *const *argv, size_t argc)
{
    bool has_c = false;
    size_t i = 1;
    while (i < argc && (argv[i][0] == '-' || argv[i][0] == '+')) {
        const char *option = argv[i++];
        if (strcmp(option, "--") == 0 || strcmp(option, "-") == 0)
            break;
        if (option[1] == '-') {
            i += takes_value(option);
            continue;
        }
        for (const char *c = option + 1; *c; c++) {
            has_c |= *c == 'c' && option[0] == '-';
            i += *c == 'o' || *c == 'O'; /* the option's name */
        }
    }
    return has_c && i < argc ? i : 0;
}
