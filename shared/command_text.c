/*
 * Texts of shell commands: see command_text.h. Words and quotes: POSIX XCU 2.2.
 */
#include "shared/command_text.h"

#include <string.h>

#include "shared/buf.h"

#define BLANKS " \t\r\n"

static void add(struct command_texts *d, const char *text, size_t len)
{
    char hex[SHA256_HEX_LEN + 1];
    sha256_hex_of(text, len, hex);
    for (size_t i = 0; i < d->n; i++)
        if (strcmp(d->v[i], hex) == 0)
            return;
    if (d->n < COMMAND_TEXTS_MAX)
        memcpy(d->v[d->n++], hex, sizeof(hex));
}

/* Append one shell word without its quotes. Returns what stands behind it; NULL: a quote is not closed. */
static const char *unquote(const char *p, struct buf *out)
{
    char quote = '\0';
    for (; *p; p++) {
        if (quote == '\'' || (quote == '"' && *p != '\\')) {
            if (*p == quote)
                quote = '\0';
            else
                buf_append_char(out, *p);
        } else if (*p == '\\' && p[1]) {
            /* Between double quotes a backslash stands for itself but before these. */
            if (quote == '"' && !strchr("$`\"\\\n", p[1]))
                buf_append_char(out, '\\');
            if (*++p != '\n')
                buf_append_char(out, *p);
        } else if (*p == '\'' || *p == '"') {
            quote = *p;
        } else if (strchr(BLANKS ";&|<>()", *p)) {
            break;
        } else {
            buf_append_char(out, *p);
        }
    }
    return quote ? NULL : p;
}

/* Behind "bash -lc " and the like, or NULL. */
static const char *behind_shell(const char *text)
{
    static const char *const shells[] = {"bash", "sh", "zsh", "dash"};
    size_t word = strcspn(text, BLANKS);
    const char *base = text;
    for (const char *p = text; p < text + word; p++)
        if (*p == '/')
            base = p + 1;
    bool known = false;
    for (size_t i = 0; i < sizeof(shells) / sizeof(shells[0]); i++)
        known = known || (strlen(shells[i]) == (size_t)(text + word - base) &&
                             strncmp(base, shells[i], strlen(shells[i])) == 0);
    const char *option = text + word + strspn(text + word, BLANKS);
    size_t len = strcspn(option, BLANKS);
    if (!known || option[0] != '-' || option[1] == '-' || !memchr(option, 'c', len) || !option[len])
        return NULL;
    return option + len + strspn(option + len, BLANKS);
}

/* Behind the first word "eval", or NULL. */
static const char *behind_eval(const char *text)
{
    for (const char *at = text; (at = strstr(at, "eval ")) != NULL; at += 5)
        if (at == text || strchr(BLANKS ";&|(", at[-1]))
            return at + 5 + strspn(at + 5, BLANKS);
    return NULL;
}

int command_text_digests(const char *text, struct command_texts *ret, struct arp_err *err)
{
    struct command_texts d = {0};
    size_t len = strlen(text);
    cleanup_buf struct buf inner;
    buf_init(&inner, len + 1);
    add(&d, text, len);
    const char *from = text + strspn(text, BLANKS);
    size_t n = strlen(from);
    while (n > 0 && strchr(BLANKS, from[n - 1]))
        n--;
    add(&d, from, n);
    const char *at = behind_shell(from);
    const char *end = at ? unquote(at, &inner) : NULL;
    if (end && end[strspn(end, BLANKS)] == '\0')
        add(&d, buf_str(&inner), inner.len);
    buf_reset(&inner);
    at = behind_eval(from);
    size_t whole = d.n;
    if (at && unquote(at, &inner))
        add(&d, buf_str(&inner), inner.len);
    d.last_is_part = d.n > whole;
    *ret = d;
    return buf_error(&inner, err);
}

bool command_text_is_setup(const char *text)
{
    static const char *const marks[] = {"SNAPSHOT_FILE=", "# Snapshot file", "shell-snapshots/snapshot-"};
    static const char eval[] = "eval ";
    /* What claude wraps the model's command in names its snapshot too, and evaluates. */
    if (strstr(text, eval))
        return false;
    for (size_t i = 0; i < sizeof(marks) / sizeof(marks[0]); i++)
        if (strstr(text, marks[i]))
            return true;
    return false;
}
