/*
 * OCI profile: see oci_profile.h.
 */
#include "shared/oci_profile.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shared/json.h"
#include "shared/limits.h"
#include "shared/oci_needs.h"
#include "shared/seccomp_names.h"

/* The native architecture as Docker's dialect names it in "arches". */
#if defined(__x86_64__)
#define NATIVE_GO "amd64"
#elif defined(__aarch64__)
#define NATIVE_GO "arm64"
#endif

/* "minKernel" up to here holds wherever commands run: the listener needs WAIT_KILLABLE_RECV. What asks for more can't be decided when a
 * profile is registered. */
#define KERNEL_MAJOR 5
#define KERNEL_MINOR 19

#define ERRNO_MAX 4095 /* MAX_ERRNO of the kernel */
#define COUNT(a)  (sizeof(a) / sizeof((a)[0]))

static const struct json_field profile_fields[] = {
    {"defaultAction", JSON_STRING, true},
    {"defaultErrnoRet", JSON_INT, false},
    {"architectures", JSON_ARRAY, false},
    {"archMap", JSON_ARRAY, false},
    {"syscalls", JSON_ARRAY, false},
};
static const struct json_field arch_fields[] = {
    {"architecture", JSON_STRING, true},
    {"subArchitectures", JSON_ARRAY, false},
};
static const struct json_field rule_fields[] = {
    {"names", JSON_ARRAY, false},
    {"name", JSON_STRING, false},
    {"action", JSON_STRING, true},
    {"errnoRet", JSON_INT, false},
    {"args", JSON_ARRAY, false},
    {"comment", JSON_STRING, false},
    {"includes", JSON_OBJECT, false},
    {"excludes", JSON_OBJECT, false},
};
static const struct json_field condition_fields[] = {
    {"index", JSON_INT, true},
    {"value", JSON_INT, true},
    {"valueTwo", JSON_INT, false},
    {"op", JSON_STRING, true},
};
static const struct json_field filter_fields[] = {
    {"caps", JSON_ARRAY, false},
    {"arches", JSON_ARRAY, false},
    {"minKernel", JSON_STRING, false},
};

/* By enum oci_action; KILL is an old name of KILL_THREAD. */
static const char *const action_names[] = {"SCMP_ACT_ALLOW", "SCMP_ACT_LOG", "SCMP_ACT_ERRNO",
    "SCMP_ACT_TRAP", "SCMP_ACT_KILL_THREAD", "SCMP_ACT_KILL_PROCESS"};
/* By enum oci_op. */
static const char *const op_names[] = {"SCMP_CMP_NE", "SCMP_CMP_LT", "SCMP_CMP_LE", "SCMP_CMP_EQ",
    "SCMP_CMP_GE", "SCMP_CMP_GT", "SCMP_CMP_MASKED_EQ"};

/* What is counted over all rules of a profile. */
struct budget {
    size_t names, conditions;
};

static const cJSON *get(const cJSON *obj, const char *name)
{
    const cJSON *v = cJSON_GetObjectItemCaseSensitive(obj, name);
    return cJSON_IsNull(v) ? NULL : v;
}

static int parse_action(const char *text, const char *path, enum oci_action *ret, struct arp_err *err)
{
    for (size_t i = 0; i < COUNT(action_names); i++) {
        if (strcmp(text, action_names[i]) == 0) {
            *ret = (enum oci_action)i;
            return 0;
        }
    }
    if (strcmp(text, "SCMP_ACT_KILL") == 0) {
        *ret = OCI_KILL_THREAD;
        return 0;
    }
    if (strcmp(text, "SCMP_ACT_NOTIFY") == 0 || strcmp(text, "SCMP_ACT_TRACE") == 0)
        return arp_fail_field(err, path,
            "action %s is not for profiles: the process recorder is the only listener and tracer of a run",
            text);
    return arp_fail_field(err, path, "no action '%.64s'", text);
}

/* The errno of an action: given, or EPERM as runc has it. Other actions carry none. */
static int parse_errno(const cJSON *obj, const char *member, enum oci_action action, const char *path,
    unsigned *ret, struct arp_err *err)
{
    int64_t n = json_get_int(obj, member, EPERM);
    *ret = 0;
    if (n < 1 || n > ERRNO_MAX)
        return arp_fail_field(err, path, "%s must be 1 to %d", member, ERRNO_MAX);
    if (action != OCI_ERRNO && get(obj, member))
        return arp_fail_field(err, path, "%s goes with SCMP_ACT_ERRNO only", member);
    if (action == OCI_ERRNO)
        *ret = (unsigned)n;
    return 0;
}

/* --- who a rule is for --- */

/* A list of strings; *ret_has: want is among them (NULL: there is any). An absent list holds nothing. */
static int look_for(const cJSON *list, const char *want, const char *path, bool *ret_has, struct arp_err *err)
{
    const cJSON *item;
    *ret_has = false;
    cJSON_ArrayForEach(item, list)
    {
        if (!cJSON_IsString(item))
            return arp_fail_field(err, path, "%s must hold strings", path);
        *ret_has |= !want || strcmp(item->valuestring, want) == 0;
    }
    return 0;
}

static int parse_min_kernel(const char *text, const char *path, struct arp_err *err)
{
    unsigned major, minor;
    char rest;
    if (sscanf(text, "%3u.%3u%c", &major, &minor, &rest) != 2)
        return arp_fail_field(err, path, "minKernel '%.16s' is not of the form MAJOR.MINOR", text);
    if (major > KERNEL_MAJOR || (major == KERNEL_MAJOR && minor > KERNEL_MINOR))
        return arp_fail_field(err, path, "minKernel over %d.%d is not supported: leave the condition out",
            KERNEL_MAJOR, KERNEL_MINOR);
    return 0;
}

/* One of "includes" and "excludes". *ret_caps, *ret_arch, *ret_kernel: names a capability / the native architecture / a kernel (which
 * we are newer than). *ret_arches: names architectures at all. */
struct rule_filter {
    bool caps, arches, native, kernel;
};

static int parse_filter(const cJSON *obj, const char *path, struct rule_filter *ret, struct arp_err *err)
{
    *ret = (struct rule_filter){0};
    if (!obj)
        return 0;
    int rc = json_check_object(obj, filter_fields, COUNT(filter_fields), path, err);
    if (rc == 0)
        rc = look_for(get(obj, "caps"), NULL, path, &ret->caps, err);
    if (rc == 0)
        rc = look_for(get(obj, "arches"), NULL, path, &ret->arches, err);
    if (rc == 0)
        rc = look_for(get(obj, "arches"), NATIVE_GO, path, &ret->native, err);
    const char *kernel = json_get_str(obj, "minKernel");
    ret->kernel = kernel && *kernel;
    if (rc == 0 && ret->kernel)
        rc = parse_min_kernel(kernel, path, err);
    return rc;
}

/* Whether the rule is for a command: see the header. As moby's profiles/seccomp/seccomp_linux.go. */
static int applies(const cJSON *obj, const char *path, bool *ret, struct arp_err *err)
{
    struct rule_filter in = {0}, out = {0};
    int rc = parse_filter(get(obj, "includes"), path, &in, err);
    if (rc == 0)
        rc = parse_filter(get(obj, "excludes"), path, &out, err);
    *ret = rc == 0 && !in.caps && (!in.arches || in.native) && !out.native && !out.kernel;
    return rc;
}

/* --- rules --- */

static bool name_ok(const char *s)
{
    size_t n = strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_");
    return n > 0 && n <= 64 && s[n] == 0;
}

static int add_name(struct oci_rule *r, const cJSON *item, const char *path, struct arp_err *err)
{
    if (!cJSON_IsString(item) || !name_ok(item->valuestring))
        return arp_fail_field(err, path, "names must be names of system calls");
    r->names[r->name_count] = strdup(item->valuestring);
    if (!r->names[r->name_count])
        return arp_fail(err, ARP_E_NOMEM, 0, "seccomp rule");
    r->name_count++;
    return 0;
}

static int parse_names(
    const cJSON *obj, const char *path, struct oci_rule *r, struct budget *used, struct arp_err *err)
{
    const cJSON *list = get(obj, "names");
    const cJSON *single = get(obj, "name");
    size_t n = (size_t)cJSON_GetArraySize(list);
    const cJSON *item;
    if ((n > 0) == (single != NULL))
        return arp_fail_field(err, path, "a rule needs either names or name");
    used->names += single ? 1 : n;
    if (used->names > LIMIT_SECCOMP_NAMES)
        return arp_fail_field(err, path, "a profile may hold %d names", LIMIT_SECCOMP_NAMES);
    r->names = calloc(n + 1, sizeof(char *));
    if (!r->names)
        return arp_fail(err, ARP_E_NOMEM, 0, "seccomp rule");
    if (single)
        return add_name(r, single, path, err);
    cJSON_ArrayForEach(item, list)
    {
        int rc = add_name(r, item, path, err);
        if (rc)
            return rc;
    }
    return 0;
}

static int parse_condition(const cJSON *obj, const char *path, struct oci_condition *ret, struct arp_err *err)
{
    int rc = json_check_object(obj, condition_fields, COUNT(condition_fields), path, err);
    if (rc)
        return rc;
    int64_t index = json_get_int(obj, "index", 0);
    int64_t value = json_get_int(obj, "value", 0);
    int64_t value_two = json_get_int(obj, "valueTwo", 0);
    if (index < 0 || index >= OCI_CONDITIONS_MAX)
        return arp_fail_field(err, path, "index must be 0 to %d", OCI_CONDITIONS_MAX - 1);
    if (value < 0 || value_two < 0)
        return arp_fail_field(err, path, "value and valueTwo must not be negative");
    size_t op = 0;
    while (op < COUNT(op_names) && strcmp(op_names[op], json_get_str(obj, "op")) != 0)
        op++;
    if (op == COUNT(op_names))
        return arp_fail_field(err, path, "no operator '%.64s'", json_get_str(obj, "op"));
    if (op != OCI_MASKED_EQ && value_two != 0)
        return arp_fail_field(err, path, "valueTwo goes with SCMP_CMP_MASKED_EQ only");
    if (op == OCI_MASKED_EQ && (value_two & ~value) != 0)
        return arp_fail_field(err, path, "valueTwo has bits that the mask in value has not: it never holds");
    *ret = (struct oci_condition){(unsigned)index, (enum oci_op)op, (uint64_t)value, (uint64_t)value_two};
    return 0;
}

/* runc reads two conditions on one argument as "or", against the specification; libseccomp can't say "and". */
static int parse_conditions(
    const cJSON *obj, const char *path, struct oci_rule *r, struct budget *used, struct arp_err *err)
{
    const cJSON *item;
    cJSON_ArrayForEach(item, get(obj, "args"))
    {
        struct oci_condition c;
        int rc = parse_condition(item, path, &c, err);
        if (rc)
            return rc;
        for (size_t i = 0; i < r->condition_count; i++) {
            if (r->conditions[i].index == c.index)
                return arp_fail_field(err, path, "two conditions on argument %u in one rule", c.index);
        }
        r->conditions[r->condition_count++] = c;
    }
    used->conditions += r->condition_count * r->name_count;
    if (used->conditions > LIMIT_SECCOMP_CONDITIONS)
        return arp_fail_field(err, path, "a profile may hold %d conditions", LIMIT_SECCOMP_CONDITIONS);
    return 0;
}

static void rule_done(struct oci_rule *r)
{
    for (size_t i = 0; r->names && i < r->name_count; i++)
        free(r->names[i]);
    free(r->names);
    *r = (struct oci_rule){0};
}

/* A rule that is not for commands is checked like any other and then dropped. */
static int parse_rule(
    const cJSON *obj, const char *path, struct oci_profile *p, struct budget *used, struct arp_err *err)
{
    bool wanted = false;
    struct oci_rule *r = &p->rules[p->rule_count++];
    int rc = json_check_object(obj, rule_fields, COUNT(rule_fields), path, err);
    if (rc == 0)
        rc = parse_action(json_get_str(obj, "action"), path, &r->action, err);
    if (rc == 0)
        rc = parse_errno(obj, "errnoRet", r->action, path, &r->sys_errno, err);
    if (rc == 0)
        rc = parse_names(obj, path, r, used, err);
    if (rc == 0)
        rc = parse_conditions(obj, path, r, used, err);
    if (rc == 0)
        rc = applies(obj, path, &wanted, err);
    if (rc == 0 && !wanted) {
        rule_done(r);
        p->rule_count--;
    }
    return rc;
}

static const char *shared_name(const struct oci_rule *a, const struct oci_rule *b)
{
    for (size_t i = 0; i < a->name_count; i++) {
        for (size_t k = 0; k < b->name_count; k++) {
            if (strcmp(a->names[i], b->names[k]) == 0)
                return a->names[i];
        }
    }
    return NULL;
}

static bool same_conditions(const struct oci_rule *a, const struct oci_rule *b)
{
    bool same = a->condition_count == b->condition_count;
    for (size_t i = 0; same && i < a->condition_count; i++) {
        const struct oci_condition *x = &a->conditions[i], *y = &b->conditions[i];
        same = x->index == y->index && x->op == y->op && x->value == y->value && x->value_two == y->value_two;
    }
    return same;
}

/* A rule without conditions covers every other rule for its call, and equal conditions one another; where the actions differ libseccomp
 * drops one of the rules unsaid. */
static bool contradict(const struct oci_rule *a, const struct oci_rule *b)
{
    bool same_answer = a->action == b->action && a->sys_errno == b->sys_errno;
    return !same_answer && (a->condition_count == 0 || b->condition_count == 0 || same_conditions(a, b));
}

static bool all_equal(const struct oci_rule *r)
{
    for (size_t i = 0; i < r->condition_count; i++) {
        if (r->conditions[i].op != OCI_EQ)
            return false;
    }
    return true;
}

static unsigned arguments(const struct oci_rule *r)
{
    unsigned set = 0;
    for (size_t i = 0; i < r->condition_count; i++)
        set |= 1u << r->conditions[i].index;
    return set;
}

/* libseccomp 2.5 does not come back from some pairs of rules for one call where either has several conditions. These kinds it compiles,
 * in a time that was measured: one condition each, or "equal" throughout on the same arguments. */
static bool compile_together(const struct oci_rule *a, const struct oci_rule *b)
{
    if (a->condition_count == 0 || b->condition_count == 0)
        return true;
    if (a->condition_count == 1 && b->condition_count == 1)
        return true;
    return all_equal(a) && all_equal(b) && arguments(a) == arguments(b);
}

static int check_pairs_of(const struct oci_profile *p, size_t i, const char *path, struct arp_err *err)
{
    const struct oci_rule *a = &p->rules[i];
    unsigned beside = 1;
    for (size_t k = i + 1; k < p->rule_count; k++) {
        const struct oci_rule *b = &p->rules[k];
        const char *name = shared_name(a, b);
        if (name && contradict(a, b))
            return arp_fail_field(
                err, path, "two rules answer %s differently, and one covers the other", name);
        if (name && !compile_together(a, b))
            return arp_fail_field(err, path,
                "two rules with conditions on %s: each must have one condition only, or SCMP_CMP_EQ on the "
                "same arguments",
                name);
        if (name && a->condition_count > 0 && ++beside > LIMIT_SECCOMP_RULES_OF_CALL)
            return arp_fail_field(
                err, path, "more than %d rules with conditions on %s", LIMIT_SECCOMP_RULES_OF_CALL, name);
    }
    return 0;
}

static int check_pairs(const struct oci_profile *p, const char *path, struct arp_err *err)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < p->rule_count; i++)
        rc = check_pairs_of(p, i, path, err);
    return rc;
}

static int parse_rules(const cJSON *list, const char *path, struct oci_profile *p, struct arp_err *err)
{
    struct budget used = {0};
    int n = cJSON_GetArraySize(list);
    int index = 0;
    const cJSON *item;
    if (n > LIMIT_SECCOMP_RULES)
        return arp_fail_field(err, path, "a profile may hold %d rules", LIMIT_SECCOMP_RULES);
    p->rules = calloc((size_t)n + 1, sizeof(struct oci_rule));
    if (!p->rules)
        return arp_fail(err, ARP_E_NOMEM, 0, "seccomp profile");
    cJSON_ArrayForEach(item, list)
    {
        char name[128];
        snprintf(name, sizeof(name), "%.64s.syscalls[%d]", path, index++);
        int rc = parse_rule(item, name, p, &used, err);
        if (rc)
            return rc;
    }
    return check_pairs(p, path, err);
}

/* --- the whole --- */

/* Other architectures may stand there; they are killed by our own programs whatever a profile says. */
static int check_architectures(const cJSON *obj, const char *path, struct arp_err *err)
{
    const cJSON *list = get(obj, "architectures");
    const cJSON *map = get(obj, "archMap");
    const cJSON *item;
    bool native = !list && !map;
    int rc = list && map ? arp_fail_field(err, path, "either architectures or archMap") : 0;
    if (rc == 0 && list)
        rc = look_for(list, SECCOMP_NATIVE_ARCH, path, &native, err);
    cJSON_ArrayForEach(item, map)
    {
        if (rc == 0)
            rc = json_check_object(item, arch_fields, COUNT(arch_fields), path, err);
        native |= rc == 0 && strcmp(json_get_str(item, "architecture"), SECCOMP_NATIVE_ARCH) == 0;
    }
    if (rc == 0 && !native)
        rc = arp_fail_field(err, path, "the profile is not for this machine: no " SECCOMP_NATIVE_ARCH);
    return rc;
}

int oci_profile_parse(const cJSON *obj, const char *path, struct oci_profile **ret, struct arp_err *err)
{
    int rc = json_check_object(obj, profile_fields, COUNT(profile_fields), path, err);
    if (rc)
        return rc;
    cleanup_oci_profile struct oci_profile *p = calloc(1, sizeof(*p));
    if (!p)
        return arp_fail(err, ARP_E_NOMEM, 0, "seccomp profile");
    rc = parse_action(json_get_str(obj, "defaultAction"), path, &p->default_action, err);
    if (rc == 0)
        rc = parse_errno(obj, "defaultErrnoRet", p->default_action, path, &p->default_errno, err);
    if (rc == 0)
        rc = check_architectures(obj, path, err);
    if (rc == 0)
        rc = parse_rules(get(obj, "syscalls"), path, p, err);
    if (rc == 0)
        rc = oci_needs_check(p, path, err);
    if (rc)
        return rc;
    *ret = p;
    p = NULL;
    return 0;
}

static void put_action(
    struct json *j, const char *key, const char *errno_key, enum oci_action action, unsigned sys_errno)
{
    json_kstr(j, key, action_names[action]);
    if (action == OCI_ERRNO)
        json_kuint(j, errno_key, sys_errno);
}

static void put_rule(struct json *j, const struct oci_rule *r)
{
    json_obj_open(j);
    json_key(j, "names");
    json_arr_open(j);
    for (size_t i = 0; i < r->name_count; i++)
        json_str(j, r->names[i]);
    json_arr_close(j);
    put_action(j, "action", "errnoRet", r->action, r->sys_errno);
    json_key(j, "args");
    json_arr_open(j);
    for (size_t i = 0; i < r->condition_count; i++) {
        json_obj_open(j);
        json_kuint(j, "index", r->conditions[i].index);
        json_kuint(j, "value", r->conditions[i].value);
        json_kuint(j, "valueTwo", r->conditions[i].value_two);
        json_kstr(j, "op", op_names[r->conditions[i].op]);
        json_obj_close(j);
    }
    json_arr_close(j);
    json_obj_close(j);
}

int oci_profile_write(const struct oci_profile *p, struct buf *out, struct arp_err *err)
{
    struct json j;
    json_init(&j, out);
    json_obj_open(&j);
    put_action(&j, "defaultAction", "defaultErrnoRet", p->default_action, p->default_errno);
    json_kraw(&j, "architectures", "[\"" SECCOMP_NATIVE_ARCH "\"]");
    json_key(&j, "syscalls");
    json_arr_open(&j);
    for (size_t i = 0; i < p->rule_count; i++)
        put_rule(&j, &p->rules[i]);
    json_arr_close(&j);
    json_obj_close(&j);
    return buf_error(out, err);
}

int oci_profile_canonical(const cJSON *obj, const char *path, char **ret_text,
    char ret_sha256[SHA256_HEX_LEN + 1], struct arp_err *err)
{
    cleanup_oci_profile struct oci_profile *p = NULL;
    cleanup_buf struct buf text;
    buf_init(&text, LIMIT_SECCOMP_BYTES);
    int rc = oci_profile_parse(obj, path, &p, err);
    if (rc == 0)
        rc = oci_profile_write(p, &text, err);
    if (rc == ARP_E_TOO_LARGE)
        rc = arp_fail_field(err, path, "the profile is over %u bytes", LIMIT_SECCOMP_BYTES);
    if (rc)
        return rc;
    sha256_hex_of(text.data, text.len, ret_sha256);
    *ret_text = buf_steal(&text);
    return 0;
}

void oci_profile_free(struct oci_profile *p)
{
    if (!p)
        return;
    for (size_t i = 0; p->rules && i < p->rule_count; i++)
        rule_done(&p->rules[i]);
    free(p->rules);
    free(p);
}
