/*
 * The agent's API where a client of curl's manners can't show it: connections that break off.
 */
#include "agent/serve.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include "agent/relay.h"
#include "tests/support/relay_sleeper.h"
#include "tests/support/suite.h"

#define RUN_ID "3f2b5c1e-0d4a-4b6f-9c8d-7e6f5a4b3c2d"

static struct relay *relay;
static struct server *server;
static char bearer[RELAY_BEARER_LEN + 1];

static bool refuse_nobody(const struct sockaddr *addr, socklen_t len)
{
    (void)addr;
    (void)len;
    return false;
}

static int set_up(void)
{
    struct arp_err err;
    const struct serve_config config = {.token = "token", .refuse_peer = refuse_nobody};
    struct serve_config with_relay = config;
    if (relay_start(&relay, &err) != 0)
        return 1;
    with_relay.relay = relay;
    return serve_start(&with_relay, &server, &err);
}

static int tear_down(void)
{
    serve_stop(server);
    relay_stop(relay);
    return 0;
}

/* A connection to a port of this host that gives up waiting after 10 s. */
static int connect_to(uint16_t port)
{
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const struct timeval patience = {.tv_sec = 10};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ASSERT_TRUE(fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) == 0);
    ASSERT_INT(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
    return fd;
}

static void send_text(int fd, const char *text)
{
    ASSERT_INT(write(fd, text, strlen(text)), strlen(text));
}

/* The end of the connection comes together with the last bytes: it must be seen all the same. */
static void an_upload_that_breaks_off_at_once_cuts_the_client(void)
{
    struct arp_err err;
    char text[512], got[4096];
    ssize_t n;
    size_t len = 0;
    relay_open(relay, RUN_ID, bearer);
    ASSERT_INT(relay_reader_attach(relay, RUN_ID, sleeper, &err), 0);
    int client = connect_to(relay_port(relay));
    snprintf(text, sizeof(text),
        "POST /v1/responses HTTP/1.1\r\nHost: relay\r\nAuthorization: Bearer %s\r\nContent-Length: "
        "2\r\n\r\n{}",
        bearer);
    send_text(client, text);
    ASSERT_TRUE(sleeper_take(relay, got, sizeof(got)) > 0);
    int upload = connect_to(serve_port(server));
    send_text(upload,
        "POST /run/" RUN_ID
        "/model/0 HTTP/1.1\r\nHost: agent\r\nAuthorization: Bearer token\r\nX-Arp-Status: 200\r\n"
        "X-Arp-Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
    close(upload);
    while ((n = read(client, got + len, sizeof(got) - 1 - len)) > 0)
        len += (size_t)n;
    got[len] = '\0';
    ASSERT_INT(n, 0); /* not the 10 s */
    CU_ASSERT_PTR_NULL(strstr(got, "\r\n0\r\n\r\n"));
    close(client);
    relay_close(relay);
    relay_reader_detach(relay);
    relay_items_free(relay_take(relay));
}

TEST_SUITE_WITH(serve_test, set_up, tear_down, TEST(an_upload_that_breaks_off_at_once_cuts_the_client))
