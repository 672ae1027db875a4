#include "orchestrator/runtime/container_spec.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "orchestrator/runtime/container_seccomp.h"
#include "shared/hash.h"
#include "shared/json.h"

/* Why each: SETUID, SETGID become uid 1000 for commands; KILL end them; CHOWN give them their folders; DAC_READ_SEARCH read what they
 * made private when hashing artifacts; SETPCAP empty the bounding set at start, after which the agent drops it. */
static const char *const caps[] = {"SETUID", "SETGID", "KILL", "CHOWN", "DAC_READ_SEARCH", "SETPCAP"};
#define N_CAPS (sizeof(caps) / sizeof(caps[0]))

/* Where the embedded resolver sends what it does not know: nowhere. Without this line engines before 23.0.11 forward a container's
 * look-ups from the host's network when the host's resolver is a loopback address (CVE-2024-29018): a way out of an internal network. */
#define NO_DNS "127.0.0.1"
/* The engine leaves such a look-up unanswered; without these a program waits 10 s for each name instead of 1 s. */
#define DNS_OPTIONS "[\"timeout:1\",\"attempts:1\"]"

static void write_strings(struct json *j, const char *key, const char *const *items, size_t n)
{
    json_key(j, key);
    json_arr_open(j);
    for (size_t i = 0; i < n; i++)
        json_str(j, items[i]);
    json_arr_close(j);
}

static void env_token(const struct container_spec *s, struct buf *out)
{
    buf_printf(out, "ARP_AGENT_TOKEN=%s", s->token);
}

static void env_image_name(const struct container_spec *s, struct buf *out)
{
    buf_printf(out, "ARP_IMAGE_NAME=%s", s->image_name);
}

static void env_image_digest(const struct container_spec *s, struct buf *out)
{
    buf_printf(out, "ARP_IMAGE_DIGEST=%s", s->image_digest);
}

static void (*const env_writers[])(const struct container_spec *, struct buf *) = {
    env_token, env_image_name, env_image_digest};
#define N_ENV (sizeof(env_writers) / sizeof(env_writers[0]))

static void write_env(const struct container_spec *s, struct json *j)
{
    json_key(j, "Env");
    json_arr_open(j);
    for (size_t i = 0; i < N_ENV; i++) {
        cleanup_buf struct buf line;
        buf_init(&line, 1024);
        env_writers[i](s, &line);
        json_str(j, buf_str(&line));
    }
    json_arr_close(j);
}

#define SECCOMP_OPTION "seccomp="

/* The engine answers the option as it was given. */
static void option_seccomp(struct buf *out)
{
    buf_init(out, sizeof(SECCOMP_OPTION) + CONTAINER_SECCOMP_MAX);
    buf_append_str(out, SECCOMP_OPTION);
    container_seccomp_write(out, NULL);
}

static void write_security(struct json *j)
{
    cleanup_buf struct buf seccomp;
    option_seccomp(&seccomp);
    json_key(j, "SecurityOpt");
    json_arr_open(j);
    json_str(j, "no-new-privileges");
    json_str(j, buf_str(&seccomp));
    json_arr_close(j);
}

/* Writable places beside the volume live in memory and count against the container's limit; their own size keeps one from
 * taking it all. Docker mounts tmpfs noexec unless told otherwise; compilers run what they make in /tmp. */
static void write_tmpfs(const struct container_spec *s, struct json *j)
{
    char options[128];
    json_key(j, "Tmpfs");
    json_obj_open(j);
    snprintf(options, sizeof(options), "rw,exec,nosuid,nodev,mode=1777,size=%lld",
        (long long)(s->memory_bytes / 2));
    json_kstr(j, "/tmp", options);
    snprintf(options, sizeof(options), "rw,exec,nosuid,nodev,mode=0755,uid=1000,gid=1000,size=%lld",
        (long long)(s->memory_bytes / 4));
    json_kstr(j, "/home/arp", options);
    json_kstr(j, "/run", "rw,noexec,nosuid,nodev,mode=0755,size=16777216");
    json_obj_close(j);
}

static void write_mounts_and_logs(const struct container_spec *s, struct json *j)
{
    json_key(j, "Mounts");
    json_arr_open(j);
    json_obj_open(j);
    json_kstr(j, "Type", "volume");
    json_kstr(j, "Source", s->volume_name);
    json_kstr(j, "Target", "/workspace");
    json_kraw(j, "VolumeOptions", "{\"NoCopy\":true}"); /* the agent lays the volume out, not the image */
    json_obj_close(j);
    json_arr_close(j);
    json_kraw(j, "LogConfig", "{\"Type\":\"json-file\",\"Config\":{\"max-size\":\"1m\",\"max-file\":\"1\"}}");
}

static void write_host_config(const struct container_spec *s, struct json *j)
{
    static const char *const drop[] = {"ALL"};
    static const char *const dns[] = {NO_DNS};
    json_key(j, "HostConfig");
    json_obj_open(j);
    write_strings(j, "CapDrop", drop, 1);
    write_strings(j, "CapAdd", caps, N_CAPS);
    write_security(j);
    json_kbool(j, "ReadonlyRootfs", true);
    json_kint(j, "Memory", s->memory_bytes);
    json_kint(j, "MemorySwap", s->memory_bytes);
    json_kint(j, "NanoCpus", s->nano_cpus);
    json_kint(j, "PidsLimit", s->pids_limit);
    json_kstr(j, "IpcMode", "private");
    json_kstr(j, "NetworkMode", s->network_name);
    write_strings(j, "Dns", dns, 1);
    json_kraw(j, "DnsOptions", DNS_OPTIONS);
    json_kraw(j, "Ulimits", "[{\"Name\":\"core\",\"Soft\":0,\"Hard\":0}]");
    json_kraw(j, "RestartPolicy", "{\"Name\":\"no\"}");
    write_tmpfs(s, j);
    write_mounts_and_logs(s, j);
    json_obj_close(j);
}

int container_spec_write(const struct container_spec *s, struct buf *out, struct arp_err *err)
{
    static const char *const entry[] = {"/opt/arp/bin/arp-agent"};
    struct json j;
    json_init(&j, out);
    json_obj_open(&j);
    json_kstr(&j, "Image", s->image_id);
    write_strings(&j, "Entrypoint", entry, 1);
    json_kraw(&j, "Cmd", "[]");
    json_kstr(&j, "User", "0:0"); /* the agent is root inside, whatever the image says; commands are not */
    json_kstr(&j, "WorkingDir", "/");
    json_kraw(&j, "Healthcheck", "{\"Test\":[\"NONE\"]}");
    write_env(s, &j);
    json_key(&j, "Labels");
    json_obj_open(&j);
    json_kstr(&j, LABEL_INSTANCE, s->instance_id);
    json_kstr(&j, LABEL_WORKSPACE, s->workspace_id);
    if (s->environment_id)
        json_kstr(&j, LABEL_ENVIRONMENT, s->environment_id);
    json_obj_close(&j);
    write_host_config(s, &j);
    json_obj_close(&j);
    return buf_error(out, err);
}

/* --- readback --- */

static const cJSON *get(const cJSON *obj, const char *name)
{
    return cJSON_GetObjectItemCaseSensitive(obj, name);
}

static const char *cap_name(const char *name)
{
    return strncmp(name, "CAP_", 4) == 0 ? name + 4 : name;
}

/* True when list holds exactly the strings of want, in any order, each once. */
static bool same_caps(const cJSON *list, const char *const *want, size_t n)
{
    if (!cJSON_IsArray(list) || (size_t)cJSON_GetArraySize(list) != n)
        return false;
    for (size_t i = 0; i < n; i++) {
        bool found = false;
        const cJSON *item;
        cJSON_ArrayForEach(item, list) found |=
            cJSON_IsString(item) && strcmp(cap_name(item->valuestring), want[i]) == 0;
        if (!found)
            return false;
    }
    return true;
}

static bool has_string(const cJSON *list, const char *want)
{
    const cJSON *item;
    cJSON_ArrayForEach(
        item, list) if (cJSON_IsString(item) && strcmp(item->valuestring, want) == 0) return true;
    return false;
}

/* Absent, null and empty are the same to the engine. */
static bool is_empty(const cJSON *v)
{
    if (!v || cJSON_IsNull(v) || cJSON_IsFalse(v))
        return true;
    if (cJSON_IsString(v))
        return v->valuestring[0] == '\0';
    return (cJSON_IsArray(v) || cJSON_IsObject(v)) && v->child == NULL;
}

static bool is_string(const cJSON *v, const char *want)
{
    return cJSON_IsString(v) && strcmp(v->valuestring, want) == 0;
}

static int differs(struct arp_err *err, const char *what)
{
    return arp_fail(
        err, ARP_E_CONFLICT, 0, "container engine did not apply the workspace's settings: %s", what);
}

static int check_identity(const struct container_spec *s, const cJSON *doc, struct arp_err *err)
{
    const cJSON *config = get(doc, "Config");
    const cJSON *labels = get(config, "Labels");
    if (!is_string(get(doc, "Image"), s->image_id))
        return differs(err, "made from another image");
    if (!is_string(get(labels, LABEL_INSTANCE), s->instance_id) ||
        !is_string(get(labels, LABEL_WORKSPACE), s->workspace_id))
        return differs(err, "labels of another owner");
    const cJSON *environment = get(labels, LABEL_ENVIRONMENT);
    if (s->environment_id ? !is_string(environment, s->environment_id) : environment != NULL)
        return differs(err, "made for another environment");
    for (size_t i = 0; i < N_ENV; i++) {
        cleanup_buf struct buf line;
        buf_init(&line, 1024);
        env_writers[i](s, &line);
        if (!has_string(get(config, "Env"), buf_str(&line)))
            return differs(err, "environment of the agent");
    }
    const cJSON *entry = get(config, "Entrypoint");
    if (cJSON_GetArraySize(entry) != 1 || !has_string(entry, "/opt/arp/bin/arp-agent") ||
        !is_empty(get(config, "Cmd")) || !is_string(get(config, "User"), "0:0"))
        return differs(err, "entry point or user");
    return 0;
}

static bool is_no_new_privileges(const cJSON *item)
{
    return is_string(item, "no-new-privileges") || is_string(item, "no-new-privileges:true");
}

/* Exactly our two options, the profile byte for byte. */
static int check_security(const cJSON *options, struct arp_err *err)
{
    cleanup_buf struct buf seccomp;
    bool no_new_privileges = false, has_seccomp = false;
    const cJSON *item;
    option_seccomp(&seccomp);
    cJSON_ArrayForEach(item, options)
    {
        if (is_no_new_privileges(item))
            no_new_privileges = true;
        else if (is_string(item, buf_str(&seccomp)))
            has_seccomp = true;
        else
            return differs(err, "a security option that was not asked for");
    }
    if (!no_new_privileges)
        return differs(err, "no-new-privileges");
    return has_seccomp ? 0 : differs(err, "seccomp profile");
}

static int check_privileges(const cJSON *host, struct arp_err *err)
{
    static const char *const all[] = {"ALL"};
    /* Sharing any of these with the host would undo the rest. */
    static const char *const none[] = {"Privileged", "Binds", "Devices", "DeviceRequests",
        "DeviceCgroupRules", "PidMode", "UTSMode", "VolumesFrom", "Links"};
    if (!same_caps(get(host, "CapDrop"), all, 1) || !same_caps(get(host, "CapAdd"), caps, N_CAPS))
        return differs(err, "capabilities");
    int rc = check_security(get(host, "SecurityOpt"), err);
    if (rc)
        return rc;
    if (!cJSON_IsTrue(get(host, "ReadonlyRootfs")))
        return differs(err, "read-only root");
    for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++)
        if (!is_empty(get(host, none[i])))
            return differs(err, none[i]);
    if (!is_string(get(host, "IpcMode"), "private"))
        return differs(err, "IpcMode");
    return 0;
}

static int check_number(const cJSON *host, const char *name, int64_t want, struct arp_err *err)
{
    return json_get_int(host, name, -1) == want ? 0 : differs(err, name);
}

static int check_limits(const struct container_spec *s, const cJSON *host, struct arp_err *err)
{
    int rc = check_number(host, "Memory", s->memory_bytes, err);
    if (rc == 0)
        rc = check_number(host, "NanoCpus", s->nano_cpus, err);
    if (rc == 0)
        rc = check_number(host, "PidsLimit", s->pids_limit, err);
    /* A kernel without swap accounting answers -1; memory itself is limited all the same. The report says which. */
    if (rc == 0 && json_get_int(host, "MemorySwap", 0) != -1)
        rc = check_number(host, "MemorySwap", s->memory_bytes, err);
    return rc;
}

static int check_mounts_and_network(const struct container_spec *s, const cJSON *doc, struct arp_err *err)
{
    const cJSON *mount;
    int volumes = 0;
    cJSON_ArrayForEach(mount, get(doc, "Mounts"))
    {
        if (is_string(get(mount, "Type"), "tmpfs"))
            continue;
        if (!is_string(get(mount, "Type"), "volume") || !is_string(get(mount, "Name"), s->volume_name) ||
            !is_string(get(mount, "Destination"), "/workspace") || !cJSON_IsTrue(get(mount, "RW")))
            return differs(err, "a mount that was not asked for");
        volumes++;
    }
    if (volumes != 1)
        return differs(err, "volume");
    const cJSON *networks = get(get(doc, "NetworkSettings"), "Networks");
    if (!is_string(get(get(doc, "HostConfig"), "NetworkMode"), s->network_name) ||
        cJSON_GetArraySize(networks) != 1 || !get(networks, s->network_name))
        return differs(err, "network");
    return 0;
}

int container_spec_check(const struct container_spec *s, const cJSON *doc, struct arp_err *err)
{
    const cJSON *host = get(doc, "HostConfig");
    int rc = check_identity(s, doc, err);
    if (rc == 0)
        rc = check_privileges(host, err);
    if (rc == 0)
        rc = check_limits(s, host, err);
    if (rc == 0)
        rc = check_mounts_and_network(s, doc, err);
    return rc;
}

static void report_caps(struct json *j, const char *key, const cJSON *list)
{
    const cJSON *item;
    json_key(j, key);
    json_arr_open(j);
    cJSON_ArrayForEach(item, list) if (cJSON_IsString(item)) json_str(j, cap_name(item->valuestring));
    json_arr_close(j);
}

/* What the engine says it loads, by name where it is ours, and its digest. */
static void report_seccomp(struct json *j, const cJSON *options)
{
    cleanup_buf struct buf ours;
    char sha256[SHA256_HEX_LEN + 8] = "sha256:";
    const char *found = NULL;
    const cJSON *item;
    option_seccomp(&ours);
    cJSON_ArrayForEach(item, options)
    {
        if (cJSON_IsString(item) && strncmp(item->valuestring, SECCOMP_OPTION, strlen(SECCOMP_OPTION)) == 0)
            found = item->valuestring;
    }
    const char *name = !found ? "engine-default" : strcmp(found, buf_str(&ours)) == 0 ? "arp" : "other";
    if (found)
        sha256_hex_of(found + strlen(SECCOMP_OPTION), strlen(found) - strlen(SECCOMP_OPTION),
            sha256 + strlen("sha256:"));
    json_kstr(j, "seccomp", name);
    json_kstr(j, "seccompSha256", found ? sha256 : NULL);
}

int container_spec_report(const cJSON *doc, struct buf *out, struct arp_err *err)
{
    const cJSON *host = get(doc, "HostConfig");
    const cJSON *security = get(host, "SecurityOpt");
    struct json j;
    json_init(&j, out);
    json_obj_open(&j);
    report_caps(&j, "capDrop", get(host, "CapDrop"));
    report_caps(&j, "capAdd", get(host, "CapAdd"));
    bool no_new_privileges = false;
    const cJSON *item;
    cJSON_ArrayForEach(item, security) no_new_privileges |= is_no_new_privileges(item);
    json_kbool(&j, "noNewPrivileges", no_new_privileges);
    json_kbool(&j, "readonlyRootfs", json_get_bool(host, "ReadonlyRootfs", false));
    json_kint(&j, "memoryBytes", json_get_int(host, "Memory", 0));
    json_kint(&j, "memorySwapBytes", json_get_int(host, "MemorySwap", 0));
    json_kint(&j, "nanoCpus", json_get_int(host, "NanoCpus", 0));
    json_kint(&j, "pidsLimit", json_get_int(host, "PidsLimit", 0));
    json_kstr(&j, "network", json_get_str(host, "NetworkMode"));
    report_seccomp(&j, security);
    json_obj_close(&j);
    return buf_error(out, err);
}
