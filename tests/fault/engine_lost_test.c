/*
 * The container engine goes away: its socket vanishes and its connections break. What needs it says so, a run in progress does not need
 * it, and nothing has to be restarted when it is back. The server talks to the engine through a relay that the test takes away.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/docker.h"
#include "tests/support/engine.h"
#include "tests/support/record.h"
#include "tests/support/suite.h"

#define ENGINE_SOCKET "/var/run/docker.sock"

static struct stack *stack;
static char socket_path[100];
static pid_t relay; /* leader of the relay's process group; 0: the engine is away */

/* --- the relay: one process that accepts, one more per connection ------------------------------------------------------------------ */

static int dial(const char *path)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0) {
        close(fd);
        fd = -1;
    }
    return fd;
}

static bool pass(int from, int to)
{
    char buf[65536];
    ssize_t n = read(from, buf, sizeof(buf));
    for (ssize_t at = 0, w; n > 0 && at < n; at += w) {
        w = write(to, buf + at, (size_t)(n - at));
        if (w <= 0)
            return false;
    }
    return n > 0;
}

static _Noreturn void relay_connection(int client)
{
    int server = dial(ENGINE_SOCKET);
    struct pollfd p[2] = {{.fd = client, .events = POLLIN}, {.fd = server, .events = POLLIN}};
    while (server >= 0 && poll(p, 2, -1) > 0) {
        if ((p[0].revents && !pass(client, server)) || (p[1].revents && !pass(server, client)))
            break;
    }
    _exit(0);
}

static _Noreturn void relay_main(int listener)
{
    signal(SIGCHLD, SIG_IGN);
    for (;;) {
        int client = accept(listener, NULL, NULL);
        if (client < 0)
            _exit(1);
        if (fork() == 0)
            relay_connection(client);
        close(client);
    }
}

static bool engine_come(void)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    snprintf(a.sun_path, sizeof(a.sun_path), "%s", socket_path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(fd, 64) < 0)
        return false;
    relay = fork();
    if (relay == 0) {
        setpgid(0, 0);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        relay_main(fd);
    }
    setpgid(relay, relay);
    close(fd);
    return relay > 0;
}

/* The socket is gone and every open connection breaks. */
static void engine_go(void)
{
    if (relay <= 0)
        return;
    unlink(socket_path);
    kill(-relay, SIGKILL);
    waitpid(relay, NULL, 0);
    relay = 0;
}

static int set_up(void)
{
    static char option[160];
    static const char *const env[] = {option, "ARP_LEASE_SECONDS=3", "ARP_BUNDLE_SCAN_SECONDS=1", NULL};
    snprintf(socket_path, sizeof(socket_path), "%s/engine.sock", temp_dir());
    snprintf(option, sizeof(option), "ARP_DOCKER_SOCKET=%s", socket_path);
    if (!engine_come())
        return 1;
    stack = stack_start(env);
    return stack ? 0 : 1;
}

static int tear_down(void)
{
    int code = stack_stop(stack);
    engine_go();
    return code;
}

/* --- tests ---------------------------------------------------------------------------------------------------------------------- */

static void expect_ready(long status)
{
    struct reply r = {0};
    ASSERT_INT(stack_wait(stack, NULL, "/readyz", status, 30, &r), status);
    reply_done(&r);
}

static void expect_usable(const struct tenant *t)
{
    struct reply r = {0};
    expect_ready(200);
    ASSERT_INT(stack_run(stack, t, "[[\"true\"]]", &r), 200);
    ASSERT_STR(reply_str(&r, "status"), "succeeded");
    reply_done(&r);
}

static void run_that_can_not_get_a_container_fails_with_the_reason(void)
{
    struct tenant t;
    struct record rec;
    struct reply r = {0};
    ASSERT_TRUE(stack_tenant(stack, "cold", -1, &t));
    engine_go();
    expect_ready(503);
    ASSERT_INT(stack_run(stack, &t, "[[\"true\"]]", &r), 200);
    ASSERT_STR(reply_str(&r, "status"), "failed");
    ASSERT_STR(reply_str(&r, "reason"), "runtime_error");
    ASSERT_TRUE(reply_str(&r, "errorMessage") && *reply_str(&r, "errorMessage"));
    ASSERT_TRUE(record_open(stack, &t, reply_str(&r, "runId"), &rec));
    ASSERT_TRUE(record_is_unclosed(stack, &rec, "runtime_error"));
    ASSERT_INT(rec.events.n, 2);
    ASSERT_INT(rec.commands.n, 0);
    ASSERT_TRUE(cJSON_IsNull(json_at(rec.metadata, "imageDigest")));
    record_done(&rec);
    ASSERT_TRUE(engine_come());
    expect_usable(&t);
    reply_done(&r);
}

static void run_in_progress_does_not_need_the_engine(void)
{
    struct tenant t;
    struct record rec;
    struct reply r = {0};
    char run[40], body[512];
    ASSERT_TRUE(stack_tenant(stack, "progress", -1, &t));
    snprintf(body, sizeof(body), "{\"commands\":%s}", gate_commands("engine"));
    ASSERT_TRUE(run_begin(stack, &t, body, run));
    ASSERT_TRUE(run_wait_event(stack, &t, run, "RunCommandStarted"));
    engine_go();
    ASSERT_TRUE(gate_open(stack, t.workspace_id, "engine"));
    ASSERT_TRUE(stack_wait_run(stack, &t, run, 60, &r));
    ASSERT_STR(reply_str(&r, "status"), "succeeded");
    ASSERT_TRUE(record_open(stack, &t, run, &rec));
    ASSERT_INT(arpctl_verify(rec.zip, keyring_file(stack), NULL), 0);
    record_done(&rec);
    ASSERT_TRUE(engine_come());
    expect_usable(&t);
    reply_done(&r);
}

static void agent_lost_while_the_engine_is_away_still_ends_its_run(void)
{
    struct tenant t;
    struct record rec;
    struct reply r = {0};
    char run[40];
    ASSERT_TRUE(stack_tenant(stack, "both", -1, &t));
    ASSERT_TRUE(run_begin(stack, &t, "{\"commands\":[[\"sleep\",\"600\"]]}", run));
    ASSERT_TRUE(run_wait_event(stack, &t, run, "RunCommandStarted"));
    engine_go();
    ASSERT_TRUE(DOCKER("kill", docker_container(t.workspace_id)) != NULL);
    ASSERT_TRUE(stack_wait_run(stack, &t, run, 60, &r));
    ASSERT_STR(reply_str(&r, "status"), "failed");
    ASSERT_STR(reply_str(&r, "reason"), "agent_lost");
    ASSERT_TRUE(record_open(stack, &t, run, &rec));
    ASSERT_TRUE(record_is_unclosed(stack, &rec, "agent_lost"));
    record_done(&rec);
    ASSERT_TRUE(engine_come());
    expect_usable(&t);
    reply_done(&r);
}

static void open_of_a_project_without_the_engine_is_an_error_not_a_state(void)
{
    struct tenant t;
    struct reply r = {0};
    char path[80];
    ASSERT_TRUE(stack_tenant(stack, "open", -1, &t));
    snprintf(path, sizeof(path), "/projects/%s/open", t.project_id);
    engine_go();
    ASSERT_INT(stack_call(stack, t.key, "POST", path, NULL, &r), 503);
    ASSERT_STR(reply_str(&r, "error.code"), "runtime_unavailable");
    ASSERT_TRUE(engine_come());
    expect_ready(200);
    ASSERT_INT(stack_call(stack, t.key, "POST", path, NULL, &r), 200);
    ASSERT_STR(reply_str(&r, "state"), "warm");
    reply_done(&r);
}

static void start_without_the_engine_says_why(void)
{
    struct tenant t;
    ASSERT_TRUE(stack_tenant(stack, "start", -1, &t));
    stack_terminate(stack);
    engine_go();
    ASSERT_TRUE(!stack_restart(stack));
    char *log = stack_log(stack);
    ASSERT_CONTAINS(log, socket_path);
    free(log);
    ASSERT_TRUE(engine_come());
    ASSERT_TRUE(stack_restart(stack));
    expect_usable(&t);
}

TEST_SUITE_WITH(engine_lost_test, set_up, tear_down,
    TEST(run_that_can_not_get_a_container_fails_with_the_reason),
    TEST(run_in_progress_does_not_need_the_engine),
    TEST(agent_lost_while_the_engine_is_away_still_ends_its_run),
    TEST(open_of_a_project_without_the_engine_is_an_error_not_a_state),
    TEST(start_without_the_engine_says_why))
