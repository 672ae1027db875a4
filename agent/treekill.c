/*
 * Tree kill: see treekill.h.
 */
#include "agent/treekill.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "shared/clock.h"
#include "shared/fd.h"

int tree_kill(uid_t uid, struct arp_err *err)
{
    if (uid == 0)
        return arp_fail(err, ARP_E_INTERNAL, 0, "tree_kill of uid 0");
    /* Raw system calls: glibc's setresuid changes every thread of the process. */
    if (syscall(SYS_setresuid, uid, uid, 0) < 0)
        return arp_fail(err, ARP_E_IO, errno, "setresuid to %u", (unsigned)uid);
    int rc = kill(-1, SIGKILL);
    int saved = errno;
    if (syscall(SYS_setresuid, 0, 0, 0) < 0)
        abort(); /* a thread of the agent must never go on as the workload */
    if (rc < 0 && saved != ESRCH && saved != EPERM)
        return arp_fail(err, ARP_E_IO, saved, "kill all of uid %u", (unsigned)uid);
    return 0;
}

/* True when /proc/<pid>/status tells of a live process that has uid as real or saved uid: those kill(2) can reach. */
static bool is_live_of(int proc_fd, const char *pid, uid_t uid)
{
    char path[64];
    char text[1536];
    snprintf(path, sizeof(path), "%.20s/status", pid);
    cleanup_fd int fd = openat(proc_fd, path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
    if (n <= 0)
        return false; /* it ended in between */
    text[n] = 0;
    const char *state = strstr(text, "\nState:");
    const char *ids = strstr(text, "\nUid:");
    unsigned real, effective, saved;
    char code;
    if (!state || !ids || sscanf(state, "\nState: %c", &code) != 1 ||
        sscanf(ids, "\nUid: %u %u %u", &real, &effective, &saved) != 3)
        return false;
    return code != 'Z' && code != 'X' && (real == uid || saved == uid);
}

/* True when the kernel has no process with uid as its real one in this pid namespace, zombies included. One call that walks the process
 * list in the kernel, where /proc takes four per process. Nobody without capabilities has uid as saved uid only. */
static bool has_none(uid_t uid)
{
    errno = 0; /* -1 is a priority too */
    getpriority(PRIO_USER, uid);
    return errno == ESRCH;
}

int tree_count(uid_t uid)
{
    if (has_none(uid))
        return 0;
    DIR *d = opendir("/proc");
    if (!d)
        return -1;
    int n = 0;
    for (struct dirent *e; (e = readdir(d));) {
        if (e->d_name[0] > '0' && e->d_name[0] <= '9' && is_live_of(dirfd(d), e->d_name, uid))
            n++;
    }
    closedir(d);
    return n;
}

int tree_kill_wait(uid_t uid, int timeout_ms, struct arp_err *err)
{
    int64_t until = clock_mono_ns() + timeout_ms * 1000000ll;
    for (long pause_us = 200;; pause_us = pause_us < 10000 ? pause_us * 2 : pause_us) {
        int rc = tree_kill(uid, err);
        if (rc)
            return rc;
        int left = tree_count(uid);
        if (left == 0)
            return 0;
        if (left < 0)
            return arp_fail(err, ARP_E_IO, errno, "list processes");
        if (clock_mono_ns() > until)
            return arp_fail(err, ARP_E_IO, 0, "%d processes of uid %u survived", left, (unsigned)uid);
        nanosleep(&(struct timespec){.tv_nsec = pause_us * 1000}, NULL);
    }
}
