/*
 * Templates: see template.h.
 */
#include "orchestrator/workflow/template.h"

#include <stdbool.h>
#include <string.h>

/* Where a walk stands: the text up to the next braces, then what these are. */
struct piece {
    const char *text; /* literal bytes */
    size_t len;
    bool is_ref;     /* followed by ref */
    const char *at;  /* the braces of ref */
    const char *end; /* where the walk goes on; '\0' there: it is over */
    struct template_ref ref;
};

/* Bytes without the spaces around them. */
struct span {
    const char *p;
    size_t len;
};

static struct span trim(const char *p, const char *end)
{
    while (p < end && *p == ' ')
        p++;
    while (p < end && end[-1] == ' ')
        end--;
    return (struct span){p, (size_t)(end - p)};
}

static bool is(struct span s, const char *word)
{
    return s.len == strlen(word) && memcmp(s.p, word, s.len) == 0;
}

/* "input" or "steps.KEY.what". */
static bool read_ref(struct span s, struct template_ref *ret)
{
    static const struct {
        const char *name;
        enum template_value value;
    } values[] = {{"finalText", TEMPLATE_FINAL_TEXT}, {"diff", TEMPLATE_DIFF}, {"status", TEMPLATE_STATUS}};
    *ret = (struct template_ref){.value = TEMPLATE_INPUT};
    if (is(s, "input"))
        return true;
    const size_t prefix = strlen("steps.");
    if (s.len <= prefix || memcmp(s.p, "steps.", prefix) != 0)
        return false;
    s = (struct span){s.p + prefix, s.len - prefix};
    size_t key = strspn(s.p, STEP_KEY_BYTES); /* stops at the braces at the latest */
    if (key == 0 || key > LIMIT_STEP_KEY || key >= s.len || s.p[key] != '.')
        return false;
    memcpy(ret->step, s.p, key);
    s = (struct span){s.p + key + 1, s.len - key - 1};
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        ret->value = values[i].value;
        if (is(s, values[i].name))
            return true;
    }
    return false;
}

static int fail_at(const char *text, const char *at, const char *what, struct arp_err *err)
{
    int rc = arp_fail(err, ARP_E_FIELD, 0, "%s (byte %zu of the template)", what, (size_t)(at - text));
    if (err)
        arp_err_detail_int(err, "place", at - text);
    return rc;
}

/* The piece that begins at p, somewhere in text. */
static int next_piece(const char *text, const char *p, struct piece *ret, struct arp_err *err)
{
    const char *open = strstr(p, "{{");
    *ret = (struct piece){.text = p, .len = open ? (size_t)(open - p) : strlen(p), .at = open};
    if (!open) {
        ret->end = p + ret->len;
        return 0;
    }
    if (open[2] == '{' && open[3] == '{') { /* the first two stand for themselves */
        ret->len += 2;
        ret->end = open + 4;
        return 0;
    }
    const char *close = strstr(open + 2, "}}");
    if (!close)
        return fail_at(text, open, "'{{' without '}}'", err);
    if (!read_ref(trim(open + 2, close), &ret->ref))
        return fail_at(text, open,
            "'{{…}}' holds input, steps.KEY.finalText, steps.KEY.diff or steps.KEY.status; '{{{{' stands for "
            "'{{'",
            err);
    ret->is_ref = true;
    ret->end = close + 2;
    return 0;
}

int template_check(const char *text, template_ref_fn *fn, void *ctx, struct arp_err *err)
{
    struct piece piece = {.end = text};
    do {
        int rc = next_piece(text, piece.end, &piece, err);
        if (rc)
            return rc;
        rc = piece.is_ref ? fn(ctx, &piece.ref, err) : 0;
        if (rc) {
            if (err)
                arp_err_detail_int(err, "place", piece.at - text);
            return rc;
        }
    } while (*piece.end);
    return 0;
}

int template_render(
    const char *text, template_value_fn *value, void *ctx, struct buf *out, struct arp_err *err)
{
    struct piece piece = {.end = text};
    do {
        int rc = next_piece(text, piece.end, &piece, err);
        if (rc)
            return rc;
        buf_append(out, piece.text, piece.len);
        const char *v = piece.is_ref ? value(ctx, &piece.ref) : NULL;
        if (v)
            buf_append_str(out, v);
        rc = buf_error(out, err);
        if (rc)
            return rc;
    } while (*piece.end);
    return 0;
}
