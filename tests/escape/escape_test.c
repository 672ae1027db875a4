/*
 * Attempts to break out of a workspace or to touch what records it, made by programs inside real workspaces under the default profile:
 * attempts.h lists them. What a program says of itself is only half: after every run the bundle is verified, the agent must be the same
 * process, and the next run must work.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/escape/attempts.h"
#include "tests/support/docker.h"
#include "tests/support/record.h"
#include "tests/support/suite.h"

/* Small, so that using it up is quick; large enough for the smallest memory that lets every process of the pid limit have 2 MiB. */
#define MEMORY_MB  "512"
#define TIMEOUT_MS 20000

static struct stack *stack;
static struct tenant tenant;    /* of the groups that leave nothing behind */
static struct tenant neighbour; /* another tenant, whose workspace stays up */
static char image[64];
static char secret[64];
static char secret_sha256[65];
static char port[16];
static char neighbour_address[64];

/* The folder of this program: the attempts are built beside it. */
static const char *programs_dir(void)
{
    static char path[512];
    ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 1);
    char *slash = n > 0 ? strrchr(path, '/') : NULL;
    if (slash)
        *slash = '\0';
    return path;
}

static bool make_image(void)
{
    const char *from = getenv("ARP_TEST_IMAGE");
    char *out = NULL;
    unsigned char random[16];
    char line[80];
    if (getentropy(random, sizeof(random)) < 0)
        return false;
    hex_sha256(random, sizeof(random), secret_sha256);
    snprintf(secret, sizeof(secret), "escape-secret-%.32s", secret_sha256);
    snprintf(line, sizeof(line), "%s\n", secret);
    hex_sha256(line, strlen(line), secret_sha256);
    snprintf(image, sizeof(image), "arp-escape-test:%d", (int)getpid());
    int code = RUN_ARGV(NULL, &out, "tests/escape/image.sh", image, from ? from : "arp-workspace:v0.3",
        programs_dir(), secret);
    if (code != 0)
        fprintf(stderr, "image.sh: exit %d: %s\n", code, out);
    free(out);
    return code == 0;
}

/* Run commands of t, which must succeed. */
static void run_plain(const struct tenant *t, const char *commands)
{
    struct reply r = {0};
    ASSERT_INT(stack_run(stack, t, commands, &r), 200);
    if (strcmp(reply_str(&r, "status"), "succeeded") != 0)
        fprintf(stderr, "%s: %s\n", commands, r.body);
    ASSERT_STR(reply_str(&r, "status"), "succeeded");
    reply_done(&r);
}

static int tear_down(void)
{
    int code = stack ? stack_stop(stack) : 0;
    DOCKER("rmi", image);
    return code;
}

/* The neighbour's workspace is up from now on; its address is where others must not reach. */
static bool find_neighbour(void)
{
    static const char form[] = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
    struct reply r = {0};
    bool ok = stack_tenant(stack, "neighbour", -1, &neighbour) &&
              stack_run(stack, &neighbour, "[[\"true\"]]", &r) == 200;
    reply_done(&r);
    const char *address = ok ? DOCKER("inspect", "-f", form, docker_container(neighbour.workspace_id)) : NULL;
    snprintf(neighbour_address, sizeof(neighbour_address), "%s", address ? address : "");
    return neighbour_address[0] != '\0';
}

static int set_up(void)
{
    char setting[96];
    if (!make_image())
        return 1;
    snprintf(setting, sizeof(setting), "WORKSPACE_IMAGE=%s", image);
    stack = stack_start((const char *const[]){"ARP_WORKSPACE_MEMORY_MB=" MEMORY_MB, setting, NULL});
    if (!stack || !stack_tenant(stack, "escape", -1, &tenant) || !find_neighbour()) {
        tear_down(); /* after a failed set-up nobody else does */
        return 1;
    }
    snprintf(port, sizeof(port), "%s", strrchr(stack_url(stack), ':') + 1);
    return 0;
}

/* --- a run of attempts --------------------------------------------------------------------------------------------------------- */

static const char *value_of(const char *word)
{
    if (strcmp(word, "$PORT") == 0)
        return port;
    return strcmp(word, "$NEIGHBOUR") == 0 ? neighbour_address : word;
}

/* The commands of attempts[0..n) as the API takes them (free()). */
static char *commands_of(const struct attempt *attempts, size_t n)
{
    cJSON *list = cJSON_CreateArray();
    for (size_t i = 0; i < n; i++) {
        char text[128], program[64];
        char *save = NULL;
        cJSON *command = cJSON_CreateObject();
        cJSON *argv = cJSON_AddArrayToObject(command, "argv");
        cJSON_AddNumberToObject(command, "timeoutMs", TIMEOUT_MS);
        snprintf(text, sizeof(text), "%s", attempts[i].command);
        snprintf(program, sizeof(program), "/escape/%s", strtok_r(text, " ", &save));
        cJSON_AddItemToArray(argv, cJSON_CreateString(program));
        for (const char *word = strtok_r(NULL, " ", &save); word; word = strtok_r(NULL, " ", &save))
            cJSON_AddItemToArray(argv, cJSON_CreateString(value_of(word)));
        cJSON_AddItemToArray(list, command);
    }
    char *text = cJSON_PrintUnformatted(list);
    cJSON_Delete(list);
    return text;
}

/* Count a failure and go on: what one attempt does must not hide what the others do. */
static void fail(const struct attempt *a, const char *what, const char *got)
{
    char text[2400];
    snprintf(text, sizeof(text), "%s: %s: %.2000s", a->command, what, got ? got : "(null)");
    CU_assertImplementation(CU_FALSE, __LINE__, text, __FILE__, "", CU_FALSE);
}

static bool begins(const char *text, const char *with)
{
    return text && strncmp(text, with, strlen(with)) == 0;
}

static void expect_line(const struct attempt *a, const cJSON *entry)
{
    const char *line = str_at(entry, "stdout");
    const char *want = a->denied ? "DENIED EPERM\n" : a->says;
    bool ok = want ? begins(line, want) : begins(line, "DENIED ") || begins(line, "CONTAINED ");
    if (num_at(entry, "exitCode") != 0 || !ok)
        fail(a, want ? want : "neither DENIED nor CONTAINED", line && *line ? line : str_at(entry, "error"));
}

/* {"<name>":N} with N > 0 for that name and nothing else; {} for NULL. */
static void expect_count(const struct attempt *a, const cJSON *entry, const char *member, const char *name)
{
    const cJSON *counts = json_at(entry, member);
    bool ok = cJSON_IsObject(counts) && cJSON_GetArraySize(counts) == (name ? 1 : 0);
    if (ok && name)
        ok = cJSON_GetNumberValue(cJSON_GetObjectItemCaseSensitive(counts, name)) > 0;
    if (!ok) {
        char *text = counts ? cJSON_PrintUnformatted(counts) : NULL;
        fail(a, member, text);
        free(text);
    }
}

/* What processes.jsonl says of one process: a flag, or a member. */
static bool says(const cJSON *line, const char *what)
{
    const cJSON *flag;
    cJSON_ArrayForEach(flag, json_at(line, "flags"))
    {
        if (cJSON_IsString(flag) && strcmp(flag->valuestring, what) == 0)
            return true;
    }
    return cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(line, what));
}

/* The lines of a command, for a failure's text. Static. */
static const char *lines_of(const struct jsonl *processes, size_t command)
{
    static char text[2048];
    size_t at = 0;
    text[0] = '\0';
    for (size_t i = 0; i < processes->n && at < sizeof(text); i++) {
        if (num_at(processes->obj[i], "commandId") == (double)command)
            at += (size_t)snprintf(text + at, sizeof(text) - at, "%s ", processes->line[i]);
    }
    return text;
}

/* The program itself must be among the processes of its command, and what a->noted says of one of them. */
static void expect_processes(const struct attempt *a, const struct jsonl *processes, size_t command)
{
    char exe[64];
    bool seen = false, noted = !a->noted;
    snprintf(exe, sizeof(exe), "/escape/%.*s", (int)strcspn(a->command, " "), a->command);
    for (size_t i = 0; i < processes->n; i++) {
        const cJSON *line = processes->obj[i];
        if (num_at(line, "commandId") != (double)command || !begins(str_at(line, "type"), "exec"))
            continue;
        const char *path = str_at(line, "exe");
        seen = seen || (path && strcmp(path, exe) == 0);
        if (!a->noted && !a->unsure && cJSON_GetArraySize(json_at(line, "flags")) > 0)
            fail(a, "flags", processes->line[i]);
        noted = noted || says(line, a->noted);
    }
    if (!seen)
        fail(a, "not among the processes", exe);
    if (!noted)
        fail(a, a->noted, lines_of(processes, command));
}

/* Neither the secret nor its digest is in any file of the bundle. */
static void expect_no_secret(const struct attempt *a, const struct record *rec)
{
    char *out = NULL;
    if (RUN_ARGV(NULL, &out, "grep", "-rlF", "-e", secret, "-e", secret_sha256, rec->dir) != 1)
        fail(a, "root's secret is in the bundle", out);
    free(out);
}

/* Run attempts[0..n) until one fails, look at its record. Returns how many ran. */
static size_t run_attempts(const struct tenant *t, const struct attempt *attempts, size_t n)
{
    struct reply r = {0};
    struct record rec;
    struct jsonl processes;
    char *commands = commands_of(attempts, n);
    ASSERT_INT(stack_run(stack, t, commands, &r), 200);
    free(commands);
    ASSERT_TRUE(record_open(stack, t, reply_str(&r, "runId"), &rec));
    reply_done(&r);
    size_t ran = rec.commands.n;
    if (ran == 0)
        fail(&attempts[0], "nothing ran", str_at(rec.metadata, "errorMessage"));
    if (!jsonl_read(rec.dir, "processes.jsonl", &processes))
        processes = (struct jsonl){0};
    for (size_t i = 0; i < ran; i++) {
        expect_line(&attempts[i], rec.commands.obj[i]);
        expect_count(&attempts[i], rec.commands.obj[i], "denied", attempts[i].denied);
        expect_count(&attempts[i], rec.commands.obj[i], "observed", attempts[i].observed);
        expect_processes(&attempts[i], &processes, i);
    }
    const char *diff_error = str_at(jsonl_find(&rec.events, "RunDiffReady", 0), "error");
    if (diff_error)
        fail(&attempts[0], "no diff", diff_error);
    if (!cJSON_IsTrue(json_at(rec.metadata, "volumeMatch")))
        fail(&attempts[0], "volumeMatch", "is not true");
    if (arpctl_verify(rec.zip, keyring_file(stack), NULL) != 0)
        fail(&attempts[0], "arpctl verify", "refuses the bundle");
    expect_no_secret(&attempts[0], &rec);
    jsonl_done(&processes);
    record_done(&rec);
    return ran;
}

/* Id of the container and when it was started: the agent is its PID 1. */
static void agent_life(const struct tenant *t, char ret[160])
{
    const char *life = DOCKER(
        "inspect", "-f", "{{.Id}} {{.State.StartedAt}} {{.RestartCount}}", docker_container(t->workspace_id));
    snprintf(ret, 160, "%s", life ? life : "none");
}

/* Run the attempts of a group, at most step in one run, those after a failed one in a further run. */
static void expect_contained(const struct tenant *t, const struct attempt *attempts, size_t n, size_t step)
{
    char before[160], after[160];
    run_plain(t, "[[\"true\"]]");
    agent_life(t, before);
    for (size_t i = 0; i < n;) {
        size_t ran = run_attempts(t, attempts + i, n - i < step ? n - i : step);
        ASSERT_TRUE(ran > 0);
        ASSERT_INT(docker_workload_count(t->workspace_id), 0);
        i += ran;
    }
    /* The mark of a trap that somebody else than the one who set it stepped into. */
    run_plain(t, "[[\"test\",\"!\",\"-e\",\"/tmp/escaped\"]]");
    agent_life(t, after);
    ASSERT_STR(after, before);
}
#define COUNT(a)        (sizeof(a) / sizeof((a)[0]))
#define EXPECT_GROUP(a) expect_contained(&tenant, (a), COUNT(a), COUNT(a))

static void mounts_stay_as_they_are(void)
{
    EXPECT_GROUP(attempts_mounts);
}

static void no_namespace_is_made_or_entered(void)
{
    EXPECT_GROUP(attempts_namespaces);
}

static void agent_is_out_of_reach(void)
{
    EXPECT_GROUP(attempts_agent);
}

static void launcher_is_out_of_reach(void)
{
    EXPECT_GROUP(attempts_launcher);
}

static void signals_reach_neither(void)
{
    EXPECT_GROUP(attempts_signals);
}

static void kernel_surface_is_shut(void)
{
    EXPECT_GROUP(attempts_kernel);
}

static void credentials_and_sandbox_can_not_be_changed(void)
{
    EXPECT_GROUP(attempts_credentials);
}

static void evidence_is_out_of_reach(void)
{
    struct tenant t;
    ASSERT_TRUE(stack_tenant(stack, "evidence", -1, &t));
    expect_contained(&t, attempts_evidence, COUNT(attempts_evidence), COUNT(attempts_evidence));
}

static void traps_for_the_agent_catch_nothing(void)
{
    struct tenant t;
    ASSERT_TRUE(stack_tenant(stack, "traps", -1, &t));
    expect_contained(&t, attempts_traps, COUNT(attempts_traps), 1);
}

static void system_files_are_read_only(void)
{
    EXPECT_GROUP(attempts_system);
}

static void network_leads_nowhere(void)
{
    EXPECT_GROUP(attempts_network);
}

static void exhaustion_ends_at_the_workspace(void)
{
    struct tenant t;
    ASSERT_TRUE(stack_tenant(stack, "exhaustion", -1, &t));
    expect_contained(&t, attempts_exhaustion, COUNT(attempts_exhaustion), 1);
}

/* --- the attempts themselves --------------------------------------------------------------------------------------------------- */

/* Where nothing holds them, attempts must say that they escaped: an attempt that can't succeed shows nothing by failing. */
static void attempts_succeed_where_nothing_holds_them(void)
{
    static const char *const programs[] = {"mount", "remount", "chroot", "open_tree", "fsopen", "fspick",
        "mount_setattr", "unshare user", "unshare net", "clone_namespace pid", "clone3_namespace",
        "ptrace_seize agent", "robust_list agent", "nice agent", "affinity agent", "proc_open agent mem",
        "proc_open agent environ", "proc_link agent root", "proc_write agent", "signal agent CHLD", "keyctl",
        "add_key", "bpf", "modify_ldt", "sethostname", "setdomainname", "kernel_log", "personality",
        "packet_socket", "raw_socket", "raw_socket_flags", "netlink_audit", "setuid 0", "setgid", "setgroups",
        "setfsuid", "capability_bounding", "capability_held", "no_new_privs_off", "seccomp_off",
        "seccomp_listener", "dumpable_off", "root_secret", "core_pattern", "own_memory", "sysctl_sweep",
        "root_sweep", "agent_binary", "preload", "mknod_block", "mknod_character", "umount"};
    static const char control[] = "for a in \"$@\"; do said=$(/escape/$a); case $said in ESCAPED*) ;; *) "
                                  "echo \"$a: $said\";; esac; done";
    /* As much as an engine gives without its flag for everything, which asks for capabilities the machine may not have. */
    static const char *const engine[] = {"docker", "run", "--rm", "--label", "arp.test=escape", "--network",
        "none", "--security-opt", "seccomp=unconfined", "--security-opt", "systempaths=unconfined",
        "--cap-add", "SYS_ADMIN", "--cap-add", "SYS_PTRACE", "--cap-add", "SYS_NICE", "--cap-add",
        "SYS_RAWIO", "--cap-add", "SYSLOG", "--cap-add", "NET_ADMIN", "--entrypoint", "/bin/sh"};
    const char *args[COUNT(engine) + COUNT(programs) + 8];
    char *out = NULL;
    size_t at = 0;
    for (size_t i = 0; i < COUNT(engine); i++)
        args[at++] = engine[i];
    args[at++] = image;
    args[at++] = "-c";
    args[at++] = control;
    args[at++] = "sh";
    for (size_t i = 0; i < COUNT(programs); i++)
        args[at++] = programs[i];
    args[at] = NULL;
    process_run(args, NULL, &out);
    ASSERT_STR(out, "");
    free(out);
}

TEST_SUITE_WITH(escape_test, set_up, tear_down, TEST(attempts_succeed_where_nothing_holds_them),
    TEST(mounts_stay_as_they_are), TEST(no_namespace_is_made_or_entered), TEST(agent_is_out_of_reach),
    TEST(launcher_is_out_of_reach), TEST(signals_reach_neither), TEST(kernel_surface_is_shut),
    TEST(credentials_and_sandbox_can_not_be_changed), TEST(evidence_is_out_of_reach),
    TEST(traps_for_the_agent_catch_nothing), TEST(system_files_are_read_only), TEST(network_leads_nowhere),
    TEST(exhaustion_ends_at_the_workspace))
