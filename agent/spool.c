/*
 * Spool: see spool.h.
 */
#include "agent/spool.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "agent/blob.h"
#include "shared/clock.h"

/* The thread hashes and writes: neither needs depth. */
#define STACK_BYTES (128u << 10)
#define NONE        (-1)
#define MEMORY      ((size_t)SPOOL_BUFFERS * SPOOL_BUFFER)
/* Of a stream's pipe once it outgrows its head: the writer waits less often. Most commands never need it. */
#define PIPE_BYTES (1 << 20)

struct buffer {
    size_t len;
    int which;
};

/* Buffers on their way, one writer and one reader; count is posted after a put and waited for before a get. */
struct queue {
    sem_t count;
    int at[SPOOL_BUFFERS + 1]; /* all buffers and NONE, which ends the thread */
    unsigned put, got;
};

struct lane {
    struct capture_stream *stream;
    struct blob blob;
    int open;       /* buffer being filled, NONE */
    bool head_done; /* the blob has the head's bytes */
    bool is_large;  /* its pipe was made larger, or that was refused */
};

struct spool {
    struct lane lanes[2];
    char *memory; /* of all buffers; NULL until a stream outgrows its head */
    struct buffer buffers[SPOOL_BUFFERS];
    struct queue full, empty;
    pthread_t thread;
    bool running;
    bool finished;
    spool_tap_fn *tap; /* NULL: nobody watches */
    void *tap_ctx;
    int rc; /* first error of a blob, in err; the thread's while it runs */
    struct arp_err err;
};

static void queue_put(struct queue *q, int buffer)
{
    q->at[q->put++ % (SPOOL_BUFFERS + 1)] = buffer;
    sem_post(&q->count);
}

static int queue_get(struct queue *q)
{
    return q->at[q->got++ % (SPOOL_BUFFERS + 1)];
}

int spool_new(
    struct evdir *dir, struct capture_stream *const streams[2], struct spool **ret, struct arp_err *err)
{
    struct spool *s = calloc(1, sizeof(*s));
    if (!s)
        return arp_fail(err, ARP_E_NOMEM, 0, "spool");
    sem_init(&s->full.count, 0, 0);
    sem_init(&s->empty.count, 0, 0);
    int rc = 0;
    for (int i = 0; i < 2 && rc == 0; i++) {
        s->lanes[i] = (struct lane){.stream = streams[i], .open = NONE};
        rc = blob_init(&s->lanes[i].blob, dir, err);
    }
    if (rc) {
        s->finished = true;
        spool_free(s);
        return rc;
    }
    *ret = s;
    return 0;
}

void spool_tap(struct spool *s, spool_tap_fn *tap, void *ctx)
{
    s->tap = tap;
    s->tap_ctx = ctx;
}

static void take(struct spool *s, struct lane *l, const char *data, size_t len)
{
    int rc = blob_append(&l->blob, data, len, s->rc ? NULL : &s->err);
    if (rc && !s->rc)
        s->rc = rc;
}

/* Hash and keep one full buffer. */
static void work_off(struct spool *s, int buffer)
{
    const struct buffer *b = &s->buffers[buffer];
    struct lane *l = &s->lanes[b->which];
    if (!l->head_done)
        take(s, l, l->stream->head, l->stream->head_len);
    l->head_done = true;
    take(s, l, s->memory + (size_t)buffer * SPOOL_BUFFER, b->len);
}

static void *thread_main(void *arg)
{
    struct spool *s = arg;
    for (;;) {
        while (sem_wait(&s->full.count) < 0)
            ; /* EINTR */
        int buffer = queue_get(&s->full);
        if (buffer == NONE)
            return NULL;
        work_off(s, buffer);
        queue_put(&s->empty, buffer);
    }
}

/* Without a thread yet, each lane has the buffer of its own number; the others are free once there is one. */
static void start_thread(struct spool *s)
{
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, STACK_BYTES);
    s->running = pthread_create(&s->thread, &attr, thread_main, s) == 0;
    pthread_attr_destroy(&attr);
    for (int i = 2; s->running && i < SPOOL_BUFFERS; i++)
        queue_put(&s->empty, i);
    /* A lane that has not begun must not take the number of a buffer that goes round from now on. */
    for (int i = 0; s->running && i < 2; i++) {
        if (s->lanes[i].open == NONE)
            queue_put(&s->empty, i);
    }
}

static void hand_over(struct spool *s, struct lane *l)
{
    if (!s->running)
        start_thread(s);
    if (s->running) {
        queue_put(&s->full, l->open);
        l->open = NONE;
    } else {
        work_off(s, l->open);
        s->buffers[l->open].len = 0;
    }
}

static bool wait_empty(struct spool *s, int wait_ms)
{
    if (sem_trywait(&s->empty.count) == 0)
        return true;
    int64_t until = clock_mono_ns() + wait_ms * 1000000ll;
    struct timespec at = {.tv_sec = until / 1000000000, .tv_nsec = until % 1000000000};
    int rc;
    do
        rc = sem_clockwait(&s->empty.count, CLOCK_MONOTONIC, &at);
    while (rc < 0 && errno == EINTR);
    return rc == 0;
}

/* Give lane which a buffer to fill. */
static enum spool_read open_buffer(struct spool *s, int which, int wait_ms)
{
    if (!s->memory) {
        /* cppcheck 2.10 does not know that an anonymous mapping has no descriptor. */
        // cppcheck-suppress invalidFunctionArg
        s->memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (s->memory == MAP_FAILED) {
            s->memory = NULL;
            return SPOOL_ERROR;
        }
    }
    if (s->running && !wait_empty(s, wait_ms))
        return SPOOL_BUSY;
    struct lane *l = &s->lanes[which];
    l->open = s->running ? queue_get(&s->empty) : which;
    s->buffers[l->open] = (struct buffer){.which = which};
    return SPOOL_MORE;
}

/* Where the next bytes of stream which go: *ret_room of them, more than 0. */
static enum spool_read next_room(struct spool *s, int which, int wait_ms, char **ret, size_t *ret_room)
{
    struct lane *l = &s->lanes[which];
    struct capture_stream *stream = l->stream;
    *ret = stream->head + stream->head_len;
    *ret_room = sizeof(stream->head) - stream->head_len;
    if (*ret_room > 0)
        return SPOOL_MORE;
    enum spool_read got = l->open == NONE ? open_buffer(s, which, wait_ms) : SPOOL_MORE;
    if (got != SPOOL_MORE)
        return got;
    size_t len = s->buffers[l->open].len;
    *ret = s->memory + (size_t)l->open * SPOOL_BUFFER + len;
    *ret_room = SPOOL_BUFFER - len;
    return SPOOL_MORE;
}

/* n bytes stand there now. */
static void took(struct spool *s, struct lane *l, size_t n)
{
    if (l->open == NONE) {
        l->stream->head_len += n;
        return;
    }
    s->buffers[l->open].len += n;
    if (s->buffers[l->open].len == SPOOL_BUFFER)
        hand_over(s, l);
}

enum spool_read spool_read(struct spool *s, int which, int fd, int wait_ms)
{
    struct lane *l = &s->lanes[which];
    char *into;
    size_t room;
    /* Refused when the user's pipes hold too many pages in all containers: the default of 64 KiB serves too. */
    if (!l->is_large && l->stream->head_len == sizeof(l->stream->head)) {
        (void)fcntl(fd, F_SETPIPE_SZ, PIPE_BYTES);
        l->is_large = true;
    }
    enum spool_read got = next_room(s, which, wait_ms, &into, &room);
    if (got != SPOOL_MORE)
        return got;
    ssize_t n = read(fd, into, room);
    if (n <= 0)
        return n < 0 && (errno == EAGAIN || errno == EINTR) ? SPOOL_EMPTY : SPOOL_END;
    if (s->tap) /* before another thread may have the buffer */
        s->tap(s->tap_ctx, which, into, (size_t)n);
    took(s, l, (size_t)n);
    return SPOOL_MORE;
}

enum spool_read spool_write(
    struct spool *s, int which, const char *data, size_t len, int wait_ms, size_t *ret_taken)
{
    enum spool_read got = SPOOL_MORE;
    *ret_taken = 0;
    while (*ret_taken < len) {
        char *into;
        size_t room;
        got = next_room(s, which, wait_ms, &into, &room);
        if (got != SPOOL_MORE)
            return got;
        if (room > len - *ret_taken)
            room = len - *ret_taken;
        memcpy(into, data + *ret_taken, room);
        took(s, &s->lanes[which], room);
        *ret_taken += room;
    }
    return got;
}

static int finish_lane(struct spool *s, struct lane *l, struct arp_err *err)
{
    struct capture_stream *c = l->stream;
    struct iovec rest[2];
    int n = 0;
    if (!l->head_done && c->head_len > 0)
        rest[n++] = (struct iovec){.iov_base = c->head, .iov_len = c->head_len};
    if (l->open != NONE && s->buffers[l->open].len > 0)
        rest[n++] = (struct iovec){
            .iov_base = s->memory + (size_t)l->open * SPOOL_BUFFER, .iov_len = s->buffers[l->open].len};
    int rc = blob_finish(&l->blob, rest, n, c->sha256, c->blob_sha256, &c->has_blob, err);
    c->bytes = l->blob.bytes;
    c->blob_bytes = l->blob.kept;
    return rc;
}

int spool_finish(struct spool *s, struct arp_err *err)
{
    s->finished = true;
    if (s->running) {
        queue_put(&s->full, NONE);
        pthread_join(s->thread, NULL);
    }
    for (int i = 0; i < 2; i++) {
        int rc = finish_lane(s, &s->lanes[i], s->rc ? NULL : &s->err);
        if (rc && !s->rc)
            s->rc = rc;
    }
    if (s->rc && err)
        *err = s->err;
    return s->rc;
}

void spool_free(struct spool *s)
{
    if (!s)
        return;
    if (!s->finished)
        spool_finish(s, NULL);
    for (int i = 0; i < 2; i++)
        blob_done(&s->lanes[i].blob);
    if (s->memory)
        munmap(s->memory, MEMORY);
    sem_destroy(&s->full.count);
    sem_destroy(&s->empty.count);
    free(s);
}
