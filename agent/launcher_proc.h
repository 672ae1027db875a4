/*
 * Launcher process: what runs behind agent/launcher.h. A process of its own image (exec'd from the agent's binary), so that nothing of the
 * agent's memory is in it, and with the whole sandbox on itself before the first command, so that a command costs one vfork.
 * Ids: real and saved uid are the launcher's own, the effective one is the commands'. A command can so neither signal nor trace it
 * (kill(2) looks at real and saved uid), and kill(-1) as the commands' uid passes it by; yet its child may become the
 * commands' uid for real without any capability (setresuid(2)).
 * Single thread, no allocation while a command is started. Ends when the agent closes the socket.
 */
#ifndef ARP_AGENT_LAUNCHER_PROC_H
#define ARP_AGENT_LAUNCHER_PROC_H

#include <linux/filter.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Descriptor 1 is a memfd of this size, mapped by both ends: the path that the child is about to execute, which nobody could read from its
 * memory (it is the launcher's, hence undumpable). */
#define LAUNCHER_PAGE 8192u

/* Messages on the SOCK_SEQPACKET socket at descriptor 0; both ends are one binary, so structs go over as they are. */

#define LAUNCHER_MSG_MAX                                                                                     \
    (160u << 10) /* below the default socket buffer; a command's arguments are at most 64 KiB */
#define LAUNCHER_INSNS_MAX 4096u /* BPF_MAXINSNS */
#define LAUNCHER_VARS_MAX  64u
#define LAUNCHER_DIRS_MAX  8u

/* First message: confine yourself. Behind it: the instructions of policy, custom and args, then the texts, each with its NUL: vars
 * (environment), dirs (writable directories), search path. Answer: struct launcher_report, with the seccomp listener attached. */
struct launcher_setup {
    uid_t own_uid, uid;
    uint32_t policy_len, custom_len, args_len; /* instructions */
    uint32_t vars, dirs;
    uint16_t connect_port;
};

enum launcher_step {
    LAUNCHER_STEP_NONE,
    LAUNCHER_STEP_MESSAGE,
    LAUNCHER_STEP_IDS,
    LAUNCHER_STEP_CAPS,
    LAUNCHER_STEP_NNP,
    LAUNCHER_STEP_LANDLOCK,
    LAUNCHER_STEP_GATEWAY,
    LAUNCHER_STEP_SECCOMP,
    LAUNCHER_STEP_STATUS,
    LAUNCHER_STEP_CLONE,
    LAUNCHER_STEP_SESSION,
    LAUNCHER_STEP_CWD,
    LAUNCHER_STEP_STDIO,
    LAUNCHER_STEP_CLOSE,
    LAUNCHER_STEP_EXEC,
    LAUNCHER_STEPS
};

/* How the confinement went, read back from the kernel (/proc/self/status) after the last layer. */
struct launcher_report {
    uint32_t step; /* enum launcher_step that failed, NONE when all is applied */
    int32_t sys_errno;
    uint32_t uid, saved_uid;
    uint32_t no_new_privs, seccomp_mode;
    uint64_t cap_permitted, cap_effective, cap_inheritable, cap_bounding, cap_ambient;
    int32_t landlock_abi;  /* 0: the kernel has none, nothing applied */
    uint32_t gateway_only; /* 1: a connection elsewhere was tried and refused */
};

/* Further messages: start a command. Behind it: argc texts with their NULs. Attached: working directory, stdin, stdout, stderr. */
struct launcher_order {
    uint32_t argc;
};

/* Answer, once the program runs or could not be started. */
struct launcher_answer {
    uint32_t step; /* NONE: exec succeeded, or the child was killed before */
    int32_t sys_errno;
};

/* Main function of the launcher; never returns to the agent's code. Returns the process's exit code. */
int launcher_proc_main(void);

#endif
