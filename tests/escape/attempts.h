/*
 * Every attempt of tests/escape, in the groups in which escape_test.c runs them, and what must be seen of it from outside.
 * A group is one run: its attempts are the run's commands, in this order. In all of them the agent must be the same process as before,
 * the evidence must verify, root's secret must be in no bundle, nothing may be left running, and the next run must work.
 */
#ifndef ARP_TESTS_ESCAPE_ATTEMPTS_H
#define ARP_TESTS_ESCAPE_ATTEMPTS_H

#include <stdbool.h>
#include <stddef.h>

struct attempt {
    /* The program and its arguments. $PORT is the orchestrator's, $NEIGHBOUR another tenant's workspace. */
    const char *command;
    /* The system call that the command's record must count among `denied`; its answer is EPERM. NULL: the record must count none. */
    const char *denied;
    /* The same for `observed`: the call is let through to the kernel and refused there. */
    const char *observed;
    /* What processes.jsonl must say of one of its processes: a flag, or a member that is true ("argvTruncated"). NULL: no flag at all. */
    const char *noted;
    /* What its processes run is not sure, so the record may say anything of it. */
    bool unsure;
    /* How its line begins when neither of the two words will do. */
    const char *says;
};

/* Refused by the agent in the kernel's name, and counted. */
#define COUNTED(command_, call)                                                                              \
    {                                                                                                        \
        .command = (command_), .denied = (call)                                                              \
    }
/* Refused by the kernel itself, or without effect. */
#define REFUSED(command_)                                                                                    \
    {                                                                                                        \
        .command = (command_), .says = "DENIED"                                                              \
    }
#define HARMLESS(command_)                                                                                   \
    {                                                                                                        \
        .command = (command_), .says = "CONTAINED"                                                           \
    }
#define EITHER(command_)                                                                                     \
    {                                                                                                        \
        .command = (command_)                                                                                \
    }
#define TRACED(command_)                                                                                     \
    {                                                                                                        \
        .command = (command_), .says = "DENIED EPERM", .observed = "ptrace"                                  \
    }
#define UNSURE(command_)                                                                                     \
    {                                                                                                        \
        .command = (command_), .says = "CONTAINED", .unsure = true                                           \
    }
#define NOTED(command_, what)                                                                                \
    {                                                                                                        \
        .command = (command_), .says = "CONTAINED", .noted = (what)                                          \
    }

static const struct attempt attempts_mounts[] = {
    COUNTED("mount", "mount"),
    COUNTED("remount", "mount"),
    COUNTED("umount", "umount2"),
    COUNTED("pivot_root", "pivot_root"),
    COUNTED("chroot", "chroot"),
    COUNTED("open_tree", "open_tree"),
    COUNTED("fsopen", "fsopen"),
    COUNTED("fspick", "fspick"),
    COUNTED("move_mount", "move_mount"),
    COUNTED("mount_setattr", "mount_setattr"),
    COUNTED("name_to_handle", "name_to_handle_at"),
    COUNTED("open_by_handle", "open_by_handle_at"),
};

static const struct attempt attempts_namespaces[] = {
    COUNTED("unshare mount", "unshare"),
    COUNTED("unshare cgroup", "unshare"),
    COUNTED("unshare uts", "unshare"),
    COUNTED("unshare ipc", "unshare"),
    COUNTED("unshare user", "unshare"),
    COUNTED("unshare pid", "unshare"),
    COUNTED("unshare net", "unshare"),
    COUNTED("unshare time", "unshare"),
    COUNTED("clone_namespace mount", "clone"),
    COUNTED("clone_namespace cgroup", "clone"),
    COUNTED("clone_namespace uts", "clone"),
    COUNTED("clone_namespace ipc", "clone"),
    COUNTED("clone_namespace user", "clone"),
    COUNTED("clone_namespace pid", "clone"),
    COUNTED("clone_namespace net", "clone"),
    REFUSED("clone3_namespace"),
    COUNTED("setns", "setns"),
    REFUSED("uid_map"),
};

/* The agent, and the launcher of the run: what ends them, stops them, slows them down, or reads them. */
#define ATTEMPTS_ON(who)                                                                                     \
    TRACED("ptrace_attach " who), TRACED("ptrace_seize " who),                                               \
        COUNTED("process_vm_read " who, "process_vm_readv"),                                                 \
        COUNTED("process_vm_write " who, "process_vm_writev"),                                               \
        COUNTED("process_madvise " who, "process_madvise"),                                                  \
        COUNTED("process_mrelease " who, "process_mrelease"), COUNTED("pidfd_getfd " who, "pidfd_getfd"),    \
        COUNTED("kcmp " who, "kcmp"), COUNTED("move_pages " who, "move_pages"), REFUSED("robust_list " who), \
        COUNTED("limits_of " who, "prlimit64"), REFUSED("io_priority " who),                                 \
        REFUSED("proc_open " who " mem"), REFUSED("proc_open " who " environ"),                              \
        REFUSED("proc_open " who " maps"), REFUSED("proc_open " who " auxv"),                                \
        REFUSED("proc_open " who " exe"), REFUSED("proc_open " who " cwd"),                                  \
        REFUSED("proc_open " who " root"), REFUSED("proc_open " who " fd"),                                  \
        REFUSED("proc_open " who " fd/3"), REFUSED("proc_open " who " map_files"),                           \
        REFUSED("proc_open " who " ns/mnt"), REFUSED("proc_open " who " io"),                                \
        REFUSED("proc_open " who " syscall"), REFUSED("proc_open " who " stack"),                            \
        REFUSED("proc_open " who " pagemap"), REFUSED("proc_link " who " exe"),                              \
        REFUSED("proc_link " who " cwd"), REFUSED("proc_link " who " root"),                                 \
        REFUSED("proc_link " who " fd/3"), HARMLESS("proc_write " who)
#define SIGNALS_FOR(who)                                                                                     \
    REFUSED("signal " who " KILL"), REFUSED("signal " who " STOP"), REFUSED("signal " who " TERM"),          \
        REFUSED("signal " who " INT"), REFUSED("signal " who " CHLD"), REFUSED("signal " who " SEGV"),       \
        REFUSED("signal_thread " who), REFUSED("signal_queue " who), EITHER("signal_by_owner " who),         \
        REFUSED("pidfd_signal " who)

static const struct attempt attempts_agent[] = {
    ATTEMPTS_ON("agent"),
    REFUSED("nice agent"),
    REFUSED("affinity agent"),
    REFUSED("scheduler agent"),
    REFUSED("scheduler_attributes agent"),
    REFUSED("scheduler_parameters agent"),
};
static const struct attempt attempts_launcher[] = {
    ATTEMPTS_ON("launcher"),
    COUNTED("nice launcher", "setpriority"),
    COUNTED("affinity launcher", "sched_setaffinity"),
    COUNTED("scheduler launcher", "sched_setscheduler"),
    COUNTED("scheduler_attributes launcher", "sched_setattr"),
    COUNTED("scheduler_parameters launcher", "sched_setparam"),
    COUNTED("nice_user", "setpriority"),
    COUNTED("nice_group", "setpriority"),
};
static const struct attempt attempts_signals[] = {
    SIGNALS_FOR("agent"),
    SIGNALS_FOR("launcher"),
    HARMLESS("signal_by_parent"),
    HARMLESS("signal_by_orphan"),
    HARMLESS("signal_everybody"),
};

static const struct attempt attempts_kernel[] = {
    COUNTED("keyctl", "keyctl"),
    COUNTED("add_key", "add_key"),
    COUNTED("request_key", "request_key"),
    COUNTED("bpf", "bpf"),
    COUNTED("io_uring", "io_uring_setup"),
    COUNTED("userfaultfd", "userfaultfd"),
    COUNTED("perf_event_open", "perf_event_open"),
    COUNTED("memfd_secret", "memfd_secret"),
    COUNTED("vmsplice", "vmsplice"),
    COUNTED("modify_ldt", "modify_ldt"),
    COUNTED("iopl", "iopl"),
    COUNTED("ioperm", "ioperm"),
    COUNTED("fanotify", "fanotify_init"),
    COUNTED("kexec", "kexec_load"),
    COUNTED("module_load", "init_module"),
    COUNTED("module_load_file", "finit_module"),
    COUNTED("module_unload", "delete_module"),
    COUNTED("reboot", "reboot"),
    COUNTED("swapon", "swapon"),
    COUNTED("acct", "acct"),
    COUNTED("quotactl", "quotactl"),
    COUNTED("kernel_log", "syslog"),
    COUNTED("sethostname", "sethostname"),
    COUNTED("setdomainname", "setdomainname"),
    COUNTED("settimeofday", "settimeofday"),
    COUNTED("clock_settime", "clock_settime"),
    COUNTED("adjtimex", "adjtimex"),
    COUNTED("vhangup", "vhangup"),
    REFUSED("personality"),
    REFUSED("personality_high_bits"),
    EITHER("x32_call"),
    HARMLESS("i386_call"),
    COUNTED("tiocsti", "ioctl"),
    COUNTED("tiocsti_high_bits", "ioctl"),
    COUNTED("tioclinux", "ioctl"),
    COUNTED("tiocsetd", "ioctl"),
};

static const struct attempt attempts_credentials[] = {
    REFUSED("setuid 0"),
    REFUSED("setuid 1001"),
    REFUSED("setuid 1002"),
    REFUSED("setgid"),
    REFUSED("setgroups"),
    HARMLESS("setfsuid"),
    REFUSED("capset"),
    REFUSED("capability_ambient"),
    HARMLESS("capability_bounding"),
    HARMLESS("capability_held"),
    REFUSED("secure_bits"),
    HARMLESS("no_new_privs_off"),
    HARMLESS("seccomp_off"),
    REFUSED("seccomp_listener"),
    REFUSED("seccomp_takeover"),
    REFUSED("landlock_widen"),
    HARMLESS("dumpable_off"),
    COUNTED("prctl_mm", "prctl"),
    COUNTED("prctl_mm_arguments", "prctl"),
    COUNTED("prctl_tracer", "prctl"),
    HARMLESS("set_uid_program"),
    REFUSED("raise_limits fsize"),
    REFUSED("raise_limits nofile"),
    REFUSED("raise_limits core"),
    HARMLESS("descriptors"),
    REFUSED("descriptor_passing"),
    HARMLESS("environment"),
};

static const struct attempt attempts_evidence[] = {
    REFUSED("evidence_list"),
    REFUSED("evidence_read"),
    REFUSED("evidence_append"),
    REFUSED("evidence_cut"),
    REFUSED("evidence_unlink"),
    REFUSED("evidence_mkdir"),
    REFUSED("evidence_symlink"),
    REFUSED("evidence_hardlink"),
    REFUSED("evidence_rename"),
    REFUSED("evidence_exchange"),
    REFUSED("evidence_chmod"),
    REFUSED("evidence_chown"),
    REFUSED("evidence_utimes"),
    REFUSED("evidence_watch"),
    REFUSED("evidence_by_descriptor"),
    REFUSED("workspace_chmod"),
    REFUSED("workspace_create"),
    REFUSED("workspace_rename"),
    REFUSED("snapshot_store"),
    REFUSED("root_secret"),
    REFUSED("hardlink_secret"),
    REFUSED("chown_to_root"),
    REFUSED("mknod_block"),
    REFUSED("mknod_character"),
    HARMLESS("result_link"),
    HARMLESS("result_descriptor_link"),
    UNSURE("race_script"),
    UNSURE("race_script_fifo"),
    HARMLESS("race_result"),
};
/* Each a run of its own: the agent reads what they leave when the run ends, and again when the next begins. */
static const struct attempt attempts_traps[] = {
    HARMLESS("race_results_folder"),
    HARMLESS("race_repository"),
    HARMLESS("git_planted"),
    HARMLESS("git_ignore_link"),
    HARMLESS("git_objects_link"),
    HARMLESS("git_config_link"),
    HARMLESS("git_head_link"),
};

static const struct attempt attempts_system[] = {
    REFUSED("sysrq_trigger"),
    REFUSED("core_pattern"),
    REFUSED("modprobe_path"),
    REFUSED("own_memory"),
    REFUSED("kernel_memory"),
    REFUSED("dev_mem"),
    REFUSED("oom_score"),
    HARMLESS("sysctl_sweep"),
    HARMLESS("sysfs_sweep"),
    HARMLESS("root_sweep"),
    HARMLESS("device_sweep"),
    REFUSED("agent_binary"),
    REFUSED("agent_library"),
    REFUSED("preload"),
    EITHER("cgroup_file cgroup.procs"),
    EITHER("cgroup_file release_agent"),
    EITHER("cgroup_file pids.max"),
    EITHER("cgroup_file memory.limit_in_bytes"),
    {.command = "execute_traced", .says = "CONTAINED", .observed = "ptrace", .noted = "traced"},
    NOTED("execute_changed", "argv_changed"),
    HARMLESS("execute_thread"),
    HARMLESS("execute_self"),
    NOTED("execute_memory", "memfd"),
    NOTED("execute_deleted", "deleted"),
    NOTED("execute_unreadable", "unhashed"),
    NOTED("huge_arguments", "argvTruncated"),
    NOTED("execute_large", "unhashed"),
    COUNTED("flood_refusals", "unshare"),
    UNSURE("flood_executions"),
};

static const struct attempt attempts_network[] = {
    REFUSED("packet_socket"),
    COUNTED("raw_socket", "socket"),
    COUNTED("raw_socket_flags", "socket"),
    REFUSED("vsock"),
    COUNTED("netlink_audit", "socket"),
    REFUSED("crypto_socket"),
    REFUSED("socket_high_bits"),
    HARMLESS("agent_port"),
    EITHER("agent_port_source"),
    REFUSED("agent_port_bind"),
    EITHER("agent_port_flood"),
    REFUSED("host_port $PORT"),
    REFUSED("connect $NEIGHBOUR 8811"),
    REFUSED("connect 169.254.169.254 80"),
    REFUSED("connect 1.1.1.1 443"),
    REFUSED("connect 2606:4700:4700::1111 443"),
    HARMLESS("dns"),
    REFUSED("unix_socket"),
    HARMLESS("abstract_socket"),
};

/* Each a run of its own. */
static const struct attempt attempts_exhaustion[] = {
    HARMLESS("fork_bomb"),
    HARMLESS("stubborn_processes"),
    EITHER("memory_bomb"),
    HARMLESS("memory_of_agent"),
    REFUSED("tmp_fill"),
    REFUSED("file_size"),
};

#endif
