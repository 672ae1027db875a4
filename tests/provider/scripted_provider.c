/*
 * arp-scripted-provider: stands in for a model provider, which can't be had in tests (no key, no network, no two answers alike). Speaks the
 * four dialects of the gateway on 127.0.0.1, a port of the kernel's choice, and answers as a scenario file says (scenario.h), faults included;
 * a request that the scenario has no step for gets a 500 that says so. Every request is recorded (exchange.h).
 * usage: arp-scripted-provider SCENARIO.json LOGDIR      prints "port N" and serves until its stdin ends
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/provider/exchange.h"

struct provider {
    struct scenario *scenario;
    const char *log_dir;
};

static enum MHD_Result on_request(void *cls, struct MHD_Connection *conn, const char *path,
    const char *method, const char *version, const char *bytes, size_t *len, void **state)
{
    const struct provider *p = cls;
    (void)version;
    if (!*state) {
        *state = exchange_new(conn, method, path);
        return *state ? MHD_YES : MHD_NO;
    }
    if (*len > 0) {
        bool taken = exchange_take(*state, bytes, *len);
        *len = 0;
        return taken ? MHD_YES : MHD_NO;
    }
    return exchange_answer(*state, p->scenario, p->log_dir);
}

static void on_end(void *cls, struct MHD_Connection *conn, void **state, enum MHD_RequestTerminationCode how)
{
    (void)cls;
    (void)conn;
    if (*state)
        exchange_end(*state, how);
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: arp-scripted-provider SCENARIO.json LOGDIR\n");
        return 2;
    }
    struct provider p = {.scenario = scenario_read(argv[1]), .log_dir = argv[2]};
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (!p.scenario)
        return 1;
    /* A thread for each connection: answers may wait in it. */
    struct MHD_Daemon *d =
        MHD_start_daemon(MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_THREAD_PER_CONNECTION | MHD_USE_POLL, 0,
            NULL, NULL, on_request, &p, MHD_OPTION_SOCK_ADDR, &address, MHD_OPTION_NOTIFY_COMPLETED, on_end,
            NULL, MHD_OPTION_CONNECTION_LIMIT, 1000u, MHD_OPTION_END);
    const union MHD_DaemonInfo *info = d ? MHD_get_daemon_info(d, MHD_DAEMON_INFO_BIND_PORT) : NULL;
    if (!info) {
        fprintf(stderr, "can't listen on 127.0.0.1\n");
        return 1;
    }
    printf("port %u\n", info->port);
    fflush(stdout);
    char byte;
    while (read(STDIN_FILENO, &byte, 1) > 0)
        ;
    /* Threads that wait in a hanging answer are not waited for. */
    _exit(0);
}
