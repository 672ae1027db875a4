/*
 * Loop: see loop.h.
 */
#include "agent/loop.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/builtin_codec.h"
#include "agent/engine.intern.h"
#include "agent/transcript.h"
#include "shared/fd.h"
#include "shared/uuid.h"

struct loop {
    const struct loop_spec *spec;
    struct transcript transcript;
};

static int ask(void *ctx, const struct relay_request *q, int *ret_status, struct arp_err *err)
{
    const struct loop *l = ctx;
    return relay_ask(l->spec->relay, q, ret_status, err);
}

static void line(void *ctx, const char *text, size_t len)
{
    struct loop *l = ctx;
    transcript_feed(&l->transcript, text, len);
}

static void file_name(const char *thread_id, char ret[UUID_LEN + 8])
{
    snprintf(ret, UUID_LEN + 8, "%s.jsonl", thread_id);
}

static int read_earlier(int home_fd, const char *thread_id, struct buf *ret, struct arp_err *err)
{
    char name[UUID_LEN + 8];
    if (!uuid_ok(thread_id))
        return arp_fail(err, ARP_E_NOT_FOUND, 0, "no conversation '%s'", thread_id);
    file_name(thread_id, name);
    cleanup_fd int fd = fd_open_beneath(home_fd, name, O_RDONLY, 0, err);
    if (fd < 0 && err->sys_errno == ENOENT)
        return arp_fail(err, ARP_E_NOT_FOUND, 0, "no conversation '%s'", thread_id);
    return fd < 0 ? fd : fd_read_all(fd, ret, err);
}

/* Keep what the next run of the thread goes on with. */
static int keep(const struct loop_spec *s, int home_fd, const struct builtin_result *r,
    struct engine_story *story, struct arp_err *err)
{
    char id[UUID_LEN + 1], name[UUID_LEN + 8];
    if (r->conversation.len == 0)
        return 0;
    if (s->req->thread_id)
        memcpy(id, s->req->thread_id, sizeof(id));
    else
        uuid_make(id);
    file_name(id, name);
    int rc = file_write_durable(home_fd, name, r->conversation.data, r->conversation.len, 0600, err);
    if (rc == 0)
        engine_tell_thread(story, id);
    return rc;
}

static int run(
    struct loop *l, int home_fd, const struct buf *earlier, struct engine_story *story, struct arp_err *err)
{
    const struct loop_spec *s = l->spec;
    const struct run_request *req = s->req;
    char repo[1100];
    struct builtin_result result;
    snprintf(repo, sizeof(repo), "%s/repo", s->workspace->root);
    struct builtin_spec spec = {.prompt = req->prompt,
        .instructions = req->instructions,
        .model = req->model,
        .dialect = req->has_dialect ? req->dialect : MODEL_RESPONSES,
        .max_steps = (uint64_t)req->max_steps,
        .max_tokens = (uint64_t)req->max_tokens,
        .deadline_ns = s->deadline_ns,
        .cancel_fd = s->cancel_fd,
        .earlier = earlier->data,
        .earlier_len = earlier->len,
        .files = {.repo_fd = s->repo_fd, .repo_path = repo, .uid = s->uid, .gid = s->gid},
        .ask = ask,
        .line = line,
        .io_ctx = l,
        .idle = s->idle,
        .shell = s->shell,
        .ctx = s->ctx};
    builtin_run(&spec, &result);
    engine_tell_text(story, buf_str(&result.final_text));
    engine_tell_end(story, result.end != BUILTIN_SUCCEEDED, result.message);
    int rc = keep(s, home_fd, &result, story, err);
    builtin_result_done(&result);
    return rc;
}

int loop_run(const struct loop_spec *spec, struct engine_story *story, char ret_hex[SHA256_HEX_LEN + 1],
    struct arp_err *err)
{
    struct loop l = {.spec = spec};
    cleanup_buf struct buf earlier;
    buf_init(&earlier, BUILTIN_TALK_LINES_MAX);
    ret_hex[0] = 0;
    cleanup_fd int home = workspace_engine_home(spec->workspace, "builtin", 0, 0, err);
    int rc = home < 0 ? home : 0;
    if (rc == 0 && spec->req->thread_id)
        rc = read_earlier(home, spec->req->thread_id, &earlier, err);
    if (rc == 0)
        rc = transcript_open(&l.transcript, spec->dir, NULL, NULL, err);
    if (rc)
        return rc;
    rc = run(&l, home, &earlier, story, err);
    int end = transcript_end(&l.transcript, ret_hex, rc ? NULL : err);
    transcript_close(&l.transcript);
    return rc ? rc : end;
}
