/*
 * Fakes for unit tests: a container engine on a Unix socket and a workspace agent on a loopback port, both a libmicrohttpd server that
 * answers from a table. The engine's table is a script: calls must come in its order. The agent's is a map: any order, any number of times.
 * Header-only: its names are the test program's own. One fake per test at a time.
 */
#ifndef ARP_TESTS_FAKE_SERVER_H
#define ARP_TESTS_FAKE_SERVER_H

#include <arpa/inet.h>
#include <microhttpd.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "shared/buf.h"

#define FAKE_TOKEN "fake-token" /* of an agent, unless the test sets another */

enum fake_mode {
    FAKE_WHOLE,   /* status and body */
    FAKE_CUT,     /* body, then the connection breaks inside the chunked answer */
    FAKE_ENDLESS, /* body again and again */
    FAKE_SILENT,  /* body, then nothing more but the connection stays open */
};

struct fake_answer {
    const char *method;
    const char *uri; /* with query */
    int status;
    const char *body;
    size_t len; /* of body; 0: it is a string */
    enum fake_mode mode;
    const char *expect; /* text the request's body must hold; NULL: not looked at */
};

struct fake {
    struct MHD_Daemon *daemon;
    const struct fake_answer *answers;
    size_t n;
    bool script;          /* engine: in order; a test may clear it */
    size_t next;          /* calls answered so far */
    char bearer[128];     /* agent: what Authorization must be; "" of an engine */
    char wrong[256];      /* the first call that was not expected; "" when none */
    char address[64];     /* agent: "127.0.0.1:port" */
    char socket_dir[64];  /* engine */
    char socket_path[96]; /* engine */
    pthread_mutex_t lock;
};

struct fake_request {
    char *uri;
    bool begun;
    struct buf body;
};

static void *fake_on_uri(void *cls, const char *uri, struct MHD_Connection *connection)
{
    (void)cls, (void)connection;
    struct fake_request *r = calloc(1, sizeof(*r));
    r->uri = strdup(uri);
    buf_init(&r->body, 4u << 20);
    return r;
}

static void fake_on_done(
    void *cls, struct MHD_Connection *c, void **req, enum MHD_RequestTerminationCode code)
{
    (void)cls, (void)c, (void)code;
    struct fake_request *r = *req;
    if (!r)
        return;
    free(r->uri);
    buf_done(&r->body);
    free(r);
    *req = NULL;
}

static ssize_t fake_read(void *cls, uint64_t pos, char *out, size_t max)
{
    const struct fake_answer *a = cls;
    size_t len = a->len ? a->len : strlen(a->body);
    if (pos >= len && a->mode == FAKE_CUT)
        return MHD_CONTENT_READER_END_WITH_ERROR;
    if (pos >= len && a->mode == FAKE_SILENT) {
        usleep(20000);
        return 0;
    }
    size_t n = 0;
    do {
        size_t at = (size_t)((pos + n) % len);
        size_t part = len - at < max - n ? len - at : max - n;
        memcpy(out + n, a->body + at, part);
        n += part;
    } while (a->mode == FAKE_ENDLESS && n < max);
    return (ssize_t)n;
}

static const struct fake_answer *fake_find(struct fake *f, const char *method, const struct fake_request *r)
{
    static const struct fake_answer unexpected = {
        .status = 500, .body = "{\"message\":\"call not in the fake's table\"}"};
    const struct fake_answer *found = NULL;
    pthread_mutex_lock(&f->lock);
    for (size_t i = f->script ? f->next : 0; i < f->n && !found; i++) {
        const struct fake_answer *a = &f->answers[i];
        if (strcmp(a->method, method) == 0 && strcmp(a->uri, r->uri) == 0)
            found = a;
        if (f->script)
            break;
    }
    if (found && found->expect && !strstr(buf_str(&r->body), found->expect))
        found = NULL;
    if (!found && !f->wrong[0])
        snprintf(f->wrong, sizeof(f->wrong), "%s %s %s", method, r->uri, buf_str(&r->body));
    f->next++;
    pthread_mutex_unlock(&f->lock);
    return found ? found : &unexpected;
}

static enum MHD_Result fake_on_request(void *cls, struct MHD_Connection *connection, const char *url,
    const char *method, const char *version, const char *data, size_t *size, void **req)
{
    struct fake *f = cls;
    struct fake_request *r = *req;
    static const struct fake_answer refused = {
        .status = 401, .body = "{\"error\":{\"message\":\"bad token\"}}"};
    (void)url, (void)version;
    if (!r->begun) { /* the first call only announces the request */
        r->begun = true;
        return MHD_YES;
    }
    if (*size > 0) {
        buf_append(&r->body, data, *size);
        *size = 0;
        return MHD_YES;
    }
    const char *auth = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Authorization");
    bool allowed = f->script || !f->bearer[0] || (auth && strcmp(auth, f->bearer) == 0);
    const struct fake_answer *a = allowed ? fake_find(f, method, r) : &refused;
    struct MHD_Response *response =
        a->mode == FAKE_WHOLE
            ? MHD_create_response_from_buffer(
                  a->len ? a->len : strlen(a->body), (void *)a->body, MHD_RESPMEM_PERSISTENT)
            : MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 65536, fake_read, (void *)a, NULL);
    enum MHD_Result rc = MHD_queue_response(connection, (unsigned)a->status, response);
    MHD_destroy_response(response);
    return rc;
}

static void fake_start(struct fake *f, int fd, const struct fake_answer *answers, size_t n, bool script)
{
    f->answers = answers;
    f->n = n;
    f->script = script;
    pthread_mutex_init(&f->lock, NULL);
    f->daemon =
        MHD_start_daemon(MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_THREAD_PER_CONNECTION | MHD_USE_POLL, 0,
            NULL, NULL, fake_on_request, f, MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_URI_LOG_CALLBACK,
            fake_on_uri, NULL, MHD_OPTION_NOTIFY_COMPLETED, fake_on_done, NULL, MHD_OPTION_END);
    if (!f->daemon)
        abort();
}

/* A fake engine that expects answers[0..n) in this order. */
static inline void fake_engine_start(struct fake *f, const struct fake_answer *answers, size_t n)
{
    memset(f, 0, sizeof(*f));
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    strcpy(f->socket_dir, "/tmp/arp-fake-XXXXXX");
    if (!mkdtemp(f->socket_dir))
        abort();
    snprintf(f->socket_path, sizeof(f->socket_path), "%s/engine.sock", f->socket_dir);
    snprintf(a.sun_path, sizeof(a.sun_path), "%s", f->socket_path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)) != 0 || listen(fd, 16) != 0)
        abort();
    fake_start(f, fd, answers, n, true);
}

/* A fake agent that answers from answers[0..n); ip: a loopback address, port 0: any. */
static inline void fake_agent_start(struct fake *f, const char *ip, unsigned port, const char *token,
    const struct fake_answer *answers, size_t n)
{
    memset(f, 0, sizeof(*f));
    struct sockaddr_in a = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = inet_addr(ip)};
    socklen_t len = sizeof(a);
    int on = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 ||
        bind(fd, (struct sockaddr *)&a, sizeof(a)) != 0 || listen(fd, 64) != 0 ||
        getsockname(fd, (struct sockaddr *)&a, &len) != 0)
        abort();
    snprintf(f->address, sizeof(f->address), "%s:%u", ip, (unsigned)ntohs(a.sin_port));
    snprintf(f->bearer, sizeof(f->bearer), "Bearer %s", token);
    fake_start(f, fd, answers, n, false);
}

static inline void fake_stop(struct fake *f)
{
    MHD_stop_daemon(f->daemon);
    if (f->socket_path[0]) {
        unlink(f->socket_path);
        rmdir(f->socket_dir);
    }
    pthread_mutex_destroy(&f->lock);
}

#endif
