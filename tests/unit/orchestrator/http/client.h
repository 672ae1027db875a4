/*
 * A raw HTTP/1.1 client for tests: what curl would refuse to send is what a server must survive.
 * Blocking sockets with a receive timeout; header-only, so every test program has its own copy.
 */
#ifndef ARP_TESTS_HTTP_CLIENT_H
#define ARP_TESTS_HTTP_CLIENT_H

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define CLIENT_TIMEOUT_S 10

struct response {
    int status; /* 0: no (whole) answer came */
    char head[4096];
    char *body; /* owned, NUL-terminated */
    size_t body_len;
};

__attribute__((unused)) static int client_dial(uint16_t port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in a = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct timeval limit = {CLIENT_TIMEOUT_S, 0};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
    if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0) {
        perror("dial");
        abort();
    }
    return fd;
}

/* False when the server closed. */
__attribute__((unused)) static bool client_send(int fd, const void *data, size_t len)
{
    for (size_t done = 0; done < len;) {
        ssize_t n = send(fd, (const char *)data + done, len - done, MSG_NOSIGNAL);
        if (n <= 0)
            return false;
        done += (size_t)n;
    }
    return true;
}

__attribute__((unused)) static bool client_send_str(int fd, const char *s)
{
    return client_send(fd, s, strlen(s));
}

/* Value of a header in head, copied to ret; false when absent. */
__attribute__((unused)) static bool response_header(
    const struct response *r, const char *name, char *ret, size_t size)
{
    size_t len = strlen(name);
    for (const char *line = strstr(r->head, "\r\n"); line; line = strstr(line + 2, "\r\n")) {
        if (strncasecmp(line + 2, name, len) != 0 || line[2 + len] != ':')
            continue;
        const char *value = line + 2 + len + 1 + strspn(line + 2 + len + 1, " ");
        snprintf(ret, size, "%.*s", (int)strcspn(value, "\r"), value);
        return true;
    }
    ret[0] = '\0';
    return false;
}

static bool read_byte(int fd, char *ret)
{
    return recv(fd, ret, 1, 0) == 1;
}

static bool read_head(int fd, struct response *r)
{
    size_t n = 0;
    while (n + 1 < sizeof(r->head) && read_byte(fd, &r->head[n])) {
        n++;
        if (n >= 4 && memcmp(r->head + n - 4, "\r\n\r\n", 4) == 0) {
            r->head[n] = '\0';
            return sscanf(r->head, "HTTP/1.%*d %d", &r->status) == 1;
        }
    }
    r->status = 0;
    return false;
}

static bool read_exact(int fd, struct response *r, size_t len)
{
    r->body = realloc(r->body, r->body_len + len + 1);
    for (size_t end = r->body_len + len; r->body_len < end;) {
        ssize_t n = recv(fd, r->body + r->body_len, end - r->body_len, 0);
        if (n <= 0)
            return false;
        r->body_len += (size_t)n;
    }
    r->body[r->body_len] = '\0';
    return true;
}

static bool read_line(int fd, char *ret, size_t size)
{
    size_t n = 0;
    while (n + 1 < size && read_byte(fd, &ret[n])) {
        if (ret[n++] == '\n') {
            ret[n] = '\0';
            return true;
        }
    }
    return false;
}

static bool read_chunks(int fd, struct response *r)
{
    char line[64];
    for (;;) {
        if (!read_line(fd, line, sizeof(line)))
            return false;
        size_t len = strtoul(line, NULL, 16);
        if (len > 0 && !read_exact(fd, r, len))
            return false;
        if (!read_line(fd, line, sizeof(line)))
            return false;
        if (len == 0)
            return true;
    }
}

/* Read one answer; is_head: to a HEAD request. r->status is 0 when the connection ended first. */
__attribute__((unused)) static void client_read(int fd, struct response *r, bool is_head)
{
    memset(r, 0, sizeof(*r));
    r->body = calloc(1, 1);
    char value[64];
    if (!read_head(fd, r) || is_head || r->status == 204 || r->status == 304)
        return;
    if (r->status == 100) {
        free(r->body);
        client_read(fd, r, is_head);
        return;
    }
    bool whole = true;
    if (response_header(r, "Transfer-Encoding", value, sizeof(value)))
        whole = read_chunks(fd, r);
    else if (response_header(r, "Content-Length", value, sizeof(value)))
        whole = read_exact(fd, r, strtoul(value, NULL, 10));
    if (!whole)
        r->status = 0;
}

__attribute__((unused)) static void response_done(struct response *r)
{
    free(r->body);
    r->body = NULL;
}

/* One request on a connection of its own. */
__attribute__((unused)) static void client_request(uint16_t port, const char *request, struct response *r)
{
    int fd = client_dial(port);
    client_send_str(fd, request);
    client_read(fd, r, strncmp(request, "HEAD ", 5) == 0);
    close(fd);
}

/* True when the server closes fd within the timeout. */
__attribute__((unused)) static bool client_sees_close(int fd)
{
    char c;
    ssize_t n;
    while ((n = recv(fd, &c, 1, 0)) > 0)
        ;
    return n == 0 || (n < 0 && errno == ECONNRESET);
}

#endif
