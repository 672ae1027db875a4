/*
 * Scripts: see script.h.
 */
#include "agent/script.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "shared/buf.h"
#include "shared/fd.h"

void script_chain_done(struct script_chain *c)
{
    for (unsigned i = 0; i < c->count; i++) {
        free(c->levels[i].path);
        free(c->levels[i].interpreter);
        free(c->levels[i].argument);
    }
    c->count = 0;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* "#!", blanks, interpreter, blanks, one argument, as load_script() of the kernel reads them: within the file's first 256 bytes, to which it
 * appends zeros. text: at least TRACEE_SHEBANG bytes. False when it is no such line. */
static bool parse_line(char *text, struct script_level *ret)
{
    if (text[0] != '#' || text[1] != '!')
        return false;
    char *last = text + TRACEE_SHEBANG - 1;
    char *end = memchr(text, '\n', strnlen(text, TRACEE_SHEBANG));
    if (!end) { /* a line that is cut may lose its argument's end, but not the interpreter's */
        char *name = text + 2;
        while (name < last && is_blank(*name))
            name++;
        while (name < last && *name && !is_blank(*name))
            name++;
        if (*name && !is_blank(*name))
            return false;
        end = last;
    }
    while (is_blank(end[-1]))
        end--;
    *end = 0;
    char *line = text + 2 + strspn(text + 2, " \t");
    size_t n = strcspn(line, " \t");
    if (n == 0)
        return false;
    char *rest = line + n + strspn(line + n, " \t");
    ret->interpreter = strndup(line, n);
    ret->argument = *rest ? strdup(rest) : NULL;
    return ret->interpreter != NULL;
}

/* The name the kernel gives a file: a descriptor's is /dev/fd/N. */
static char *kernel_path(const struct tracee_asked *a)
{
    char text[TRACEE_PATH_MAX + 32];
    if (a->fd_number < 0)
        return a->path ? strdup(a->path) : NULL;
    snprintf(text, sizeof(text), "/dev/fd/%d%s%s", a->fd_number, a->path[0] ? "/" : "", a->path);
    return strdup(text);
}

static void note_script(struct script_chain *c, int fd, const char *path, struct process_record *ret)
{
    struct stat st;
    struct process_script *s = &ret->scripts[ret->script_count];
    s->path = strdup(path);
    if (!s->path)
        return;
    ret->script_count++;
    if (fstat(fd, &st) == 0 && exehash_find(c->cache, &st, s->sha256))
        return;
    if (!exehash_read(c->cache, fd, s->sha256))
        s->sha256[0] = 0;
}

/* Add the level of an open file that is called path (taken over). False when it is no script. */
static bool add_level(struct script_chain *c, int fd, char *path, struct process_record *ret)
{
    char text[TRACEE_SHEBANG] = {0};
    struct script_level *level = &c->levels[c->count];
    *level = (struct script_level){.path = path};
    ssize_t n = fd < 0 || !path ? -1 : pread(fd, text, TRACEE_SHEBANG, 0);
    if (n <= 0 || !parse_line(text, level)) {
        free(path);
        free(level->argument);
        return false;
    }
    c->count++;
    if (ret)
        note_script(c, fd, path, ret);
    return true;
}

static bool is_file(pid_t pid, const char *path, const struct stat *exe)
{
    struct stat st;
    struct tracee_asked plain;
    tracee_asked_init(&plain);
    plain.path = (char *)(uintptr_t)path; /* borrowed: plain is not released */
    return tracee_stat_asked(pid, &plain, &st) == 0 && st.st_dev == exe->st_dev && st.st_ino == exe->st_ino;
}

bool script_is_program(int fd)
{
    char magic[4];
    return pread(fd, magic, sizeof(magic), 0) == sizeof(magic) &&
           memcmp(magic, "\177ELF", sizeof(magic)) == 0;
}

bool script_follow(struct script_chain *c, const struct tracee_asked *asked, const struct stat *exe,
    struct process_record *ret)
{
    cleanup_fd int first = tracee_open_asked(c->pid, asked);
    bool more = add_level(c, first, kernel_path(asked), ret);
    while (more) {
        const char *interpreter = c->levels[c->count - 1].interpreter;
        if (exe && is_file(c->pid, interpreter, exe))
            return true;
        cleanup_fd int fd = tracee_open(c->pid, -1, interpreter);
        if (!exe && fd >= 0 && script_is_program(fd))
            return true;
        more = fd >= 0 && c->count < TRACEE_SCRIPTS && add_level(c, fd, strdup(interpreter), ret);
    }
    script_chain_done(c);
    for (; ret && ret->script_count > 0; ret->script_count--)
        free(ret->scripts[ret->script_count - 1].path);
    return false;
}

void script_expect(const struct script_chain *c, const struct tracee_asked *asked, struct tracee_args *ret)
{
    const struct tracee_args *a = &asked->args;
    struct buf args, next;
    size_t room = a->len + c->count * (TRACEE_SHEBANG + TRACEE_PATH_MAX + 40) + 1;
    buf_init(&args, room);
    buf_init(&next, room);
    if (a->len > 0)
        buf_append(&args, a->bytes, a->len);
    else
        buf_append_char(&args, 0); /* since Linux 5.18 an empty vector becomes one empty string */
    for (unsigned i = 0; i < c->count; i++) {
        const struct script_level *l = &c->levels[i];
        size_t name = strnlen(args.data, args.len);
        size_t skip = name < args.len ? name + 1 : name;
        buf_reset(&next);
        buf_append(&next, l->interpreter, strlen(l->interpreter) + 1);
        if (l->argument)
            buf_append(&next, l->argument, strlen(l->argument) + 1);
        buf_append(&next, l->path, strlen(l->path) + 1);
        buf_append(&next, args.data + skip, args.len - skip);
        struct buf swap = args;
        args = next;
        next = swap;
    }
    ret->readable = !args.error && !next.error;
    ret->len = args.len;
    ret->total = args.len + (a->total > a->len ? 1 : 0);
    ret->bytes = buf_steal(&args);
    buf_done(&next);
}
