/*
 * OCI profile to BPF: see seccomp_custom.h.
 */
#include "agent/seccomp_custom.h"

#include <errno.h>
#include <string.h>

#include "agent/seccomp_bpf.h"
#include "shared/json.h"
#include "shared/oci_profile.h"

static uint32_t scmp_action(enum oci_action action, unsigned sys_errno)
{
    switch (action) {
    case OCI_ALLOW:
        return SCMP_ACT_ALLOW;
    case OCI_LOG:
        return SCMP_ACT_LOG;
    case OCI_ERRNO:
        return SCMP_ACT_ERRNO(sys_errno);
    case OCI_TRAP:
        return SCMP_ACT_TRAP;
    case OCI_KILL_THREAD:
        return SCMP_ACT_KILL_THREAD;
    case OCI_KILL_PROCESS:
        break;
    }
    return SCMP_ACT_KILL_PROCESS;
}

static enum scmp_compare scmp_operator(enum oci_op op)
{
    switch (op) {
    case OCI_NE:
        return SCMP_CMP_NE;
    case OCI_LT:
        return SCMP_CMP_LT;
    case OCI_LE:
        return SCMP_CMP_LE;
    case OCI_EQ:
        return SCMP_CMP_EQ;
    case OCI_GE:
        return SCMP_CMP_GE;
    case OCI_GT:
        return SCMP_CMP_GT;
    case OCI_MASKED_EQ:
        break;
    }
    return SCMP_CMP_MASKED_EQ;
}

/* 0 or a negative errno of libseccomp. */
static int add_rule(
    scmp_filter_ctx ctx, uint32_t default_action, const struct oci_rule *rule, unsigned *unknown)
{
    struct scmp_arg_cmp conditions[OCI_CONDITIONS_MAX];
    uint32_t action = scmp_action(rule->action, rule->sys_errno);
    for (size_t i = 0; i < rule->condition_count; i++) {
        const struct oci_condition *c = &rule->conditions[i];
        conditions[i] = (struct scmp_arg_cmp){c->index, scmp_operator(c->op), c->value, c->value_two};
    }
    for (size_t i = 0; i < rule->name_count; i++) {
        int nr = seccomp_syscall_resolve_name(rule->names[i]);
        if (nr == __NR_SCMP_ERROR) {
            ++*unknown;
            continue;
        }
        if (action == default_action) /* says nothing new; libseccomp refuses such a rule */
            continue;
        int rc = seccomp_rule_add_array(ctx, action, nr, (unsigned)rule->condition_count, conditions);
        if (rc < 0 && rc != -EEXIST)
            return rc;
    }
    return 0;
}

int seccomp_custom_compile(
    const char *json, struct sock_fprog *ret, unsigned *ret_unknown, struct arp_err *err)
{
    cleanup_cjson cJSON *doc = NULL;
    cleanup_oci_profile struct oci_profile *profile = NULL;
    unsigned unknown = 0;
    int rc = json_parse(json, strlen(json), &doc, err);
    if (rc == 0)
        rc = oci_profile_parse(doc, "sandboxProfile", &profile, err);
    if (rc)
        return rc;
    uint32_t default_action = scmp_action(profile->default_action, profile->default_errno);
    scmp_filter_ctx ctx = seccomp_bpf_new(default_action);
    if (!ctx)
        return arp_fail(err, ARP_E_NOMEM, 0, "seccomp_init");
    for (size_t i = 0; rc == 0 && i < profile->rule_count; i++)
        rc = add_rule(ctx, default_action, &profile->rules[i], &unknown);
    if (rc < 0)
        rc = arp_fail_field(err, "sandboxProfile", "a rule can not be compiled: %s", strerror(-rc));
    else
        rc = seccomp_bpf_export(ctx, ret, err);
    if (rc == ARP_E_UNSUPPORTED)
        rc = arp_fail_field(err, "sandboxProfile", "the profile is too long for one program");
    seccomp_release(ctx);
    if (rc == 0)
        *ret_unknown = unknown;
    return rc;
}
