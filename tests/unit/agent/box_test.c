/*
 * Tests of agent/box.c: a box is whole or there is none, and starts commands one after another.
 */
#include "agent/box.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/treekill.h"
#include "tests/support/lab.h"

static struct seccomp_prog *prog;
static struct cmdenv env;
static struct arp_err err;

static void make_spec(struct box_spec *ret)
{
    cmdenv_init(&env, "/usr/bin:/bin");
    if (!prog)
        ASSERT_INT(seccomp_compile(SECCOMP_DEFAULT, false, NULL, &prog, &err), 0);
    *ret = (struct box_spec){.reaper = lab.reaper,
        .ids = &lab.ids,
        .cache = lab.cache,
        .seccomp = prog,
        .env = &env,
        .workspace = lab.root};
    ASSERT_INT(launcher_start(lab.reaper, &lab.ids, &ret->launcher, &err), 0);
}

/* Start name and wait for its end. */
static void start(struct box *b, uint64_t id, const char *name, struct exec_outcome *ret)
{
    struct child child;
    struct recorder_tally tally;
    const char *argv[] = {name, NULL};
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    struct launch launch = {
        .argv = argv, .cwd_fd = lab.work_fd, .in_fd = null, .out_fd = null, .err_fd = null};
    int rc = box_spawn(b, id, &launch, &child, ret, &err);
    ASSERT_INT(rc, 0);
    if (ret->stage == EXEC_STARTED) {
        CU_ASSERT(child.pid > 0);
        CU_ASSERT(reaper_wait(lab.reaper, &child, 5000));
        reaper_forget(lab.reaper, &child);
    } else {
        ASSERT_INT(child.pid, 0);
    }
    while (!recorder_wait_end(box_recorder(b), 20000)) {
        struct process_record *list = recorder_take(box_recorder(b));
        for (struct process_record *r = list; r; r = r->next)
            ASSERT_INT(r->command_id, id);
        CU_ASSERT(list != NULL);
        process_records_free(list);
    }
    recorder_finish(box_recorder(b), &tally);
    ASSERT_INT(tally.counts.execs, ret->stage == EXEC_STARTED ? 1 : 0);
    close(null);
}

static void box_starts_commands(void)
{
    struct box_spec spec;
    struct box *b = NULL;
    struct exec_outcome outcome;
    make_spec(&spec);
    ASSERT_INT(box_open(&spec, &b, &err), 0);
    CU_ASSERT(box_layers(b)->seccomp && box_layers(b)->bounding_set);
    ASSERT_INT(box_uid(b), lab.ids.uid);
    for (uint64_t i = 1; i < 20; i++) {
        start(b, i, i % 3 ? "true" : "no-such-program", &outcome);
        ASSERT_INT(outcome.stage, i % 3 ? EXEC_STARTED : EXEC_FAILED);
    }
    box_close(b);
    box_close(NULL);
}

static void box_is_refused_without_its_layers(void)
{
    struct box_spec spec;
    struct box *b = NULL;
    make_spec(&spec);
    struct seccomp_prog broken = *prog;
    broken.policy.len = broken.args.len = 0;
    spec.seccomp = &broken;
    ASSERT_INT(box_open(&spec, &b, &err), ARP_E_UNSUPPORTED);
    ASSERT_CONTAINS(err.msg, "seccomp");
    CU_ASSERT(b == NULL);
}

/* Whatever the moment: an error, nothing left of it, and the child is nobody's any more. */
static void box_survives_its_launcher(void)
{
    for (int i = 0; i < 10; i++) {
        struct box_spec spec;
        struct box *b = NULL;
        struct child child, probe;
        struct exec_outcome outcome = {0};
        struct recorder_tally tally;
        const char *argv[] = {"true", NULL};
        pid_t pid;
        make_spec(&spec);
        ASSERT_INT(box_open(&spec, &b, &err), 0);
        int null = open("/dev/null", O_RDWR | O_CLOEXEC);
        struct launch launch = {
            .argv = argv, .cwd_fd = lab.work_fd, .in_fd = null, .out_fd = null, .err_fd = null};
        fflush(stdout);
        ASSERT_INT(reaper_fork(lab.reaper, &probe, &pid, &err), 0);
        if (pid == 0) { /* ends all of the launcher's uid, sooner or later in the start */
            usleep((useconds_t)(i * 100));
            tree_kill(lab.ids.own_uid, &err);
            _exit(0);
        }
        int rc = box_spawn(b, 1, &launch, &child, &outcome, &err);
        CU_ASSERT(rc == 0 || rc == ARP_E_IO);
        if (rc)
            ASSERT_INT(child.pid, 0);
        CU_ASSERT(reaper_wait(lab.reaper, &probe, 5000));
        reaper_forget(lab.reaper, &probe);
        ASSERT_INT(tree_kill_wait(lab.ids.uid, 5000, &err), 0);
        recorder_finish(box_recorder(b), &tally);
        if (rc == 0)
            reaper_forget(lab.reaper, &child);
        box_close(b);
        close(null);
    }
}

/* What a command of such a box can do with sockets; prints one word per attempt. */
#define GATEWAY_SCRIPT                                                                                       \
    "import socket as s, sys\n"                                                                              \
    "def go(name, f):\n"                                                                                     \
    "    try:\n"                                                                                             \
    "        f(); print(name, 'yes')\n"                                                                      \
    "    except OSError as e: print(name, e.errno)\n"                                                        \
    "relay, other = int(sys.argv[1]), int(sys.argv[2])\n"                                                    \
    "go('relay', lambda: s.create_connection(('127.0.0.1', relay)))\n"                                       \
    "go('other', lambda: s.create_connection(('127.0.0.1', other)))\n"                                       \
    "go('udp', lambda: s.socket(s.AF_INET, s.SOCK_DGRAM))\n"                                                 \
    "go('udp6', lambda: s.socket(s.AF_INET6, s.SOCK_DGRAM))\n"                                               \
    "go('ping', lambda: s.socket(s.AF_INET, s.SOCK_DGRAM, 1))\n"                                             \
    "go('mptcp', lambda: s.socket(s.AF_INET, s.SOCK_STREAM, 262))\n"                                         \
    "go('fast', lambda: s.socket().sendto(b'x', 0x20000000, ('127.0.0.1', other)))\n"                        \
    "go('fastmsg', lambda: s.socket().sendmsg([b'x'], [], 0x20000000, ('127.0.0.1', other)))\n"              \
    "go('unix', lambda: s.socket(s.AF_UNIX, s.SOCK_DGRAM))\n"

/* Run the script in b with its output to a file; ret: what it printed. */
static void ask_gateway(struct box *b, uint16_t relay, uint16_t other, char ret[512])
{
    char ports[2][8], path[128];
    struct child child;
    struct exec_outcome outcome;
    struct recorder_tally tally;
    snprintf(ports[0], sizeof(ports[0]), "%u", relay);
    snprintf(ports[1], sizeof(ports[1]), "%u", other);
    snprintf(path, sizeof(path), "%s/answers", lab.root);
    const char *argv[] = {"/usr/bin/python3", "-c", GATEWAY_SCRIPT, ports[0], ports[1], NULL};
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    int out = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    struct launch launch = {.argv = argv, .cwd_fd = lab.work_fd, .in_fd = null, .out_fd = out, .err_fd = out};
    ASSERT_INT(box_spawn(b, 0, &launch, &child, &outcome, &err), 0);
    ASSERT_INT(outcome.stage, EXEC_STARTED);
    CU_ASSERT(reaper_wait(lab.reaper, &child, 20000));
    reaper_forget(lab.reaper, &child);
    recorder_finish(box_recorder(b), &tally);
    process_records_free(recorder_take(box_recorder(b)));
    ssize_t n = pread(out, ret, 511, 0);
    ret[n > 0 ? n : 0] = 0;
    close(out);
    close(null);
}

static int listener(uint16_t *ret_port)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(at);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ASSERT_INT(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
    ASSERT_INT(listen(fd, 16), 0);
    ASSERT_INT(getsockname(fd, (struct sockaddr *)&at, &len), 0);
    *ret_port = ntohs(at.sin_port);
    return fd;
}

static void box_of_an_engine_reaches_its_relay_only(void)
{
    static const enum seccomp_profile profiles[] = {SECCOMP_DEFAULT, SECCOMP_NO_NETWORK, SECCOMP_STRICT};
    uint16_t relay, other;
    int a = listener(&relay), c = listener(&other);
    for (size_t i = 0; i < sizeof(profiles) / sizeof(profiles[0]); i++) {
        struct box_spec spec;
        struct box *b = NULL;
        struct seccomp_prog *gateway;
        char answers[512];
        make_spec(&spec);
        ASSERT_INT(seccomp_compile(profiles[i], true, NULL, &gateway, &err), 0);
        spec.seccomp = gateway;
        spec.connect_port = relay;
        ASSERT_INT(box_open(&spec, &b, &err), 0);
        CU_ASSERT(box_layers(b)->gateway_only);
        ask_gateway(b, relay, other, answers);
        const char *udp = profiles[i] == SECCOMP_NO_NETWORK ? "13" : "1";
        char want[256];
        snprintf(want, sizeof(want),
            "relay yes\nother 13\nudp %s\nudp6 %s\nping %s\nmptcp 93\nfast 1\nfastmsg 1\nunix yes\n", udp,
            udp, udp);
        ASSERT_STR(answers, want);
        box_close(b);
        seccomp_prog_free(gateway);
    }
    close(a);
    close(c);
}

/* Without the gateway's programs datagrams would be a way out. */
static void box_of_an_engine_needs_the_programs_of_one(void)
{
    struct box_spec spec;
    struct box *b = NULL;
    make_spec(&spec);
    spec.connect_port = 80;
    ASSERT_INT(box_open(&spec, &b, &err), ARP_E_UNSUPPORTED);
    CU_ASSERT(b == NULL);
}

LAB_SUITE(box_test, TEST(box_of_an_engine_reaches_its_relay_only),
    TEST(box_of_an_engine_needs_the_programs_of_one), TEST(box_starts_commands),
    TEST(box_is_refused_without_its_layers), TEST(box_survives_its_launcher))
