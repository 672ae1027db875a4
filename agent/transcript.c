/*
 * Transcript: see transcript.h.
 */
#include "agent/transcript.h"

#include <string.h>
#include <unistd.h>

#include "shared/fd.h"
#include "shared/limits.h"

int transcript_open(struct transcript *t, const struct evdir *dir,
    void (*on_line)(void *ctx, const char *line, size_t len), void *ctx, struct arp_err *err)
{
    *t = (struct transcript){.on_line = on_line, .ctx = ctx};
    buf_init(&t->line, TRANSCRIPT_LINE_MAX);
    t->hash = sha256_new();
    t->fd =
        t->hash ? evdir_create_file(dir, "engine.jsonl", err) : arp_fail(err, ARP_E_NOMEM, 0, "engine.jsonl");
    int rc = t->fd < 0 ? t->fd : 0;
    if (rc)
        transcript_close(t);
    return rc;
}

static void end_line(struct transcript *t)
{
    if (!t->too_long && t->line.len > 0)
        t->on_line(t->ctx, t->line.data, t->line.len);
    buf_reset(&t->line);
    t->too_long = false;
}

static void keep(struct transcript *t, const char *bytes, size_t len)
{
    uint64_t room = LIMIT_BLOB - t->kept;
    size_t n = len < room ? len : (size_t)room;
    if (n > 0 && t->error.code == 0 && fd_write_all(t->fd, bytes, n, &t->error) == 0)
        sha256_update(t->hash, bytes, n);
    t->kept += n;
}

void transcript_feed(struct transcript *t, const char *bytes, size_t len)
{
    keep(t, bytes, len);
    while (t->on_line && len > 0) {
        const char *lf = memchr(bytes, '\n', len);
        size_t n = lf ? (size_t)(lf - bytes) : len;
        if (!t->too_long && buf_append(&t->line, bytes, n) != 0)
            t->too_long = true;
        if (lf)
            end_line(t);
        n += lf != NULL;
        bytes += n;
        len -= n;
    }
}

int transcript_end(struct transcript *t, char ret_hex[SHA256_HEX_LEN + 1], struct arp_err *err)
{
    end_line(t);
    if (t->error.code)
        return arp_fail(err, t->error.code, 0, "engine.jsonl: %.400s", t->error.msg);
    sha256_hex(t->hash, ret_hex);
    return 0;
}

void transcript_close(struct transcript *t)
{
    if (t->fd > 0)
        close(t->fd);
    sha256_free(t->hash);
    buf_done(&t->line);
    *t = (struct transcript){.fd = -1};
}
