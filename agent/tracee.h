/*
 * Tracee: what /proc tells about a process of the workload while the kernel holds it still (it waits for the answer to a seccomp
 * notification). Called on a thread whose fsuid and fsgid are the commands': the kernel then grants what one process of that uid may
 * see of another, and no path the workload chose can lead anywhere else. Nothing read here is believed beyond what the kernel keeps itself:
 * arguments asked for before an exec lie in memory that others may write to; exe, and the arguments right after it, do not.
 */
#ifndef ARP_AGENT_TRACEE_H
#define ARP_AGENT_TRACEE_H

#include <linux/seccomp.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "shared/err.h"
#include "shared/hash.h"

/* Argument bytes kept of one exec; the digest and the count cover more. */
#define TRACEE_ARGV_KEEP (16u << 10)
#define TRACEE_ARGV_MAX  (8u << 20) /* hashed; the kernel allows 6 MiB */
#define TRACEE_PATH_MAX  4096u
#define TRACEE_SHEBANG   256u /* BINPRM_BUF_SIZE */
#define TRACEE_SCRIPTS   5u   /* the kernel's limit of #! levels, and one */

/* Arguments: texts with their NULs, one behind the other, as in /proc/PID/cmdline. */
struct tracee_args {
    char *bytes; /* at most TRACEE_ARGV_KEEP, owned */
    size_t len;
    uint64_t total;                  /* all bytes; equals len unless cut */
    bool readable;                   /* false: nothing known */
    char sha256[SHA256_HEX_LEN + 1]; /* of all bytes; "" when they were not all read */
};

/* What a process asked execve or execveat for. */
struct tracee_asked {
    char *path;    /* owned; NULL when it can't be read */
    int fd_number; /* execveat: the process's own descriptor number; -1 otherwise */
    int file_fd;   /* the file, O_PATH: it may be gone when the exec is judged; -1 when there is none */
    int base_fd;   /* what a relative path starts from, O_PATH; -1 otherwise */
    struct tracee_args args;
};
void tracee_asked_init(struct tracee_asked *a);
void tracee_read_asked(pid_t tid, const struct seccomp_data *call, struct tracee_asked *ret);
/* Fill file_fd of what tid asks for; the rest is known. */
void tracee_hold(pid_t tid, struct tracee_asked *a);
/* The file asked for, for reading; only a regular one. Returns the fd or -1. */
int tracee_open_asked(pid_t pid, const struct tracee_asked *a);
/* Tells one memory image of a process from the next: every exec makes a new one, nothing else does. 0: unknown (it can't be read). */
uint64_t tracee_image(pid_t pid);
/* False where the kernel puts every program at the same addresses. */
bool tracee_has_images(void);
/* False for a process whose memory is closed to us: one that has not yet left the launcher's. */
bool tracee_is_readable(pid_t pid);
void tracee_asked_done(struct tracee_asked *a);
/* stat(2) the file asked for, as of now. 0 or an errno. */
int tracee_stat_asked(pid_t pid, const struct tracee_asked *a, struct stat *ret);
/* Path of an open file or directory; owned by the caller, NULL for none. */
char *tracee_path_of(int fd);
/* Open path as pid would, beginning at base_fd, or at its working directory when that is -1. Only regular files, never blocks.
 * Returns the fd or -1. */
int tracee_open(pid_t pid, int base_fd, const char *path);

/* What the kernel says the process is. */
struct tracee_seen {
    char *exe;            /* owned; link text of /proc/PID/exe; NULL when it can't be read */
    struct stat exe_stat; /* st_ino 0: unknown */
    char *cwd;            /* owned; NULL when unknown */
    struct tracee_args args;
};
void tracee_look(pid_t pid, struct tracee_seen *ret);
void tracee_seen_done(struct tracee_seen *s);
/* The running file for reading; -1 when it can't be opened. */
int tracee_open_exe(pid_t pid);

/* Thread group, parent and real uid. pidfd may be -1. False when the process is gone. */
struct tracee_ids {
    pid_t tgid, ppid;
    uid_t uid;
};
bool tracee_ids(pid_t pid, int pidfd, struct tracee_ids *ret);
bool tracee_is_traced(pid_t pid);

/* wait(2) status of a process that has been reaped, through its pidfd (Linux 6.15). False when the kernel does not tell. */
bool tracee_exit_status(int pidfd, int *ret_status);
/* Does this kernel tell exit statuses of processes that are not our children? */
bool tracee_tells_exit(void);

#endif
