/*
 * Metadata: see metadata.h.
 */
#include "agent/metadata.h"

#include <fcntl.h>
#include <glob.h>
#include <gnu/libc-version.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "agent/landlock.h"
#include "agent/sandbox.h"
#include "agent/treekill.h"
#include "shared/clock.h"
#include "shared/fd.h"
#include "shared/json.h"
#include "shared/limits.h"
#include "shared/utf8.h"

#define VERSION_TEXT_MAX 200

static const struct tool {
    const char *name;
    const char *flag;
} tools[] = {{"bash", "--version"}, {"cargo", "--version"}, {"clang", "--version"}, {"cmake", "--version"},
    {"curl", "--version"}, {"gcc", "--version"}, {"git", "--version"}, {"go", "version"},
    {"java", "-version"}, {"make", "--version"}, {"node", "--version"}, {"perl", "--version"},
    {"php", "--version"}, {"python3", "--version"}, {"ruby", "--version"}, {"rustc", "--version"}};

void agent_info_init(struct agent_info *info)
{
    *info = (struct agent_info){0};
    cleanup_fd int exe = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    if (exe < 0 || sha256_fd(exe, info->sha256, NULL, NULL) != 0)
        info->sha256[0] = 0;
    cleanup_buf struct buf status;
    buf_init(&status, 16384);
    cleanup_fd int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
    if (fd >= 0 && fd_read_all(fd, &status, NULL) == 0) {
        int nnp = 0;
        const char *s = strstr(buf_str(&status), "\nCapEff:");
        if (s)
            sscanf(s, "\nCapEff: %19s", info->cap_eff);
        s = strstr(buf_str(&status), "\nNoNewPrivs:");
        if (s && sscanf(s, "\nNoNewPrivs: %d", &nnp) == 1)
            info->container_nnp = nnp == 1;
        s = strstr(buf_str(&status), "\nSeccomp:");
        if (s)
            sscanf(s, "\nSeccomp: %d", &info->container_seccomp);
    }
    info->landlock_abi = landlock_abi();
}

static bool is_installed(const char *search_path, const char *name)
{
    char path[4400];
    for (const char *p = search_path; *p;) {
        size_t n = strcspn(p, ":");
        snprintf(path, sizeof(path), "%.*s/%s", (int)n, p, name);
        if (access(path, X_OK) == 0)
            return true;
        p += n + (p[n] == ':');
    }
    return false;
}

/* Read up to size bytes until end of file or the time is over. */
static size_t read_some(int fd, char *ret, size_t size, int64_t until_ns)
{
    size_t len = 0;
    while (len < size) {
        int64_t left = (until_ns - clock_mono_ns()) / 1000000;
        struct pollfd p = {.fd = fd, .events = POLLIN};
        if (left <= 0 || poll(&p, 1, (int)left) <= 0)
            break;
        ssize_t n = read(fd, ret + len, size - len);
        if (n <= 0)
            break;
        len += (size_t)n;
    }
    return len;
}

/* The first line that is not empty. */
static void copy_first_line(const char *text, size_t len, char ret[VERSION_TEXT_MAX + 1])
{
    size_t from = 0;
    while (from < len && (unsigned char)text[from] <= 0x20)
        from++;
    size_t n = 0;
    while (from + n < len && (unsigned char)text[from + n] >= 0x20)
        n++;
    n = n > 0 ? utf8_cut(text + from, len - from, n) : 0;
    memcpy(ret, text + from, n);
    ret[n] = 0;
}

/* First line of what the tool prints on either stream, "" when it says nothing in time. */
static void ask_tool(const struct metadata_spec *s, const struct tool *t, char ret[VERSION_TEXT_MAX + 1])
{
    ret[0] = 0;
    int out[2];
    cleanup_fd int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (null < 0 || pipe2(out, O_CLOEXEC) < 0)
        return;
    const char *argv[] = {t->name, t->flag, NULL};
    struct launch launch = {
        .argv = argv, .cwd_fd = s->cwd_fd, .in_fd = null, .out_fd = out[1], .err_fd = out[1]};
    struct child child;
    struct exec_outcome outcome;
    struct recorder_tally tally;
    char text[VERSION_TEXT_MAX];
    int rc = box_spawn(s->box, 0, &launch, &child, &outcome, NULL);
    close(out[1]);
    if (rc == 0 && outcome.stage == EXEC_STARTED) {
        int64_t until = clock_mono_ns() + METADATA_TOOL_TIMEOUT_MS * 1000000ll;
        size_t len = read_some(out[0], text, sizeof(text), until);
        copy_first_line(text, len, ret);
        tree_kill_wait(SANDBOX_UID, 1000, NULL);
        reaper_wait(s->reaper, &child, 1000);
        reaper_forget(s->reaper, &child);
    }
    recorder_finish(box_recorder(s->box), &tally);
    process_records_free(recorder_take(box_recorder(s->box)));
    close(out[0]);
}

static void put_tools(const struct metadata_spec *s, struct json *j)
{
    json_key(j, "tools");
    json_obj_open(j);
    for (size_t i = 0; i < sizeof(tools) / sizeof(tools[0]); i++) {
        char version[VERSION_TEXT_MAX + 1];
        if (!is_installed(s->env->path, tools[i].name))
            continue;
        ask_tool(s, &tools[i], version);
        json_kstr(j, tools[i].name, version[0] ? version : NULL);
    }
    json_obj_close(j);
}

static void put_engines(const struct metadata_spec *s, struct json *j)
{
    json_key(j, "engines");
    json_arr_open(j);
    for (int i = 0; i < ENGINES; i++) {
        struct engine_info *e = &s->engines[i];
        char version[VERSION_TEXT_MAX + 1];
        struct tool self = {.name = e->path, .flag = "--version"};
        if (e->path[0] && !e->version[0]) {
            ask_tool(s, &self, version);
            size_t n = utf8_cut(version, strlen(version), sizeof(e->version) - 1);
            snprintf(e->version, sizeof(e->version), "%.*s", (int)n, version);
        }
        json_obj_open(j);
        engine_info_put(j, e);
        json_kbool(j, "available", e->available);
        json_kstr(j, "reason", e->available ? NULL : e->reason);
        json_obj_close(j);
    }
    json_arr_close(j);
}

/* The image's C library, which is not the agent's own: what getconf(1) says, or musl by its loader. null for an image with none. */
static void put_libc(const struct metadata_spec *s, struct json *j)
{
    static const struct tool getconf = {"getconf", "GNU_LIBC_VERSION"};
    char version[VERSION_TEXT_MAX + 1] = "";
    glob_t found = {0};
    if (is_installed(s->env->path, getconf.name))
        ask_tool(s, &getconf, version);
    if (strncmp(version, "glibc", 5) != 0) {
        bool musl = glob("/lib/ld-musl-*.so.1", GLOB_NOSORT, NULL, &found) == 0;
        strcpy(version, musl ? "musl" : "");
        globfree(&found);
    }
    json_kstr(j, "libc", version[0] ? version : NULL);
}

/* ID, VERSION_ID and PRETTY_NAME of os-release(5). */
static void put_os(struct json *j)
{
    static const struct {
        const char *name, *key;
    } wanted[] = {{"ID=", "id"}, {"VERSION_ID=", "version"}, {"PRETTY_NAME=", "name"}};
    cleanup_buf struct buf text;
    buf_init(&text, 65536);
    cleanup_fd int fd = open("/etc/os-release", O_RDONLY | O_CLOEXEC);
    json_key(j, "os");
    json_obj_open(j);
    if (fd >= 0 && fd_read_all(fd, &text, NULL) == 0) {
        for (const char *line = buf_str(&text); *line;) {
            size_t n = strcspn(line, "\n");
            for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
                size_t k = strlen(wanted[i].name);
                if (n < k || strncmp(line, wanted[i].name, k) != 0)
                    continue;
                size_t quoted = n >= k + 2 && line[k] == '"' && line[n - 1] == '"';
                json_kstrn(j, wanted[i].key, line + k + quoted, n - k - 2 * quoted);
            }
            line += n + (line[n] == '\n');
        }
    }
    json_obj_close(j);
}

static void put_sandbox(const struct metadata_spec *s, struct json *j)
{
    const struct agent_info *info = s->info;
    const struct sandbox_layers *l = box_layers(s->box);
    json_key(j, "sandbox");
    json_obj_open(j);
    json_kbool(j, "uidSeparation", l->uid);
    json_kbool(j, "seccomp", l->seccomp);
    json_kbool(j, "noNewPrivs", l->no_new_privs);
    json_key(j, "layers");
    sandbox_layers_put(j, l);
    json_kint(j, "landlockAbi", info->landlock_abi);
    json_key(j, "profiles");
    json_arr_open(j);
    for (int p = 0; p < SECCOMP_PROFILES; p++)
        json_str(j, seccomp_profile_name((enum seccomp_profile)p));
    json_str(j, "custom");
    json_arr_close(j);
    sandbox_recorder_put(j, l);
    json_key(j, "container");
    json_obj_open(j);
    json_kstr(j, "capEff", info->cap_eff);
    json_kbool(j, "noNewPrivs", info->container_nnp);
    json_kint(j, "seccompMode", info->container_seccomp);
    json_obj_close(j);
    json_obj_close(j);
}

int metadata_collect(const struct metadata_spec *s, struct buf *out, struct arp_err *err)
{
    struct utsname u;
    struct json j;
    memset(&u, 0, sizeof(u));
    uname(&u);
    json_init(&j, out);
    json_obj_open(&j);
    put_os(&j);
    json_kstr(&j, "kernel", u.release);
    json_kstr(&j, "arch", u.machine);
    put_libc(s, &j);
    json_key(&j, "agent");
    json_obj_open(&j);
    json_kstr(&j, "version", ARP_VERSION);
    json_kdigest(&j, "sha256", s->info->sha256);
    json_kstr(&j, "libc", gnu_get_libc_version());
    json_obj_close(&j);
    json_key(&j, "image");
    json_obj_open(&j);
    json_kstr(&j, "name", s->info->image_name[0] ? s->info->image_name : NULL);
    json_kstr(&j, "digest", s->info->image_digest[0] ? s->info->image_digest : NULL);
    json_obj_close(&j);
    put_tools(s, &j);
    put_sandbox(s, &j);
    put_engines(s, &j);
    json_obj_close(&j);
    return buf_error(out, err);
}
