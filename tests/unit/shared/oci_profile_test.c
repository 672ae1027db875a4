/*
 * Tests of shared/oci_profile.c and oci_needs.c: which profiles are taken, what they mean, and what the others are refused for.
 */
#include "shared/oci_profile.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shared/hash.h"
#include "shared/json.h"
#include "shared/limits.h"
#include "tests/support/suite.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static int parse(const char *text, struct oci_profile **ret, struct arp_err *err)
{
    cleanup_cjson cJSON *doc = NULL;
    *err = (struct arp_err){0};
    ASSERT_INT(json_parse(text, strlen(text), &doc, err), 0);
    return oci_profile_parse(doc, "sandboxProfile", ret, err);
}

static void write_text(const struct oci_profile *p, struct buf *out)
{
    struct arp_err err;
    buf_reset(out);
    ASSERT_INT(oci_profile_write(p, out, &err), 0);
}

/* What every allow-list must hold, as Docker's default writes it: clone by its flags. */
#define NEEDED                                                                                               \
    "{\"names\":[\"execve\",\"wait4\",\"close_range\",\"dup2\",\"dup3\",\"setsid\",\"vfork\",\"fchdir\","    \
    "\"sendmsg\","                                                                                           \
    "\"recvmsg\",\"setresuid\",\"getpid\",\"exit\",\"exit_group\",\"read\",\"write\",\"close\",\"futex\","   \
    "\"rt_sigaction\",\"rt_sigprocmask\",\"rt_sigreturn\",\"mmap\",\"munmap\",\"mprotect\",\"brk\","         \
    "\"arch_prctl\",\"access\",\"faccessat\",\"faccessat2\",\"openat\",\"fstat\",\"newfstatat\","            \
    "\"pread64\",\"set_tid_address\"],\"action\":\"SCMP_ACT_ALLOW\"},"
#define CLONE_BY_FLAGS                                                                                       \
    "{\"names\":[\"clone\"],\"action\":\"SCMP_ACT_ALLOW\",\"args\":[{\"index\":0,\"value\":2114060288,"      \
    "\"op\":\"SCMP_CMP_MASKED_EQ\"}],\"excludes\":{\"caps\":[\"CAP_SYS_ADMIN\"],"                            \
    "\"arches\":[\"s390\",\"s390x\"]}}"

/* The shape of the default.json Docker ships: every member of its dialect occurs. */
static const char docker_shape[] =
    "{\"defaultAction\":\"SCMP_ACT_ERRNO\",\"defaultErrnoRet\":1,\"archMap\":[{\"architecture\":"
    "\"SCMP_ARCH_X86_64\",\"subArchitectures\":[\"SCMP_ARCH_X86\",\"SCMP_ARCH_X32\"]},{\"architecture\":"
    "\"SCMP_ARCH_AARCH64\",\"subArchitectures\":[\"SCMP_ARCH_ARM\"]},{\"architecture\":"
    "\"SCMP_ARCH_RISCV64\",\"subArchitectures\":null}],\"syscalls\":[" NEEDED
    "{\"names\":[\"ptrace\"],\"action\":\"SCMP_ACT_ALLOW\",\"includes\":{\"minKernel\":\"4.8\"}},"
    "{\"names\":[\"socket\"],\"action\":\"SCMP_ACT_ALLOW\",\"args\":[{\"index\":0,\"value\":40,\"op\":"
    "\"SCMP_CMP_NE\"}]},"
    "{\"names\":[\"personality\"],\"action\":\"SCMP_ACT_ALLOW\",\"args\":[{\"index\":0,\"value\":4294967295,"
    "\"valueTwo\":0,\"op\":\"SCMP_CMP_EQ\"}],\"comment\":\"\",\"includes\":{},\"excludes\":{}},"
    "{\"names\":[\"cacheflush\"],\"action\":\"SCMP_ACT_ALLOW\",\"includes\":{\"arches\":[\"arm\"]}},"
    "{\"names\":[\"modify_ldt\"],\"action\":\"SCMP_ACT_ALLOW\",\"includes\":{\"arches\":[\"amd64\",\"arm64\","
    "\"x86\"]}},"
    "{\"names\":[\"bpf\",\"clone\",\"clone3\"],\"action\":\"SCMP_ACT_ALLOW\",\"args\":null,\"includes\":"
    "{\"caps\":[\"CAP_SYS_ADMIN\"]}}," CLONE_BY_FLAGS
    ",{\"names\":[\"clone3\"],\"action\":\"SCMP_ACT_ERRNO\",\"errnoRet\":38,\"excludes\":{\"caps\":"
    "[\"CAP_SYS_ADMIN\"]}},"
    "{\"name\":\"syslog\",\"action\":\"SCMP_ACT_ALLOW\",\"includes\":{\"caps\":[\"CAP_SYSLOG\"]}}]}";

static void profile_in_dockers_dialect_is_taken(void)
{
    struct arp_err err;
    cleanup_oci_profile struct oci_profile *p = NULL;
    ASSERT_INT(parse(docker_shape, &p, &err), 0);
    ASSERT_INT(p->default_action, OCI_ERRNO);
    ASSERT_INT(p->default_errno, 1);
    ASSERT_INT(p->rule_count, 7); /* not: cacheflush, bpf…, syslog */
    ASSERT_STR(p->rules[1].names[0], "ptrace");
    ASSERT_INT(p->rules[2].conditions[0].op, OCI_NE);
    ASSERT_INT(p->rules[3].conditions[0].value, 4294967295);
    ASSERT_STR(p->rules[4].names[0], "modify_ldt");
    ASSERT_INT(p->rules[5].conditions[0].op, OCI_MASKED_EQ);
    ASSERT_INT(p->rules[6].sys_errno, 38);
}

static void profile_has_one_canonical_text(void)
{
    struct arp_err err;
    cleanup_buf struct buf first, second;
    struct oci_profile *p;
    buf_init(&first, LIMIT_SECCOMP_BYTES);
    buf_init(&second, LIMIT_SECCOMP_BYTES);
    ASSERT_INT(parse(docker_shape, &p, &err), 0);
    write_text(p, &first);
    oci_profile_free(p);
    ASSERT_TRUE(strstr(buf_str(&first), "archMap") == NULL && strstr(buf_str(&first), "includes") == NULL);
    ASSERT_INT(parse(buf_str(&first), &p, &err), 0);
    write_text(p, &second);
    oci_profile_free(p);
    ASSERT_STR(buf_str(&first), buf_str(&second));
    /* other spelling, same meaning */
    ASSERT_INT(parse("{\"syscalls\":[{\"action\":\"SCMP_ACT_KILL\",\"name\":\"mkdir\",\"comment\":\"x\"}],"
                     "\"defaultAction\""
                     ":\"SCMP_ACT_LOG\"}",
                   &p, &err),
        0);
    write_text(p, &first);
    oci_profile_free(p);
    ASSERT_INT(
        parse("{\"defaultAction\":\"SCMP_ACT_LOG\",\"architectures\":[\"SCMP_ARCH_X86\","
              "\"SCMP_ARCH_X86_64\",\"SCMP_ARCH_AARCH64\"],\"syscalls\":[{\"names\":[\"mkdir\"],\"action\":"
              "\"SCMP_ACT_KILL_THREAD\",\"args\":[]}]}",
            &p, &err),
        0);
    write_text(p, &second);
    oci_profile_free(p);
    ASSERT_STR(buf_str(&first), buf_str(&second));
}

static void profile_without_rules_may_allow_all(void)
{
    struct arp_err err;
    struct oci_profile *p;
    ASSERT_INT(parse("{\"defaultAction\":\"SCMP_ACT_ALLOW\"}", &p, &err), 0);
    ASSERT_INT(p->rule_count, 0);
    oci_profile_free(p);
}

#define ALLOW(rules) "{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":[" rules "]}"
#define RULE(rest)   ALLOW("{\"names\":[\"mkdir\"],\"action\":\"SCMP_ACT_ERRNO\"" rest "}")
#define ARG(rest)    RULE(",\"args\":[{\"index\":0,\"value\":1,\"op\":\"SCMP_CMP_EQ\"" rest "}]")

static void profile_is_refused_with_its_reason(void)
{
    static const struct {
        const char *json;
        int code;
        const char *says; /* in the message or the details */
    } bad[] = {
        {"{}", ARP_E_FIELD, "defaultAction"},
        {"[]", ARP_E_FIELD, "sandboxProfile"},
        {"{\"defaultAction\":\"ALLOW\"}", ARP_E_FIELD, "no action 'ALLOW'"},
        {"{\"defaultAction\":\"SCMP_ACT_NOTIFY\"}", ARP_E_FIELD, "SCMP_ACT_NOTIFY is not for profiles"},
        {"{\"defaultAction\":\"SCMP_ACT_TRACE\"}", ARP_E_FIELD, "SCMP_ACT_TRACE is not for profiles"},
        {ALLOW("{\"names\":[\"mkdir\"],\"action\":\"SCMP_ACT_NOTIFY\"}"), ARP_E_FIELD, "not for profiles"},
        {"{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"defaultErrnoRet\":1}", ARP_E_FIELD,
            "defaultErrnoRet goes with"},
        {"{\"defaultAction\":\"SCMP_ACT_ERRNO\",\"defaultErrnoRet\":0}", ARP_E_FIELD, "1 to 4095"},
        {"{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"flags\":[]}", ARP_E_UNKNOWN_FIELD, "sandboxProfile.flags"},
        {"{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"listenerPath\":\"/x\"}", ARP_E_UNKNOWN_FIELD,
            "listenerPath"},
        {"{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"architectures\":[\"SCMP_ARCH_S390X\"]}", ARP_E_FIELD,
            "not for this machine"},
        {"{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"architectures\":[]}", ARP_E_FIELD, "not for this machine"},
        {"{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"architectures\":[],\"archMap\":[]}", ARP_E_FIELD, "either"},
        {"{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"archMap\":[{\"arch\":1}]}", ARP_E_UNKNOWN_FIELD, "arch"},
        {RULE(",\"errnoRet\":4096"), ARP_E_FIELD, "1 to 4095"},
        {RULE(",\"errnoRet\":0"), ARP_E_FIELD, "1 to 4095"},
        {RULE(",\"errnoRet\":1.5"), ARP_E_FIELD, "errnoRet"},
        {RULE(",\"priority\":1"), ARP_E_UNKNOWN_FIELD, "sandboxProfile.syscalls[0].priority"},
        {RULE(",\"name\":\"rmdir\""), ARP_E_FIELD, "either names or name"},
        {ALLOW("{\"names\":[],\"action\":\"SCMP_ACT_ERRNO\"}"), ARP_E_FIELD, "either names or name"},
        {ALLOW("{\"names\":[\"a b\"],\"action\":\"SCMP_ACT_ERRNO\"}"), ARP_E_FIELD, "names of system calls"},
        {ALLOW("{\"names\":[1],\"action\":\"SCMP_ACT_ERRNO\"}"), ARP_E_FIELD, "names of system calls"},
        {ALLOW("7"), ARP_E_FIELD, "syscalls[0]"},
        {RULE(",\"args\":[{}]"), ARP_E_FIELD, "index"},
        {RULE(",\"args\":[{\"index\":6,\"value\":1,\"op\":\"SCMP_CMP_EQ\"}]"), ARP_E_FIELD, "0 to 5"},
        {RULE(",\"args\":[{\"index\":0,\"value\":-1,\"op\":\"SCMP_CMP_EQ\"}]"), ARP_E_FIELD, "negative"},
        {RULE(",\"args\":[{\"index\":0,\"value\":18446744073709551615,\"op\":\"SCMP_CMP_EQ\"}]"), ARP_E_FIELD,
            "value"},
        {RULE(",\"args\":[{\"index\":0,\"value\":1,\"op\":\"==\"}]"), ARP_E_FIELD, "no operator '=='"},
        {ARG(",\"valueTwo\":1"), ARP_E_FIELD, "valueTwo goes with"},
        {RULE(",\"args\":[{\"index\":0,\"value\":1,\"valueTwo\":2,\"op\":\"SCMP_CMP_MASKED_EQ\"}]"),
            ARP_E_FIELD, "never holds"},
        {RULE(",\"args\":[{\"index\":1,\"value\":1,\"op\":\"SCMP_CMP_GE\"},{\"index\":1,\"value\":9,\"op\":"
              "\"SCMP_CMP_LE\"}]"),
            ARP_E_FIELD, "two conditions on argument 1"},
        {RULE(",\"includes\":{\"minKernel\":\"6.1\"}"), ARP_E_FIELD, "minKernel over 5.19"},
        {RULE(",\"includes\":{\"minKernel\":\"new\"}"), ARP_E_FIELD, "MAJOR.MINOR"},
        {RULE(",\"includes\":{\"users\":[]}"), ARP_E_UNKNOWN_FIELD, "users"},
        {RULE(",\"excludes\":{\"caps\":[1]}"), ARP_E_FIELD, "strings"},
        {ALLOW("{\"names\":[\"mkdir\"],\"action\":\"SCMP_ACT_ERRNO\"},{\"names\":[\"rmdir\",\"mkdir\"],"
               "\"action\":"
               "\"SCMP_ACT_KILL\",\"args\":[{\"index\":0,\"value\":1,\"op\":\"SCMP_CMP_EQ\"}]}"),
            ARP_E_FIELD, "answer mkdir differently"},
        {ALLOW(
             "{\"names\":[\"mkdir\"],\"action\":\"SCMP_ACT_KILL\",\"args\":[{\"index\":0,\"value\":1,\"op\":"
             "\"SCMP_CMP_EQ\"}]},{\"names\":[\"mkdir\"],\"action\":\"SCMP_ACT_ERRNO\",\"args\":[{\"index\":0,"
             "\"value\":1,\"op\":\"SCMP_CMP_EQ\"}]}"),
            ARP_E_FIELD, "answer mkdir differently"},
        /* with these two libseccomp 2.5.4 does not end */
        {ALLOW("{\"names\":[\"ioctl\"],\"action\":\"SCMP_ACT_ERRNO\",\"errnoRet\":2,\"args\":[{\"index\":0,"
               "\"value\":3,"
               "\"op\":\"SCMP_CMP_GT\"},{\"index\":4,\"value\":2,\"op\":\"SCMP_CMP_NE\"}]},{\"names\":["
               "\"ioctl\"],"
               "\"action\":\"SCMP_ACT_ERRNO\",\"errnoRet\":4,\"args\":[{\"index\":3,\"value\":1,\"op\":"
               "\"SCMP_CMP_GT\"},{\"index\":0,\"value\":3,\"op\":\"SCMP_CMP_GT\"}]}"),
            ARP_E_FIELD, "two rules with conditions on ioctl"},
        {ALLOW("{\"names\":[\"ioctl\"],\"action\":\"SCMP_ACT_ERRNO\",\"args\":[{\"index\":0,\"value\":3,"
               "\"op\":\"SCMP_CMP_EQ\"}]},{\"names\":[\"mkdir\",\"ioctl\"],\"action\":\"SCMP_ACT_ERRNO\","
               "\"args\":["
               "{\"index\":1,\"value\":1,\"op\":\"SCMP_CMP_EQ\"},{\"index\":0,\"value\":3,\"op\":\"SCMP_CMP_"
               "EQ\"}]}"),
            ARP_E_FIELD, "two rules with conditions on ioctl"},
        /* what no command can do without */
        {"{\"defaultAction\":\"SCMP_ACT_ERRNO\"}", ARP_E_FIELD, "must allow execve"},
        {"{\"defaultAction\":\"SCMP_ACT_KILL_PROCESS\",\"syscalls\":[]}", ARP_E_FIELD, "must allow execve"},
        {"{\"defaultAction\":\"SCMP_ACT_ERRNO\",\"syscalls\":[" NEEDED
         "{\"names\":[\"bpf\"],\"action\":\"SCMP_ACT_ALLOW\"}]}",
            ARP_E_FIELD, "must allow clone: the launcher"},
        {ALLOW("{\"names\":[\"close_range\"],\"action\":\"SCMP_ACT_ERRNO\"}"), ARP_E_FIELD,
            "must allow close_range: the launcher"},
        {ALLOW("{\"names\":[\"exit_group\"],\"action\":\"SCMP_ACT_TRAP\"}"), ARP_E_FIELD,
            "must allow exit_group"},
        {ALLOW("{\"names\":[\"clone\"],\"action\":\"SCMP_ACT_ERRNO\",\"args\":[{\"index\":0,\"value\":256,"
               "\"valueTwo\":256,\"op\":\"SCMP_CMP_MASKED_EQ\"}]}"),
            ARP_E_FIELD, "must allow clone"},
    };
    for (size_t i = 0; i < COUNT(bad); i++) {
        struct oci_profile *p;
        struct arp_err err;
        char said[ARP_ERR_MSG_MAX + ARP_ERR_DETAIL_MAX + 2];
        int rc = parse(bad[i].json, &p, &err);
        snprintf(said, sizeof(said), "%s %s", err.msg, err.detail);
        ASSERT_CONTAINS(said, bad[i].says);
        ASSERT_INT(rc, bad[i].code);
        ASSERT_CONTAINS(err.detail, "sandboxProfile");
    }
}

/* Rules by argument that leave the calls we need alone. */
static void profile_may_be_narrow_by_argument(void)
{
    static const char *const good[] = {ARG(""),
        ALLOW("{\"names\":[\"clone\"],\"action\":\"SCMP_ACT_ERRNO\",\"args\":[{\"index\":0,\"value\":"
              "268435456,\"valueTwo\":268435456,\"op\":\"SCMP_CMP_MASKED_EQ\"}]}"),
        ALLOW("{\"names\":[\"mmap\"],\"action\":\"SCMP_ACT_LOG\"}"),
        "{\"defaultAction\":\"SCMP_ACT_ERRNO\",\"defaultErrnoRet\":38,\"syscalls\":[" NEEDED CLONE_BY_FLAGS
        "]}"};
    for (size_t i = 0; i < COUNT(good); i++) {
        struct arp_err err;
        struct oci_profile *p;
        ASSERT_INT(parse(good[i], &p, &err), 0);
        oci_profile_free(p);
    }
}

/* n rules, or one rule with n names; each rule has as many conditions. */
static void write_rules(struct buf *b, int n, int names, int conditions)
{
    buf_append_str(b, "{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":[");
    for (int i = 0; i < n; i++) {
        buf_printf(b, "%s{\"action\":\"SCMP_ACT_ERRNO\",\"names\":[", i ? "," : "");
        for (int k = 0; k < names; k++)
            buf_printf(b, "%s\"call_%d_%d\"", k ? "," : "", names == 1 && conditions == 1 ? 0 : i, k);
        buf_append_str(b, "],\"args\":[");
        for (int k = 0; k < conditions; k++)
            buf_printf(b, "%s{\"index\":%d,\"value\":%d,\"op\":\"SCMP_CMP_EQ\"}", k ? "," : "", k, i);
        buf_append_str(b, "]}");
    }
    buf_append_str(b, "]}");
}

static void profile_counts_are_bounded(void)
{
    static const struct {
        int n, names, conditions; /* the most that is taken */
        int over;                 /* which of them one more is too much of */
    } cases[] = {{LIMIT_SECCOMP_RULES, 1, 0, 0}, {1, LIMIT_SECCOMP_NAMES, 0, 1},
        {LIMIT_SECCOMP_CONDITIONS / 2, 1, 2, 0}, {LIMIT_SECCOMP_RULES_OF_CALL, 1, 1, 0}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        for (int more = 0; more < 2; more++) {
            struct arp_err err;
            struct oci_profile *p = NULL;
            cleanup_buf struct buf b;
            buf_init(&b, 1 << 20);
            write_rules(&b, cases[i].n + (cases[i].over == 0 ? more : 0),
                cases[i].names + (cases[i].over == 1 ? more : 0), cases[i].conditions);
            ASSERT_INT(parse(buf_str(&b), &p, &err), more ? ARP_E_FIELD : 0);
            oci_profile_free(p);
        }
    }
}

TEST_SUITE(oci_profile_test, TEST(profile_in_dockers_dialect_is_taken), TEST(profile_has_one_canonical_text),
    TEST(profile_without_rules_may_allow_all), TEST(profile_is_refused_with_its_reason),
    TEST(profile_may_be_narrow_by_argument), TEST(profile_counts_are_bounded))
