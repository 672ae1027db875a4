/*
 * System calls by name: see seccomp_names.h. Names a libseccomp does not know are ignored where the lists are used: such a call then
 * answers ENOSYS like any other that is not listed.
 */
#include "shared/seccomp_names.h"

#include <stddef.h>

/* clang-format off */
const char *const seccomp_names_allowed[] = {
    /* files and directories */
    "access", "chdir", "chmod", "close", "close_range", "copy_file_range", "creat", "dup", "dup2", "dup3", "faccessat", "faccessat2",
    "fadvise64", "fadvise64_64", "fallocate", "fchdir", "fchmod", "fchmodat", "fchmodat2", "fcntl", "fcntl64", "fdatasync", "flock",
    "fstat", "fstat64", "fstatat64", "fstatfs", "fstatfs64", "fsync", "ftruncate", "ftruncate64", "futimesat", "getcwd", "getdents",
    "getdents64", "inotify_add_watch", "inotify_init", "inotify_init1", "inotify_rm_watch", "link", "linkat", "lseek", "_llseek",
    "lstat", "lstat64", "mkdir", "mkdirat", "mknod", "mknodat", "newfstatat", "open", "openat", "openat2", "pread64", "preadv",
    "preadv2", "pwrite64", "pwritev", "pwritev2", "read", "readahead", "readlink", "readlinkat", "readv", "rename", "renameat",
    "renameat2", "rmdir", "sendfile", "sendfile64", "splice", "stat", "stat64", "statfs", "statfs64", "statx", "symlink", "symlinkat",
    "sync", "sync_file_range", "syncfs", "tee", "truncate", "truncate64", "umask", "unlink", "unlinkat", "utime", "utimensat",
    "utimensat_time64", "utimes", "write", "writev", "cachestat",
    /* extended attributes: reading */
    "fgetxattr", "flistxattr", "getxattr", "lgetxattr", "listxattr", "llistxattr",
    /* memory */
    "brk", "madvise", "map_shadow_stack", "membarrier", "memfd_create", "mincore", "mmap", "mmap2", "mprotect", "mremap", "mseal",
    "msync", "munmap", "pkey_alloc", "pkey_free", "pkey_mprotect", "remap_file_pages", "get_mempolicy",
    /* processes and threads */
    "arch_prctl", "capget", "capset", "clone", "execve", "execveat", "exit", "exit_group", "fork", "futex", "futex_requeue",
    "futex_time64", "futex_wait", "futex_waitv", "futex_wake", "get_robust_list", "get_thread_area", "getcpu", "getegid", "getegid32",
    "geteuid", "geteuid32", "getgid", "getgid32", "getgroups", "getgroups32", "getitimer", "getpgid", "getpgrp", "getpid", "getppid",
    "getpriority", "getresgid", "getresgid32", "getresuid", "getresuid32", "getrlimit", "getrusage", "getsid", "gettid", "getuid",
    "getuid32", "ioprio_get", "ioprio_set", "kill", "landlock_add_rule", "landlock_create_ruleset", "landlock_restrict_self", "nice",
    "pause", "pidfd_open", "pidfd_send_signal", "prctl", "prlimit64", "rseq", "sched_get_priority_max", "sched_get_priority_min",
    "sched_getaffinity", "sched_getattr", "sched_getparam", "sched_getscheduler", "sched_rr_get_interval",
    "sched_rr_get_interval_time64", "sched_setaffinity", "sched_setattr", "sched_setparam", "sched_setscheduler", "sched_yield",
    "seccomp", "set_robust_list", "set_thread_area", "set_tid_address", "setfsgid", "setfsgid32", "setfsuid", "setfsuid32", "setgid",
    "setgid32", "setpgid", "setpriority", "setregid", "setregid32", "setresgid", "setresgid32", "setresuid", "setresuid32",
    "setreuid", "setreuid32", "setrlimit", "setsid", "setuid", "setuid32", "sysinfo", "tgkill", "time", "times", "tkill", "ugetrlimit",
    "uname", "vfork", "wait4", "waitid", "waitpid",
    /* signals, time, waiting */
    "alarm", "clock_getres", "clock_getres_time64", "clock_gettime", "clock_gettime64", "clock_nanosleep", "clock_nanosleep_time64",
    "epoll_create", "epoll_create1", "epoll_ctl", "epoll_ctl_old", "epoll_pwait", "epoll_pwait2", "epoll_wait", "epoll_wait_old",
    "eventfd", "eventfd2", "gettimeofday", "nanosleep", "_newselect", "pipe", "pipe2", "poll", "ppoll", "ppoll_time64", "pselect6",
    "pselect6_time64", "restart_syscall", "rt_sigaction", "rt_sigpending", "rt_sigprocmask", "rt_sigqueueinfo", "rt_sigreturn",
    "rt_sigsuspend", "rt_sigtimedwait", "rt_sigtimedwait_time64", "rt_tgsigqueueinfo", "select", "setitimer", "sigaltstack",
    "signalfd", "signalfd4", "sigprocmask", "sigreturn", "timer_create", "timer_delete", "timer_getoverrun", "timer_gettime",
    "timer_gettime64", "timer_settime", "timer_settime64", "timerfd_create", "timerfd_gettime", "timerfd_gettime64",
    "timerfd_settime", "timerfd_settime64",
    /* sockets, devices, randomness, classic asynchronous I/O */
    "accept", "accept4", "bind", "connect", "getpeername", "getrandom", "getsockname", "getsockopt", "io_cancel", "io_destroy",
    "io_getevents", "io_pgetevents", "io_pgetevents_time64", "io_setup", "io_submit", "ioctl", "listen", "recv", "recvfrom",
    "recvmmsg", "recvmmsg_time64", "recvmsg", "send", "sendmmsg", "sendmsg", "sendto", "setsockopt", "shutdown", "socket",
    "socketcall", "socketpair",
    NULL,
};

/* setuid and mknod are not here but above: GNU make's posix_spawn calls the first, pipes and valgrind need FIFOs, and the kernel refuses
 * the harmful uses. */
const char *const seccomp_names_lenient[] = {
    "chown", "chown32", "fchown", "fchown32", "fchownat", "lchown", "lchown32", "setgroups", "setgroups32", "ipc", "mq_getsetattr",
    "mq_notify", "mq_open", "mq_timedreceive", "mq_timedreceive_time64", "mq_timedsend", "mq_timedsend_time64", "mq_unlink", "msgctl",
    "msgget", "msgrcv", "msgsnd", "semctl", "semget", "semop", "semtimedop", "semtimedop_time64", "shmat", "shmctl", "shmdt", "shmget",
    "mlock", "mlock2", "mlockall", "munlock", "munlockall", "fremovexattr", "fsetxattr", "lremovexattr", "lsetxattr", "removexattr",
    "setxattr",
    /* gdb, strace and LeakSanitizer live on it; who may be traced is the kernel's rule (same uid, dumpable) */
    "ptrace",
    NULL,
};

const char *const seccomp_names_denied[] = {
    /* other processes' memory and descriptors */
    "process_vm_readv", "process_vm_writev", "process_madvise", "process_mrelease", "kcmp", "pidfd_getfd",
    /* kernel surface that has no use in a build or a test and a long record of holes */
    "io_uring_setup", "io_uring_enter", "io_uring_register", "userfaultfd", "bpf", "perf_event_open", "keyctl", "add_key",
    "request_key", "modify_ldt", "vm86", "vm86old", "vmsplice", "memfd_secret", "move_pages", "migrate_pages", "mbind",
    "set_mempolicy", "set_mempolicy_home_node", "lookup_dcookie", "uselib", "ustat", "sysfs", "_sysctl", "nfsservctl",
    /* mounts and namespaces */
    "mount", "umount", "umount2", "pivot_root", "chroot", "move_mount", "open_tree", "open_tree_attr", "fsopen", "fsconfig", "fsmount",
    "fspick", "mount_setattr", "setns", "unshare", "statmount", "listmount",
    /* file handles pass by path checks; fanotify sees others' files */
    "open_by_handle_at", "name_to_handle_at", "fanotify_init", "fanotify_mark",
    /* the machine */
    "kexec_load", "kexec_file_load", "init_module", "finit_module", "delete_module", "create_module", "query_module",
    "get_kernel_syms", "iopl", "ioperm", "acct", "quotactl", "quotactl_fd", "reboot", "swapon", "swapoff", "syslog", "sethostname",
    "setdomainname", "settimeofday", "stime", "clock_settime", "clock_settime64", "adjtimex", "clock_adjtime", "clock_adjtime64",
    "vhangup", "lsm_set_self_attr",
    NULL,
};
/* clang-format on */
