/*
 * Seccomp programs of a run. A profile becomes BPF programs once; processes then only load them.
 *   policy  allow-list; a call that is not on it answers ENOSYS, so that a libc falls back; a foreign ABI (i386, x32) kills the
 *           process. Calls that we refuse by name are on it: an errno here would be stricter than a notification and hide them.
 *   args    default allow; notifies the listener of what is refused (by name or by arguments), and of what is only observed
 *           (exec, its confirmation, tracing). A second program because libseccomp can't say "allow ioctl except these three" in an
 *           allow-list, and the only one that notifies, so that a listener that is gone refuses (ENOSYS) instead of allowing.
 *   custom  plain; a caller's OCI profile, beside the other two: the strictest answer of all programs wins in the kernel.
 * SECCOMP_HELPER is for the agent's own processes without a listener: the rules of no-network, refusals answered by the programs
 * themselves (policy: by name, custom: by argument; args is empty).
 * Programs are immutable after creation and may be used by any thread, also between fork and exec.
 * What each profile refuses: docs/AGENT.md, "Seccomp profiles". Names: shared/seccomp_names.h. OCI profiles: shared/oci_profile.h.
 */
#ifndef ARP_AGENT_SECCOMP_H
#define ARP_AGENT_SECCOMP_H

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdbool.h>
#include <sys/types.h>

#include "shared/err.h"
#include "shared/hash.h"

enum seccomp_profile {
    SECCOMP_DEFAULT,
    SECCOMP_NO_NETWORK,
    SECCOMP_STRICT,
    SECCOMP_PROFILES,                 /* how many a request can name */
    SECCOMP_HELPER = SECCOMP_PROFILES /* ours alone, has no public name */
};

struct seccomp_prog {
    enum seccomp_profile profile;
    bool streams_only; /* as in seccomp_compile */
    struct sock_fprog policy;
    struct sock_fprog custom; /* len 0: there is none */
    struct sock_fprog args;   /* len 0 in SECCOMP_HELPER */
    unsigned
        custom_unknown; /* names in the custom profile that this machine's libseccomp does not know; ignored, as runc does */
    char sha256[SHA256_HEX_LEN + 1]; /* of the instructions of policy, custom, args, as loaded */
};

/* "default", "no-network", "strict"; "helper" for ours. */
const char *seccomp_profile_name(enum seccomp_profile p);
/* Errors: ARP_E_FIELD ("sandboxProfile") for another name. */
int seccomp_profile_of(const char *name, enum seccomp_profile *ret, struct arp_err *err);

/* Compile a profile for this machine's native ABI: 5 to 15 ms, so once per run, not per command. custom_json: an OCI profile's text,
 * checked again here; NULL for none (always NULL with SECCOMP_HELPER). *ret is owned by the caller.
 * streams_only: for a run that may talk to its relay only, beside Landlock's rule for connections: no INET datagrams, no TCP Fast Open, which
 * connects without Landlock being asked; TCP sockets also under no-network. Not for SECCOMP_HELPER.
 * Errors: ARP_E_UNSUPPORTED, ARP_E_IO, ARP_E_NOMEM; those of json_parse and oci_profile_parse for custom_json. */
int seccomp_compile(enum seccomp_profile p, bool streams_only, const char *custom_json,
    struct seccomp_prog **ret, struct arp_err *err);
void seccomp_prog_free(struct seccomp_prog *p);

/* Load a SECCOMP_HELPER program into the calling thread, which must have no_new_privs. Async-signal-safe. 0 or an errno; EINVAL for a
 * program that needs a listener: without one most of its refusals would be missing. */
int seccomp_load_prog(const struct seccomp_prog *p);

/* Load args with a listener (WAIT_KILLABLE_RECV: a signal can't make the kernel ask twice), then policy, then custom, into the
 * calling thread, which must have no_new_privs and no listener above it (EBUSY). Custom comes last so that it need not allow
 * seccomp(2). *ret_listener_fd is the caller's, close-on-exec, set as soon as 0 is returned; from the first load on this thread's own
 * refused calls, execs and ARCH_SET_FS wait for whoever serves it. Async-signal-safe. 0 or an errno: then nothing may run. */
int seccomp_load_listener(const struct seccomp_prog *p, int *ret_listener_fd);

/* What a notification asks for. Only the SEE_ kinds may be answered with SECCOMP_USER_NOTIF_FLAG_CONTINUE. */
enum seccomp_verdict {
    SECCOMP_REFUSE,   /* answer with *ret_errno and count it by call */
    SECCOMP_SEE_EXEC, /* execve, execveat: record the attempt, continue */
    SECCOMP_SEE_CONFIRM, /* first thing a new program's libc does: what is mapped now is what runs; record, continue */
    SECCOMP_SEE_PTRACE, /* TRACEME, ATTACH, SEIZE where the profile lets commands trace one another: count, continue */
    SECCOMP_SEE_SCHEDULING, /* priority, scheduler or processors of another process: refuse as seccomp_schedules says, else continue */
};

/* Judge a notified call under profile p; never SECCOMP_HELPER. Looks at the registers only (pointers may change under the reader), and at
 * them as the kernel does. A call it does not know is refused. *ret_errno is 0 unless refused. Pure, no allocation. */
enum seccomp_verdict seccomp_judge(enum seccomp_profile p, const struct seccomp_data *call, int *ret_errno);

/* True when a SECCOMP_SEE_SCHEDULING call reaches the launcher, a session leader, or a user's processes other than the commands': answer
 * EPERM and count it. The kernel itself keeps the agent and the helper out of reach. */
bool seccomp_schedules(const struct seccomp_data *call, pid_t launcher, uid_t commands);

/* "mount"; "syscall_999" when libseccomp does not know it. Native ABI. Returns ret. */
const char *seccomp_call_name(int nr, char ret[32]);

#endif
