/*
 * A fake agent: see fake_agent.h.
 */
#include "tests/support/fake_agent.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

struct request {
    struct fake_agent *agent;
    struct fake_upload *upload; /* NULL: the stream */
    bool whole;
};

static ssize_t read_frames(void *cls, uint64_t pos, char *out, size_t max)
{
    struct fake_agent *a = cls;
    pthread_mutex_lock(&a->lock);
    while (a->frames.len <= pos && !a->stopping && !a->ended)
        pthread_cond_wait(&a->changed, &a->lock);
    size_t left = a->frames.len > pos ? a->frames.len - (size_t)pos : 0;
    size_t n = left < max ? left : max;
    if (n > 0)
        memcpy(out, a->frames.data + pos, n);
    pthread_mutex_unlock(&a->lock);
    return n > 0 ? (ssize_t)n : MHD_CONTENT_READER_END_OF_STREAM;
}

enum MHD_Result fake_agent_answer(struct MHD_Connection *c, unsigned status, struct MHD_Response *r)
{
    enum MHD_Result rc = MHD_queue_response(c, status, r);
    MHD_destroy_response(r);
    return rc;
}

const char *fake_agent_header(struct MHD_Connection *c, const char *name)
{
    const char *v = MHD_lookup_connection_value(c, MHD_HEADER_KIND, name);
    return v ? v : "";
}

static enum MHD_Result begin(
    struct fake_agent *a, struct MHD_Connection *c, const char *url, const char *method, void **req)
{
    static const char stream[] = "/run/" AGENT_RUN "/model";
    struct request *r = calloc(1, sizeof(*r));
    r->agent = a;
    *req = r;
    bool allowed = strcmp(fake_agent_header(c, "Authorization"), "Bearer " AGENT_TOKEN) == 0;
    if (!allowed || strncmp(url, stream, sizeof(stream) - 1) != 0)
        abort();
    if (strcmp(method, "GET") == 0)
        return MHD_YES;
    unsigned long n = strtoul(url + sizeof(stream), NULL, 10);
    if (n >= AGENT_CALLS)
        abort();
    pthread_mutex_lock(&a->lock);
    r->upload = &a->uploads[n];
    r->upload->begun = true;
    r->upload->first_ns = clock_mono_ns();
    r->upload->status = (int)strtol(fake_agent_header(c, "X-Arp-Status"), NULL, 10);
    snprintf(r->upload->type, sizeof(r->upload->type), "%s", fake_agent_header(c, "X-Arp-Content-Type"));
    snprintf(
        r->upload->retry_after, sizeof(r->upload->retry_after), "%s", fake_agent_header(c, "Retry-After"));
    pthread_cond_broadcast(&a->changed);
    pthread_mutex_unlock(&a->lock);
    return MHD_YES;
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *c, const char *url, const char *method,
    const char *version, const char *data, size_t *size, void **req)
{
    struct fake_agent *a = cls;
    struct request *r = *req;
    (void)version;
    if (!r)
        return begin(a, c, url, method, req);
    pthread_mutex_lock(&a->lock);
    bool open = a->open && !a->ended;
    a->refused += !open;
    pthread_cond_broadcast(&a->changed);
    if (r->upload && *size > 0) {
        while (r->upload->hold && !a->stopping)
            pthread_cond_wait(&a->changed, &a->lock);
        bool leave = r->upload->leave;
        buf_append(&r->upload->body, data, *size);
        pthread_cond_broadcast(&a->changed);
        pthread_mutex_unlock(&a->lock);
        *size = 0;
        return leave ? MHD_NO : MHD_YES;
    }
    r->whole = r->upload != NULL;
    pthread_mutex_unlock(&a->lock);
    if (r->upload)
        return fake_agent_answer(c, 204, MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT));
    if (!open)
        return fake_agent_answer(c, 404, MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT));
    return fake_agent_answer(
        c, 200, MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 65536, read_frames, a, NULL));
}

static void on_done(void *cls, struct MHD_Connection *c, void **req, enum MHD_RequestTerminationCode code)
{
    struct request *r = *req;
    (void)cls, (void)c, (void)code;
    if (!r)
        return;
    pthread_mutex_lock(&r->agent->lock);
    if (r->upload) {
        r->upload->whole = r->whole;
        r->upload->cut = !r->whole;
    }
    pthread_cond_broadcast(&r->agent->changed);
    pthread_mutex_unlock(&r->agent->lock);
    free(r);
    *req = NULL;
}

int fake_bind(char ret_address[64])
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(a);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)) != 0 ||
        getsockname(fd, (struct sockaddr *)&a, &len) != 0)
        abort();
    snprintf(ret_address, 64, "127.0.0.1:%u", (unsigned)ntohs(a.sin_port));
    return fd;
}

int fake_listen(char ret_address[64])
{
    int fd = fake_bind(ret_address);
    if (listen(fd, 512) != 0)
        abort();
    return fd;
}

struct fake_agent *fake_agent_start(void)
{
    struct fake_agent *a = calloc(1, sizeof(*a));
    pthread_mutex_init(&a->lock, NULL);
    clock_cond_init(&a->changed);
    buf_init(&a->frames, 64u << 20);
    for (int i = 0; i < AGENT_CALLS; i++)
        buf_init(&a->uploads[i].body, 1u << 30);
    a->open = true;
    a->daemon =
        MHD_start_daemon(MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_THREAD_PER_CONNECTION | MHD_USE_POLL, 0,
            NULL, NULL, on_request, a, MHD_OPTION_LISTEN_SOCKET, fake_listen(a->address),
            MHD_OPTION_CONNECTION_LIMIT, 600u, MHD_OPTION_NOTIFY_COMPLETED, on_done, NULL,
            MHD_OPTION_THREAD_STACK_SIZE, (size_t)131072, MHD_OPTION_END);
    if (!a->daemon)
        abort();
    return a;
}

void fake_agent_stop(struct fake_agent *a)
{
    pthread_mutex_lock(&a->lock);
    a->stopping = true;
    pthread_cond_broadcast(&a->changed);
    pthread_mutex_unlock(&a->lock);
    MHD_stop_daemon(a->daemon);
    for (int i = 0; i < AGENT_CALLS; i++)
        buf_done(&a->uploads[i].body);
    buf_done(&a->frames);
    pthread_mutex_destroy(&a->lock);
    pthread_cond_destroy(&a->changed);
    free(a);
}

void fake_agent_send(struct fake_agent *a, const char *bytes, size_t len)
{
    pthread_mutex_lock(&a->lock);
    buf_append(&a->frames, bytes, len);
    pthread_cond_broadcast(&a->changed);
    pthread_mutex_unlock(&a->lock);
}

uint64_t fake_agent_call(
    struct fake_agent *a, const char *method, const char *path, const char *headers, const char *body)
{
    struct buf frame;
    buf_init(&frame, 64u << 20);
    uint64_t n = a->next_call++;
    buf_printf(&frame,
        "{\"call\":%llu,\"method\":\"%s\",\"path\":\"%s\",\"query\":\"\",\"headers\":{%s},\"bodyBytes\":%zu}"
        "\n",
        (unsigned long long)n, method, path, headers, strlen(body));
    buf_append_str(&frame, body);
    fake_agent_send(a, frame.data, frame.len);
    buf_done(&frame);
    return n;
}

void fake_agent_gone(struct fake_agent *a, uint64_t call)
{
    char frame[96];
    int n = snprintf(
        frame, sizeof(frame), "{\"call\":%llu,\"gone\":true,\"bodyBytes\":0}\n", (unsigned long long)call);
    fake_agent_send(a, frame, (size_t)n);
}
