/*
 * The scripted provider: see provider.h.
 */
#include "tests/support/provider.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/support/process.h"
#include "tests/support/stack.h"

struct provider {
    pid_t pid;
    int input; /* it serves until this is closed */
    int port;  /* when it is stopped: a socket that keeps its port, without listening */
    char url[64];
    char dir[80];
    char scenario[96];
};

static void run_program(const struct provider *p, int input, int output)
{
    const char *program = helper_path("tests/arp-scripted-provider");
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    dup2(input, STDIN_FILENO);
    dup2(output, STDOUT_FILENO);
    execl(program, program, p->scenario, p->dir, (char *)NULL);
    _exit(127);
}

/* Read "port N". False: it ended instead. */
static bool read_port(struct provider *p, int fd)
{
    char text[32] = "";
    size_t n = 0;
    while (n < sizeof(text) - 1 && !memchr(text, '\n', n)) {
        ssize_t got = read(fd, text + n, sizeof(text) - 1 - n);
        if (got <= 0)
            return false;
        n += (size_t)got;
    }
    unsigned port = 0;
    if (sscanf(text, "port %u", &port) != 1)
        return false;
    snprintf(p->url, sizeof(p->url), "http://127.0.0.1:%u", port);
    return true;
}

struct provider *provider_start(const char *scenario)
{
    struct provider *p = calloc(1, sizeof(*p));
    int input[2], output[2];
    if (p)
        p->port = -1;
    if (!p || pipe2(input, O_CLOEXEC) < 0 || pipe2(output, O_CLOEXEC) < 0)
        return NULL;
    snprintf(p->dir, sizeof(p->dir), "%s", temp_dir());
    snprintf(p->scenario, sizeof(p->scenario), "%s/scenario", p->dir);
    FILE *f = fopen(p->scenario, "w");
    bool ok = f && fputs(scenario, f) >= 0;
    if (f)
        ok = fclose(f) == 0 && ok;
    p->pid = ok ? fork() : -1;
    if (p->pid == 0)
        run_program(p, input[0], output[1]);
    close(input[0]);
    close(output[1]);
    p->input = input[1];
    ok = p->pid > 0 && read_port(p, output[0]);
    close(output[0]);
    if (ok)
        return p;
    fprintf(stderr, "the scripted provider did not start\n");
    provider_forget(p);
    return NULL;
}

/* The port of a provider that died would be anybody's, and who asks for it there would get an answer. */
static int keep_port(const struct provider *p)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const struct sockaddr_in a = {.sin_family = AF_INET,
        .sin_port = htons((uint16_t)strtoul(strrchr(p->url, ':') + 1, NULL, 10)),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int)); /* connections to it may linger */
    if (bind(fd, (const struct sockaddr *)&a, sizeof(a)) < 0)
        perror("keep the port of a stopped provider");
    return fd;
}

/* Its process, and nothing else. */
static void end(struct provider *p)
{
    if (p->input >= 0)
        close(p->input);
    p->input = -1;
    if (p->pid > 0)
        waitpid(p->pid, NULL, 0);
    p->pid = 0;
}

void provider_stop(struct provider *p)
{
    end(p);
    p->port = keep_port(p);
}

void provider_forget(struct provider *p)
{
    if (!p)
        return;
    end(p);
    if (p->port >= 0)
        close(p->port);
    free(p);
}

const char *provider_url(const struct provider *p)
{
    return p->url;
}

/* A record's path; false when there is no such file. */
static bool record_path(const struct provider *p, unsigned n, const char *ending, char *ret, size_t size)
{
    snprintf(ret, size, "%s/%05u.%s", p->dir, n, ending);
    return access(ret, R_OK) == 0;
}

unsigned provider_count(const struct provider *p)
{
    char path[128];
    unsigned n = 0;
    while (record_path(p, n, "json", path, sizeof(path)))
        n++;
    return n;
}

bool provider_request(const struct provider *p, unsigned n, struct provider_request *ret)
{
    char name[32];
    *ret = (struct provider_request){0};
    snprintf(name, sizeof(name), "%05u.json", n);
    char *head = read_text(p->dir, name);
    snprintf(name, sizeof(name), "%05u.body", n);
    ret->head = head ? cJSON_Parse(head) : NULL;
    ret->body = head ? read_text(p->dir, name) : NULL;
    ret->json = ret->body ? cJSON_Parse(ret->body) : NULL;
    free(head);
    return ret->head && ret->body;
}

void provider_request_done(struct provider_request *r)
{
    cJSON_Delete(r->head);
    cJSON_Delete(r->json);
    free(r->body);
    *r = (struct provider_request){0};
}

const char *provider_header(const struct provider_request *r, const char *name)
{
    return cJSON_GetStringValue(
        cJSON_GetObjectItemCaseSensitive(cJSON_GetObjectItemCaseSensitive(r->head, "headers"), name));
}

const char *provider_how(const struct provider *p, unsigned n)
{
    static char how[16];
    char path[128], name[32];
    for (int i = 0; i < 20 * 20 && !record_path(p, n, "end", path, sizeof(path)); i++)
        nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
    snprintf(name, sizeof(name), "%05u.end", n);
    char *text = record_path(p, n, "end", path, sizeof(path)) ? read_text(p->dir, name) : NULL;
    cJSON *doc = text ? cJSON_Parse(text) : NULL;
    const char *word = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(doc, "how"));
    snprintf(how, sizeof(how), "%s", word ? word : "");
    cJSON_Delete(doc);
    free(text);
    return word ? how : NULL;
}
