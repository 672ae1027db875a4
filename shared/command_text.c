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

bool command_word_is_shell(const char *word, size_t len)
{
    static const char *const shells[] = {"bash", "sh", "zsh", "dash"};
    const char *slash = memrchr(word, '/', len), *base = slash ? slash + 1 : word;
    size_t n = len - (size_t)(base - word);
    for (size_t i = 0; i < sizeof(shells) / sizeof(shells[0]); i++)
        if (strlen(shells[i]) == n && memcmp(base, shells[i], n) == 0)
            return true;
    return false;
}

bool command_word_is_shells_c(const char *word, size_t len)
{
    return len >= 2 && word[0] == '-' && word[1] != '-' && memchr(word, 'c', len);
}

/* Behind "bash -lc " and the like, or NULL. */
static const char *behind_shell(const char *text)
{
    size_t word = strcspn(text, BLANKS);
    const char *option = text + word + strspn(text + word, BLANKS);
    size_t len = strcspn(option, BLANKS);
    if (!command_word_is_shell(text, word) || !command_word_is_shells_c(option, len) || !option[len])
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
