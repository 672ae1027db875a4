/*
 * arpctl against a small server of our own: a stream that breaks is resumed where it stopped, evidence that is being made is waited
 * for, and the server's errors are passed on.
 */
#include "cli/commands.h"

#include <microhttpd.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/follow.h"
#include "shared/fd.h"
#include "tests/support/suite.h"

#define RUN     "6f1d2c3e-8a4b-4c5d-9e6f-0a1b2c3d4e5f"
#define PROJECT "22222222-2222-4333-8444-555555555555"
#define LINE_0  "{\"ts\":\"2026-11-22T00:00:10.000Z\",\"runId\":\"" RUN "\",\"type\":\"RunStarted\",\"seq\":0}"
#define LINE_1                                                                                               \
    "{\"ts\":\"2026-11-22T00:00:11.000Z\",\"runId\":\"" RUN "\",\"type\":\"RunHeartbeat\",\"seq\":1}"
#define LINE_2                                                                                               \
    "{\"ts\":\"2026-11-22T00:00:12.000Z\",\"runId\":\"" RUN                                                  \
    "\",\"type\":\"RunCompleted\",\"status\":\"succeeded\",\"seq\":2}"

static struct MHD_Daemon *server;
static char url[64], dir[64], posted[4096], resumed_from[32];
static atomic_int evidence_asked;

static enum MHD_Result reply(struct MHD_Connection *c, unsigned status, const char *type, const char *text)
{
    struct MHD_Response *r =
        MHD_create_response_from_buffer(strlen(text), (void *)(uintptr_t)text, MHD_RESPMEM_PERSISTENT);
    MHD_add_response_header(r, "Content-Type", type);
    enum MHD_Result ok = MHD_queue_response(c, status, r);
    MHD_destroy_response(r);
    return ok;
}

static enum MHD_Result route(struct MHD_Connection *c, const char *path)
{
    const char *key = MHD_lookup_connection_value(c, MHD_HEADER_KIND, "X-API-Key");
    const char *last = MHD_lookup_connection_value(c, MHD_HEADER_KIND, "Last-Event-ID");
    const char *accept = MHD_lookup_connection_value(c, MHD_HEADER_KIND, "Accept");
    if (!key || strcmp(key, "secret") != 0)
        return reply(c, 401, "application/json",
            "{\"error\":{\"code\":\"unauthenticated\",\"message\":\"an API key is required\"}}");
    if (strcmp(path, "/projects/" PROJECT "/message/stream") == 0)
        return reply(c, 200, "text/event-stream",
            "id: 0\nevent: run-start\ndata: " LINE_0 "\n\nid: 1\ndata: half a li");
    if (strcmp(path, "/runs/" RUN "/events") == 0 && accept && strcmp(accept, "text/event-stream") == 0) {
        snprintf(resumed_from, sizeof(resumed_from), "%s", last ? last : "");
        return reply(c, 200, "text/event-stream",
            "id: 1\ndata: " LINE_1 "\n\nid: 2\nevent: run-complete\ndata: " LINE_2 "\n\n");
    }
    if (strcmp(path, "/runs/" RUN "/events") == 0)
        return reply(c, 200, "application/jsonl", LINE_0 "\n" LINE_1 "\n");
    if (strcmp(path, "/runs/" RUN "/evidence") == 0)
        return atomic_fetch_add(&evidence_asked, 1) < 1
                   ? reply(c, 202, "application/json", "{\"status\":\"pending\"}")
                   : reply(c, 200, "application/zip", "PK-bytes");
    return reply(
        c, 404, "application/json", "{\"error\":{\"code\":\"not_found\",\"message\":\"no such resource\"}}");
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *c, const char *path, const char *method,
    const char *version, const char *data, size_t *size, void **state)
{
    static int begun;
    (void)cls;
    (void)method;
    (void)version;
    if (!*state) {
        *state = &begun;
        return MHD_YES;
    }
    if (*size > 0) {
        snprintf(posted, sizeof(posted), "%.*s", (int)*size, data);
        *size = 0;
        return MHD_YES;
    }
    return route(c, path);
}

static int set_up(void)
{
    snprintf(dir, sizeof(dir), "/tmp/arp-cli-XXXXXX");
    server =
        MHD_start_daemon(MHD_USE_INTERNAL_POLLING_THREAD, 0, NULL, NULL, on_request, NULL, MHD_OPTION_END);
    if (!server || !mkdtemp(dir))
        return 1;
    snprintf(url, sizeof(url), "http://127.0.0.1:%u/",
        MHD_get_daemon_info(server, MHD_DAEMON_INFO_BIND_PORT)->port);
    setenv("ARP_URL", url, 1);
    setenv("ARP_API_KEY", "secret", 1);
    return 0;
}

static int tear_down(void)
{
    MHD_stop_daemon(server);
    return rmdir(dir);
}

static void broken_stream_is_resumed_without_loss(void)
{
    const char *argv[] = {"run", "--project", PROJECT, "--prompt", "say \"hi\"", "--json", "--timeout", "9",
        "-c", "echo hi", NULL};
    resumed_from[0] = '\0';
    ASSERT_INT(command_run(10, argv), 0);
    ASSERT_STR(resumed_from, "0");
    ASSERT_STR(posted,
        "{\"prompt\":\"say \\\"hi\\\"\",\"commands\":[[\"sh\",\"-c\",\"echo hi\"]],\"timeoutMs\":9000}");
}

static void arguments_become_one_command(void)
{
    const char *argv[] = {"run", "-p", PROJECT, "--", "ls", "-la", "a b", NULL};
    ASSERT_INT(command_run(7, argv), 0);
    ASSERT_STR(posted, "{\"prompt\":\"\",\"commands\":[[\"ls\",\"-la\",\"a b\"]]}");
}

static void agents_and_containers_are_named(void)
{
    const char *prompt[] = {"run", "-p", PROJECT, "--agent", "coder", "--prompt", "make", NULL};
    const char *overrides[] = {
        "run", "-p", PROJECT, "--override", "coder=a", "-o", "default=b=c", "--", "true", NULL};
    ASSERT_INT(command_run(7, prompt), 0);
    ASSERT_STR(posted, "{\"agent\":\"coder\",\"prompt\":\"make\"}");
    ASSERT_INT(command_run(9, overrides), 0);
    ASSERT_STR(posted, "{\"prompt\":\"\",\"commands\":[[\"true\"]],\"container_overrides\":{\"coder\":\"a\","
                       "\"default\":\"b=c\"}}");
}

static void logs_are_shown_now_or_followed(void)
{
    const char *now[] = {"logs", "--json", RUN, NULL}, *follow[] = {"logs", "-f", RUN, NULL};
    ASSERT_INT(command_logs(3, now), 0);
    resumed_from[0] = 'x';
    ASSERT_INT(command_logs(3, follow), 0);
    ASSERT_STR(resumed_from, "");
}

static void evidence_is_waited_for(void)
{
    char file[128];
    snprintf(file, sizeof(file), "%s/e.zip", dir);
    const char *argv[] = {"evidence", "-o", file, RUN, NULL};
    ASSERT_INT(command_evidence(4, argv), 0);
    ASSERT_INT(evidence_asked, 2);
    cleanup_buf struct buf b;
    buf_init(&b, 1024);
    ASSERT_INT(file_read(file, &b, NULL), 0);
    ASSERT_STR(b.data, "PK-bytes");
    unlink(file);
}

static void trouble_is_told_and_leaves_nothing(void)
{
    char file[128];
    snprintf(file, sizeof(file), "%s/k.json", dir);
    const char *keys[] = {"keys", "-o", file, NULL};
    ASSERT_INT(command_keys(3, keys), EXIT_TROUBLE);
    ASSERT_INT(access(file, F_OK), -1);
    setenv("ARP_API_KEY", "wrong", 1);
    const char *run[] = {"run", "-p", PROJECT, "-c", "true", NULL};
    ASSERT_INT(command_run(5, run), EXIT_TROUBLE);
    setenv("ARP_API_KEY", "secret", 1);
    setenv("ARP_URL", "http://127.0.0.1:1", 1);
    ASSERT_INT(command_run(5, run), EXIT_TROUBLE);
    setenv("ARP_URL", "file:///etc/passwd", 1);
    ASSERT_INT(command_run(5, run), EXIT_TROUBLE);
    setenv("ARP_URL", url, 1);
}

static void wrong_usage_is_refused(void)
{
    const char *no_project[] = {"run", "-c", "true", NULL}, *no_command[] = {"run", "-p", PROJECT, NULL},
               *both[] = {"run", "-p", PROJECT, "-c", "true", "--", "ls", NULL},
               *no_id[] = {"run", "-p", PROJECT, "-o", "coder", "--", "ls", NULL},
               *path[] = {"evidence", "../x", NULL};
    ASSERT_INT(command_run(3, no_project), EXIT_TROUBLE);
    ASSERT_INT(command_run(3, no_command), EXIT_TROUBLE);
    ASSERT_INT(command_run(7, both), EXIT_TROUBLE);
    ASSERT_INT(command_run(7, no_id), EXIT_TROUBLE);
    ASSERT_INT(command_evidence(2, path), EXIT_TROUBLE);
}

TEST_SUITE_WITH(commands_test, set_up, tear_down, TEST(broken_stream_is_resumed_without_loss),
    TEST(arguments_become_one_command), TEST(agents_and_containers_are_named),
    TEST(logs_are_shown_now_or_followed), TEST(evidence_is_waited_for),
    TEST(trouble_is_told_and_leaves_nothing), TEST(wrong_usage_is_refused))
