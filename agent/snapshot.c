/*
 * Snapshot, the agent's side: see snapshot.h.
 */
#include "agent/snapshot.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/exec.h"
#include "agent/sandbox.h"
#include "agent/snapshot_proc.h"
#include "shared/clock.h"
#include "shared/fd.h"
#include "shared/json.h"
#include "shared/limits.h"
#include "shared/utf8.h"

struct snapshot {
    struct reaper *reaper;
    struct child child;
    int order_fd;  /* to the helper */
    int answer_fd; /* from it, nonblocking */
    bool broken;   /* protocol or clock violated: the helper was killed */
    char why[200];
};

int snapshot_start(struct reaper *r, const char *root, const struct seccomp_prog *no_network,
    struct snapshot **ret, struct arp_err *err)
{
    struct snapshot *s = calloc(1, sizeof(*s));
    if (!s)
        return arp_fail(err, ARP_E_NOMEM, 0, "snapshot");
    *s = (struct snapshot){.reaper = r, .order_fd = -1, .answer_fd = -1};
    cleanup_fd int cwd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    cleanup_fd int log = fcntl(2, F_DUPFD_CLOEXEC, 3);
    int order[2] = {-1, -1};
    int answer[2] = {-1, -1};
    if (cwd < 0 || log < 0 || pipe2(order, O_CLOEXEC) < 0 || pipe2(answer, O_CLOEXEC) < 0 ||
        fcntl(answer[0], F_SETFL, O_NONBLOCK) < 0) {
        for (int i = 0; i < 2; i++) {
            close(order[i]);
            close(answer[i]);
        }
        free(s);
        return arp_fail(err, ARP_E_IO, errno, "pipes of the snapshot helper");
    }
    const char *argv[] = {"/proc/self/exe", "snapshot", root, NULL};
    const char *envp[] = {"LANG=C.UTF-8", NULL};
    struct exec_spec spec = {.argv = argv,
        .envp = envp,
        .cwd_fd = cwd,
        .in_fd = order[0],
        .out_fd = answer[1],
        .err_fd = log,
        .uid = SNAPSHOT_UID,
        .gid = SNAPSHOT_GID,
        .keep_caps = 1u << CAP_DAC_READ_SEARCH,
        .fsize = SANDBOX_FSIZE,
        .seccomp = no_network};
    struct exec_outcome outcome = {0};
    int rc = exec_spawn(r, &spec, &s->child, &outcome, err);
    close(order[0]);
    close(answer[1]);
    s->order_fd = order[1];
    s->answer_fd = answer[0];
    if (rc == 0 && outcome.stage != EXEC_STARTED)
        rc = arp_fail(err, ARP_E_IO, outcome.sys_errno, "start the snapshot helper: %s", outcome.step);
    if (rc) {
        snapshot_stop(s);
        return rc;
    }
    *ret = s;
    return 0;
}

void snapshot_stop(struct snapshot *s)
{
    if (!s)
        return;
    close(s->order_fd);
    close(s->answer_fd);
    if (s->child.pid > 0) {
        reaper_signal(s->reaper, &s->child, SIGKILL, false);
        reaper_wait(s->reaper, &s->child, 1000);
        reaper_forget(s->reaper, &s->child);
    }
    free(s);
}

bool snapshot_alive(const struct snapshot *s)
{
    return !s->broken && !reaper_result(s->reaper, &s->child, NULL, NULL);
}

static int give_up(struct snapshot *s, struct arp_err *err, const char *why)
{
    s->broken = true;
    reaper_signal(s->reaper, &s->child, SIGKILL, false);
    return arp_fail(err, ARP_E_IO, 0, "%s", why);
}

/* Read exactly len bytes before until_ns, calling idle in between. */
static int read_exact(struct snapshot *s, void *ret, size_t len, int64_t until_ns,
    const struct capture_idle *idle, struct arp_err *err)
{
    char *at = ret;
    while (len > 0) {
        ssize_t n = read(s->answer_fd, at, len);
        if (n > 0) {
            at += n;
            len -= (size_t)n;
            continue;
        }
        if (n == 0)
            return give_up(s, err, "the snapshot helper ended early");
        if (errno != EAGAIN && errno != EINTR)
            return give_up(s, err, "the snapshot helper can't be read");
        if (clock_mono_ns() > until_ns)
            return give_up(s, err, "the snapshot took too long");
        struct pollfd p = {.fd = s->answer_fd, .events = POLLIN};
        poll(&p, 1, idle->call(idle->ctx));
    }
    return 0;
}

/* One frame into out (appended, without its head). */
static int read_frame(struct snapshot *s, char *ret_type, struct buf *out, int64_t until_ns,
    const struct capture_idle *idle, struct arp_err *err)
{
    unsigned char head[SNAPSHOT_FRAME_HEAD];
    uint32_t len;
    int rc = read_exact(s, head, sizeof(head), until_ns, idle, err);
    if (rc)
        return rc;
    memcpy(&len, head + 1, sizeof(len));
    len = ntohl(len);
    if (len > SNAPSHOT_FRAME_MAX)
        return give_up(s, err, "the snapshot helper sent a frame over its limit");
    char *payload = malloc((size_t)len + 1);
    if (!payload)
        return arp_fail(err, ARP_E_NOMEM, 0, "frame");
    rc = read_exact(s, payload, len, until_ns, idle, err);
    if (rc == 0)
        rc = buf_append(out, payload, len) ? buf_error(out, err) : 0;
    free(payload);
    *ret_type = (char)head[0];
    return rc;
}

static int order(struct snapshot *s, char what, struct arp_err *err)
{
    if (s->broken)
        return arp_fail(err, ARP_E_IO, 0, "the snapshot helper is gone");
    /* SIGPIPE is ignored in the agent. */
    if (write(s->order_fd, &what, 1) != 1)
        return give_up(s, err, "the snapshot helper takes no orders");
    return 0;
}

static void copy_text(char *ret, size_t size, const char *text)
{
    size_t n = text ? utf8_cut(text, strlen(text), size - 1) : 0;
    if (n > 0)
        memcpy(ret, text, n);
    ret[n] = 0;
}

/* 40 hex digits or nothing. */
static bool copy_id(char ret[GIT_HEX_LEN + 1], const char *text)
{
    if (text && (strlen(text) != GIT_HEX_LEN || text[strspn(text, "0123456789abcdef")] != 0))
        return false;
    copy_text(ret, GIT_HEX_LEN + 1, text);
    return true;
}

static int parse_state(const struct buf *text, struct snapshot_state *ret, struct arp_err *err)
{
    static const struct json_field fields[] = {{"unborn", JSON_BOOL, false}, {"detached", JSON_BOOL, false},
        {"branch", JSON_STRING, false}, {"commit", JSON_STRING, false}, {"headTree", JSON_STRING, false},
        {"error", JSON_STRING, false}, {"tree", JSON_STRING, false}, {"treeError", JSON_STRING, false},
        {"files", JSON_INT, false}, {"skipped", JSON_INT, false}};
    cleanup_cjson cJSON *obj = NULL;
    int rc = json_parse(buf_str(text), text->len, &obj, err);
    if (rc == 0)
        rc = json_check_object(obj, fields, sizeof(fields) / sizeof(fields[0]), "", err);
    if (rc)
        return rc;
    *ret = (struct snapshot_state){.unborn = json_get_bool(obj, "unborn", false),
        .detached = json_get_bool(obj, "detached", false),
        .files = (uint64_t)json_get_int(obj, "files", 0),
        .skipped = (uint64_t)json_get_int(obj, "skipped", 0)};
    copy_text(ret->branch, sizeof(ret->branch), json_get_str(obj, "branch"));
    copy_text(ret->error, sizeof(ret->error), json_get_str(obj, "error"));
    copy_text(ret->tree_error, sizeof(ret->tree_error), json_get_str(obj, "treeError"));
    if (!copy_id(ret->commit, json_get_str(obj, "commit")) ||
        !copy_id(ret->head_tree, json_get_str(obj, "headTree")) ||
        !copy_id(ret->tree, json_get_str(obj, "tree")))
        return arp_fail(err, ARP_E_CORRUPT, 0, "an object id is malformed");
    ret->has_dirty = ret->tree[0] && ret->head_tree[0];
    ret->dirty = ret->has_dirty && strcmp(ret->tree, ret->head_tree) != 0;
    return 0;
}

void snapshot_take(struct snapshot *s, const struct capture_idle *idle, struct snapshot_state *ret)
{
    struct arp_err err = {0};
    cleanup_buf struct buf text;
    char type = 0;
    buf_init(&text, SNAPSHOT_FRAME_MAX);
    int rc = order(s, 'S', &err);
    if (rc == 0)
        rc = read_frame(s, &type, &text, clock_mono_ns() + SNAPSHOT_TIMEOUT_MS * 1000000ll, idle, &err);
    if (rc == 0 && type != 'S')
        rc = give_up(s, &err, "the snapshot helper answered something else");
    if (rc == 0)
        rc = parse_state(&text, ret, &err);
    if (rc == 0)
        return;
    *ret = (struct snapshot_state){0};
    copy_text(ret->error, sizeof(ret->error), err.msg);
    copy_text(ret->tree_error, sizeof(ret->tree_error), err.msg);
}

static int parse_end(const struct buf *text, struct snapshot_diff *ret, struct arp_err *err)
{
    static const struct json_field fields[] = {{"filesChanged", JSON_INT, true},
        {"insertions", JSON_INT, true}, {"deletions", JSON_INT, true}, {"truncated", JSON_BOOL, true},
        {"error", JSON_STRING, false}};
    cleanup_cjson cJSON *obj = NULL;
    int rc = json_parse(buf_str(text), text->len, &obj, err);
    if (rc == 0)
        rc = json_check_object(obj, fields, sizeof(fields) / sizeof(fields[0]), "", err);
    int64_t counts[3];
    for (size_t i = 0; rc == 0 && i < 3; i++) {
        counts[i] = json_get_int(obj, fields[i].name, -1);
        if (counts[i] < 0)
            rc = arp_fail(err, ARP_E_CORRUPT, 0, "%s is negative", fields[i].name);
    }
    if (rc)
        return rc;
    ret->files_changed = (uint64_t)counts[0];
    ret->insertions = (uint64_t)counts[1];
    ret->deletions = (uint64_t)counts[2];
    ret->truncated = json_get_bool(obj, "truncated", false);
    copy_text(ret->error, sizeof(ret->error), json_get_str(obj, "error"));
    return 0;
}

/* Frames of the patch into fd until the closing one. */
static int copy_patch(struct snapshot *s, int fd, struct sha256 *hash, const struct capture_idle *idle,
    struct snapshot_diff *ret, struct arp_err *err)
{
    int64_t until_ns = clock_mono_ns() + SNAPSHOT_TIMEOUT_MS * 1000000ll;
    cleanup_buf struct buf frame;
    buf_init(&frame, SNAPSHOT_FRAME_MAX);
    for (;;) {
        char type = 0;
        buf_reset(&frame);
        int rc = read_frame(s, &type, &frame, until_ns, idle, err);
        if (rc == 0 && type == 'E')
            return parse_end(&frame, ret, err);
        if (rc == 0 && (type != 'P' || ret->bytes + frame.len > LIMIT_DIFF))
            rc = give_up(s, err, "the snapshot helper sent more than agreed");
        if (rc == 0)
            rc = fd_write_all(fd, buf_str(&frame), frame.len, err);
        if (rc)
            return rc;
        sha256_update(hash, buf_str(&frame), frame.len);
        ret->bytes += frame.len;
    }
}

int snapshot_diff(struct snapshot *s, const struct evdir *dir, const struct capture_idle *idle,
    struct snapshot_diff *ret, struct arp_err *err)
{
    *ret = (struct snapshot_diff){0};
    cleanup_sha256 struct sha256 *hash = sha256_new();
    if (!hash)
        return arp_fail(err, ARP_E_NOMEM, 0, "diff");
    cleanup_fd int fd = evdir_create_file(dir, "diff.patch", err);
    if (fd < 0)
        return fd;
    struct arp_err why = {0};
    int rc = order(s, 'D', &why);
    if (rc == 0)
        rc = copy_patch(s, fd, hash, idle, ret, &why);
    if (rc)
        copy_text(ret->error, sizeof(ret->error), why.msg);
    if (ret->error[0]) {
        ret->files_changed = ret->insertions = ret->deletions = 0;
        ret->truncated = ret->bytes > 0;
    }
    /* The patch that is in the file is what is named, also when it is only a part. */
    sha256_hex(hash, ret->sha256);
    return 0;
}
