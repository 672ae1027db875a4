/*
 * What a profile must allow: see oci_needs.h.
 */
#include "shared/oci_needs.h"

#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>

#define LAUNCHER "the launcher of commands"
#define LOADER   "every program's start"
#define PROGRAM  "every program"
#define SHELL    "every shell"

static const struct need {
    const char *name;
    const char *who;
    uint64_t first; /* first argument of the call that is needed; the others count as 0 */
} needs[] = {
    {"execve", LAUNCHER, 0},
    {"clone", LAUNCHER, CLONE_VM | CLONE_VFORK | CLONE_PARENT},
    {"close_range", LAUNCHER, 0},
    {"setsid", LAUNCHER, 0},
    {"fchdir", LAUNCHER, 0},
    {"sendmsg", LAUNCHER, 0},
    {"recvmsg", LAUNCHER, 0},
    {"setresuid", LAUNCHER, 0},
#ifdef __x86_64__
    {"dup2", LAUNCHER, 0},
    {"access", LAUNCHER, 0},
#else
    {"dup3", LAUNCHER, 0},
#endif
    {"exit", PROGRAM, 0},
    {"exit_group", PROGRAM, 0},
    {"read", PROGRAM, 0},
    {"write", PROGRAM, 0},
    {"close", PROGRAM, 0},
    {"futex", PROGRAM, 0},
    {"getpid", PROGRAM, 0},
    {"rt_sigaction", PROGRAM, 0},
    {"rt_sigprocmask", PROGRAM, 0},
    {"rt_sigreturn", PROGRAM, 0},
#ifdef __x86_64__
    {"arch_prctl", LOADER, 0x1002 /* ARCH_SET_FS */},
#endif
    {"brk", LOADER, 0},
    {"faccessat", LOADER, 0},
    {"fstat", LOADER, 0},
    {"mmap", LOADER, 0},
    {"mprotect", LOADER, 0},
    {"munmap", LOADER, 0},
    {"newfstatat", LOADER, 0},
    {"openat", LOADER, 0},
    {"pread64", LOADER, 0},
    {"set_tid_address", LOADER, 0},
    {"clone", SHELL, SIGCHLD},
#ifdef __x86_64__
    {"vfork", SHELL, 0},
#endif
    {"faccessat2", SHELL, 0},
    {"wait4", SHELL, 0},
};

static bool condition_holds(const struct oci_condition *c, uint64_t v)
{
    switch (c->op) {
    case OCI_NE:
        return v != c->value;
    case OCI_LT:
        return v < c->value;
    case OCI_LE:
        return v <= c->value;
    case OCI_EQ:
        return v == c->value;
    case OCI_GE:
        return v >= c->value;
    case OCI_GT:
        return v > c->value;
    case OCI_MASKED_EQ:
        break;
    }
    return (v & c->value) == c->value_two;
}

static bool rule_holds(const struct oci_rule *r, const struct need *need)
{
    bool named = false;
    for (size_t i = 0; i < r->name_count && !named; i++)
        named = strcmp(r->names[i], need->name) == 0;
    for (size_t i = 0; named && i < r->condition_count; i++)
        named = condition_holds(&r->conditions[i], r->conditions[i].index == 0 ? need->first : 0);
    return named;
}

/* The strictest of the rules that hold for the call, or the default. */
static enum oci_action action_for(const struct oci_profile *p, const struct need *need)
{
    bool found = false;
    enum oci_action action = p->default_action;
    for (size_t i = 0; i < p->rule_count; i++) {
        const struct oci_rule *r = &p->rules[i];
        if ((!found || r->action > action) && rule_holds(r, need)) {
            action = r->action;
            found = true;
        }
    }
    return action;
}

int oci_needs_check(const struct oci_profile *p, const char *path, struct arp_err *err)
{
    for (size_t i = 0; i < sizeof(needs) / sizeof(needs[0]); i++) {
        if (action_for(p, &needs[i]) > OCI_LOG)
            return arp_fail_field(
                err, path, "the profile must allow %s: %s needs it", needs[i].name, needs[i].who);
    }
    return 0;
}
