/*
 * Patch: see patch.h.
 */
#include "agent/patch.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "shared/fd.h"

/* New contents of all files of a patch together: they are held until all is known to fit. */
#define TEXTS_MAX (64ul << 20)
/* Lines that are compared to find the places of a file's hunks, long ones counted more than once: some tenths of a second. A million equal
 * lines would else keep the run for hours, past its time and deaf to a cancel. */
#define COMPARISONS_MAX (20ul << 20)
#define LINE_UNIT       64u

/* --- lines --- */

struct line {
    const char *text; /* borrowed, without LF */
    size_t len;
};

static struct line next_line(const char **at, const char *end)
{
    const char *lf = memchr(*at, '\n', (size_t)(end - *at));
    struct line l = {*at, (size_t)((lf ? lf : end) - *at)};
    *at = lf ? lf + 1 : end;
    return l;
}

static bool equal(struct line a, struct line b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.text, b.text, a.len) == 0);
}

static bool is(struct line l, const char *text)
{
    return equal(l, (struct line){text, strlen(text)});
}

/* The rest of a line that begins so; text NULL when it does not. */
static struct line after(struct line l, const char *prefix)
{
    size_t n = strlen(prefix);
    if (l.len < n || memcmp(l.text, prefix, n) != 0)
        return (struct line){NULL, 0};
    return (struct line){l.text + n, l.len - n};
}

/* Patches that came through a CRLF world have the CR in their own lines; those of the file are the hunks' business. */
static struct line trimmed(struct line l)
{
    while (l.len > 0 && (l.text[l.len - 1] == '\r' || l.text[l.len - 1] == ' '))
        l.len--;
    return l;
}

/* --- one file --- */

struct text {
    struct line *lines;
    size_t count;
    size_t compared; /* lines so far */
    bool ends_with_lf;
};

static int split(const char *bytes, size_t len, struct text *ret, struct arp_err *err)
{
    size_t n = 0;
    const char *end = bytes + len;
    for (const char *at = bytes; at < end; n++)
        next_line(&at, end);
    struct line *lines = calloc(n + 1, sizeof(*lines));
    if (!lines)
        return arp_fail(err, ARP_E_NOMEM, 0, "lines of a file");
    const char *at = bytes;
    for (size_t i = 0; i < n; i++)
        lines[i] = next_line(&at, end);
    *ret = (struct text){.lines = lines, .count = n, .ends_with_lf = len == 0 || bytes[len - 1] == '\n'};
    return 0;
}

/* One hunk, pointing into the patch. */
struct hunk {
    struct line go_to; /* text NULL: none */
    const char *body, *end;
    size_t old_count;
    bool at_end; /* *** End of File */
};

static bool is_hunk_head(struct line l)
{
    return after(l, "@@").text != NULL;
}

/* Read the next hunk from *at. Errors: ARP_E_INVALID. */
static int next_hunk(const char **at, const char *end, struct hunk *ret, struct arp_err *err)
{
    struct hunk h = {.body = *at};
    const char *from = *at;
    struct line l = next_line(at, end);
    if (is_hunk_head(l)) {
        struct line rest = after(l, "@@ ");
        if (rest.text && trimmed(rest).len > 0)
            h.go_to = rest;
        h.body = *at;
    } else {
        *at = from;
    }
    for (h.end = *at; *at < end; h.end = *at) {
        from = *at;
        l = next_line(at, end);
        if (is_hunk_head(l)) {
            *at = from;
            break;
        }
        if (is(trimmed(l), "*** End of File")) {
            h.at_end = true;
            break;
        }
        if (l.len > 0 && !strchr(" +-", l.text[0]))
            return arp_fail(err, ARP_E_INVALID, 0,
                "a line of a hunk begins with neither ' ', '+', '-' nor '@@': %.*s",
                (int)(l.len < 100 ? l.len : 100), l.text);
        h.old_count += l.len == 0 || l.text[0] != '+';
    }
    if (h.body == h.end)
        return arp_fail(err, ARP_E_INVALID, 0, "a hunk without lines");
    *ret = h;
    return 0;
}

/* The line of the hunk as it stands in the old (or new) file. An empty one is an empty line of context. */
static struct line content(struct line l)
{
    return l.len == 0 ? l : (struct line){l.text + 1, l.len - 1};
}

static bool is_old(struct line l)
{
    return l.len == 0 || l.text[0] != '+';
}

/* Do the hunk's old lines stand at line at of the file? */
static bool fits(struct text *t, size_t at, const struct hunk *h)
{
    const char *p = h->body;
    while (p < h->end) {
        struct line l = next_line(&p, h->end);
        t->compared += 1 + l.len / LINE_UNIT;
        if (is_old(l) && (at >= t->count || !equal(t->lines[at++], content(l))))
            return false;
    }
    return true;
}

static int conflict(const struct hunk *h, struct arp_err *err)
{
    const char *p = h->body;
    struct line first = {"", 0};
    while (p < h->end) {
        first = next_line(&p, h->end);
        if (is_old(first))
            break;
    }
    first = content(first);
    return arp_fail(err, ARP_E_CONFLICT, 0,
        "the %zu old lines of a hunk are not in the file as they are given (behind the hunk before it); the "
        "first is: %.*s",
        h->old_count, (int)(first.len < 200 ? first.len : 200), first.text);
}

/* Where the hunk's old lines stand from line from on. Errors: ARP_E_CONFLICT, ARP_E_TOO_LARGE. */
static int locate(struct text *t, size_t from, const struct hunk *h, size_t *ret, struct arp_err *err)
{
    if (h->go_to.text) {
        size_t at = from;
        while (at < t->count && !equal(t->lines[at], h->go_to))
            at++;
        if (at == t->count)
            return arp_fail(err, ARP_E_CONFLICT, 0, "no line of the file (behind the hunk before) is: %.*s",
                (int)(h->go_to.len < 200 ? h->go_to.len : 200), h->go_to.text);
        from = at + 1;
    }
    if (h->old_count == 0) {
        *ret = h->go_to.text && !h->at_end ? from : t->count;
        return 0;
    }
    if (h->old_count > t->count)
        return conflict(h, err);
    size_t last = t->count - h->old_count;
    for (size_t at = h->at_end && last > from ? last : from; at <= last; at++) {
        if (fits(t, at, h)) {
            *ret = at;
            return 0;
        }
        if (t->compared > COMPARISONS_MAX)
            return arp_fail(err, ARP_E_TOO_LARGE, 0,
                "the place of a hunk is too hard to find: give fewer old lines, and an '@@' line before "
                "them");
    }
    return conflict(h, err);
}

static void put_line(struct buf *out, struct line l)
{
    buf_append(out, l.text, l.len);
    buf_append_char(out, '\n');
}

int patch_text(const char *old, size_t old_len, const char *hunks, size_t hunks_len, struct buf *ret,
    struct arp_err *err)
{
    struct text t = {0};
    size_t done = 0; /* lines of the old file that are in ret or gone */
    const char *at = hunks, *end = hunks + hunks_len;
    int rc = split(old, old_len, &t, err);
    cleanup_free struct line *lines = t.lines;
    (void)lines; /* frees them */
    if (rc == 0 && at == end)
        rc = arp_fail(err, ARP_E_INVALID, 0, "no hunk");
    while (rc == 0 && at < end) {
        struct hunk h = {0};
        size_t place = 0;
        rc = next_hunk(&at, end, &h, err);
        if (rc == 0)
            rc = locate(&t, done, &h, &place, err);
        if (rc)
            break;
        for (; done < place; done++)
            put_line(ret, t.lines[done]);
        for (const char *p = h.body; p < h.end;) {
            struct line l = next_line(&p, h.end);
            if (l.len == 0 || l.text[0] != '-')
                put_line(ret, content(l));
        }
        done += h.old_count;
    }
    if (rc)
        return rc;
    for (; done < t.count; done++)
        put_line(ret, t.lines[done]);
    if (!t.ends_with_lf && ret->len > 0 && !ret->error)
        ret->data[--ret->len] = '\0';
    return buf_error(ret, err);
}

/* --- the patch --- */

/* One file's section. */
struct section {
    char kind; /* A, D, M */
    char path[REPOFILE_PATH_MAX], move[REPOFILE_PATH_MAX];
    const char *body, *end;
};

struct patch {
    const struct repofiles *files;
    struct section *sections;
    size_t count;
    /* What is to be done: a move is two changes. */
    struct repofile_change *changes;
    struct buf *texts;
    size_t text_bytes; /* of all texts */
    size_t change_count;
};

static int path_of(const struct patch *p, struct line name, char ret[REPOFILE_PATH_MAX], struct arp_err *err)
{
    char asked[REPOFILE_PATH_MAX];
    name = trimmed(name);
    if (name.len >= sizeof(asked) || memchr(name.text, '\0', name.len))
        return arp_fail(err, ARP_E_INVALID, 0, "a path of %zu bytes", name.len);
    memcpy(asked, name.text, name.len);
    asked[name.len] = '\0';
    return repofile_path(p->files, asked, ret, err);
}

/* Begin a section when the line says so; ret NULL when it does not. */
static int begin_section(struct patch *p, struct line l, struct section **ret, struct arp_err *err)
{
    static const struct {
        const char *head;
        char kind;
    } heads[] = {{"*** Add File: ", 'A'}, {"*** Delete File: ", 'D'}, {"*** Update File: ", 'M'}};
    *ret = NULL;
    for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
        struct line name = after(l, heads[i].head);
        if (!name.text)
            continue;
        if (p->count >= REPOFILE_CHANGES_MAX)
            return arp_fail(err, ARP_E_INVALID, 0, "more than %d files", REPOFILE_CHANGES_MAX);
        struct section *s = realloc(p->sections, (p->count + 1) * sizeof(*s));
        if (!s)
            return arp_fail(err, ARP_E_NOMEM, 0, "patch");
        p->sections = s;
        s += p->count++;
        *s = (struct section){.kind = heads[i].kind};
        *ret = s;
        return path_of(p, name, s->path, err);
    }
    return 0;
}

static bool is_end_of_patch(struct line l)
{
    return is(trimmed(l), "*** End Patch");
}

/* The lines of a section up to the next one's head. */
static int read_section(
    struct patch *p, struct section *s, const char **at, const char *end, struct arp_err *err)
{
    const char *from = *at;
    struct line move = after(*at < end ? next_line(at, end) : (struct line){"", 0}, "*** Move to: ");
    if (s->kind == 'M' && move.text) {
        int rc = path_of(p, move, s->move, err);
        if (rc)
            return rc;
        from = *at;
    }
    s->body = s->end = *at = from;
    while (*at < end) {
        struct line l = next_line(at, end);
        if (after(l, "*** ").text && !(s->kind == 'M' && is(trimmed(l), "*** End of File"))) {
            *at = s->end;
            break;
        }
        if (s->kind == 'A' && (l.len == 0 || l.text[0] != '+'))
            return arp_fail(
                err, ARP_E_INVALID, 0, "a line of the new file '%.200s' does not begin with '+'", s->path);
        if (s->kind == 'D' && l.len > 0)
            return arp_fail(err, ARP_E_INVALID, 0, "lines behind the deletion of '%.200s'", s->path);
        s->end = *at;
    }
    return 0;
}

static int read_patch(struct patch *p, const char *text, size_t len, struct arp_err *err)
{
    const char *at = text, *end = text + len;
    while (at < end && (*at == '\n' || *at == ' ' || *at == '\r'))
        at++;
    if (at == end || !is(trimmed(next_line(&at, end)), "*** Begin Patch"))
        return arp_fail(err, ARP_E_INVALID, 0, "the first line must be '*** Begin Patch'");
    while (at < end) {
        struct section *s;
        struct line l = next_line(&at, end);
        if (is_end_of_patch(l))
            return p->count > 0 ? 0 : arp_fail(err, ARP_E_INVALID, 0, "a patch of no file");
        int rc = begin_section(p, l, &s, err);
        if (rc == 0 && !s)
            rc = arp_fail(err, ARP_E_INVALID, 0,
                "expected '*** Add File: ', '*** Update File: ', '*** Delete File: ' or '*** End Patch', "
                "got: %.*s",
                (int)(l.len < 100 ? l.len : 100), l.text);
        if (rc == 0)
            rc = read_section(p, s, &at, end, err);
        if (rc)
            return rc;
    }
    return arp_fail(err, ARP_E_INVALID, 0, "the last line must be '*** End Patch'");
}

static int refuse_twice(const struct patch *p, struct arp_err *err)
{
    for (size_t i = 0; i < p->change_count; i++) {
        for (size_t k = i + 1; k < p->change_count; k++) {
            if (strcmp(p->changes[i].path, p->changes[k].path) == 0)
                return arp_fail(err, ARP_E_INVALID, 0,
                    "'%.200s' is named twice: put its hunks into one section", p->changes[i].path);
        }
    }
    return 0;
}

static struct repofile_change *add_change(struct patch *p, enum repofile_kind kind, const char *path)
{
    struct repofile_change *c = &p->changes[p->change_count++];
    *c = (struct repofile_change){.kind = kind, .path = path};
    return c;
}

static int added_text(const struct section *s, struct buf *out, struct arp_err *err)
{
    for (const char *at = s->body; at < s->end;)
        put_line(out, content(next_line(&at, s->end)));
    return buf_error(out, err);
}

static int changed_text(
    const struct patch *p, const struct section *s, struct buf *out, mode_t *mode, struct arp_err *err)
{
    cleanup_buf struct buf old;
    buf_init(&old, REPOFILE_MAX);
    int rc = repofile_read(p->files, s->path, &old, mode, err);
    if (rc)
        return rc;
    if (s->move[0] && s->body == s->end) /* moved as it is */
        buf_append(out, buf_str(&old), old.len);
    else
        rc = patch_text(buf_str(&old), old.len, s->body, (size_t)(s->end - s->body), out, err);
    if (rc == 0)
        rc = buf_error(out, err);
    return rc ? arp_wrap(err, "'%.200s'", s->path) : 0;
}

/* What one section changes. */
static int plan(struct patch *p, size_t i, struct arp_err *err)
{
    const struct section *s = &p->sections[i];
    struct buf *text = &p->texts[i];
    mode_t mode = 0;
    buf_init(text, REPOFILE_MAX);
    if (s->kind == 'D') {
        add_change(p, REPOFILE_REMOVE, s->path);
        return 0;
    }
    int rc = s->kind == 'A' ? added_text(s, text, err) : changed_text(p, s, text, &mode, err);
    p->text_bytes += text->len;
    if (rc == 0 && p->text_bytes > TEXTS_MAX)
        rc = arp_fail(
            err, ARP_E_TOO_LARGE, 0, "the changed files have more than %lu bytes together", TEXTS_MAX);
    if (rc)
        return rc;
    bool moves = s->move[0] && strcmp(s->move, s->path) != 0;
    if (moves)
        add_change(p, REPOFILE_REMOVE, s->path);
    struct repofile_change *c =
        add_change(p, s->kind == 'A' || moves ? REPOFILE_ADD : REPOFILE_REPLACE, moves ? s->move : s->path);
    c->bytes = buf_str(text);
    c->len = text->len;
    c->mode = mode;
    return 0;
}

static int make_changes(struct patch *p, struct arp_err *err)
{
    cleanup_free struct repofile_change *changes = calloc(2 * p->count, sizeof(*changes));
    cleanup_free struct buf *texts = calloc(p->count, sizeof(*texts));
    if (!changes || !texts)
        return arp_fail(err, ARP_E_NOMEM, 0, "patch");
    p->changes = changes;
    p->texts = texts;
    int rc = 0;
    for (size_t i = 0; i < p->count && rc == 0; i++)
        rc = plan(p, i, err);
    if (rc == 0)
        rc = refuse_twice(p, err);
    if (rc == 0)
        rc = repofile_apply(p->files, p->changes, p->change_count, err);
    for (size_t i = 0; i < p->count; i++)
        buf_done(&texts[i]);
    return rc;
}

int patch_apply(
    const struct repofiles *files, const char *text, size_t len, struct buf *ret_said, struct arp_err *err)
{
    struct patch p = {.files = files};
    int rc = read_patch(&p, text, len, err);
    if (rc == 0)
        rc = make_changes(&p, err);
    for (size_t i = 0; i < p.count && rc == 0; i++) {
        const struct section *s = &p.sections[i];
        buf_printf(ret_said, "%c %s", s->kind, s->path);
        if (s->move[0])
            buf_printf(ret_said, " -> %s", s->move);
        buf_append_char(ret_said, '\n');
    }
    free(p.sections);
    return rc;
}
