/*
 * Workspace: see workspace.h.
 */
#include "agent/workspace.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/evdir.h"
#include "agent/exec.h"
#include "agent/sandbox.h"
#include "agent/snapshot_proc.h"
#include "shared/fd.h"

#define INIT_TIMEOUT_MS 20000

/* Make root_fd/name if it is missing and give it to uid; an existing one must be a directory of that owner. */
static int ensure_dir(int root_fd, const char *name, mode_t mode, uid_t uid, gid_t gid, struct arp_err *err)
{
    struct stat st;
    if (mkdirat(root_fd, name, mode) < 0 && errno != EEXIST)
        return arp_fail(err, ARP_E_IO, errno, "create '%s'", name);
    if (fstatat(root_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISDIR(st.st_mode))
        return arp_fail(err, ARP_E_IO, errno, "'%s' is not a directory", name);
    if (st.st_uid != uid || st.st_gid != gid) {
        if (fchownat(root_fd, name, uid, gid, AT_SYMLINK_NOFOLLOW) < 0)
            return arp_fail(err, ARP_E_IO, errno, "give '%s' to uid %u", name, (unsigned)uid);
    } else if (uid == 0 && fchmodat(root_fd, name, mode, 0) < 0) {
        return arp_fail(err, ARP_E_IO, errno, "mode of '%s'", name);
    }
    return 0;
}

static int is_empty(int root_fd, const char *name, bool *ret, struct arp_err *err)
{
    int fd = fd_open_beneath(root_fd, name, O_RDONLY | O_DIRECTORY, 0, err);
    if (fd < 0)
        return fd;
    DIR *d = fdopendir(fd);
    if (!d) {
        close(fd);
        return arp_fail(err, ARP_E_IO, errno, "list '%s'", name);
    }
    int n = 0;
    for (struct dirent *e; n == 0 && (e = readdir(d));)
        n = strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
    closedir(d);
    *ret = n == 0;
    return 0;
}

static int init_repo(const struct workspace *w, struct reaper *r, struct arp_err *err)
{
    cleanup_fd int cwd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    cleanup_fd int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    cleanup_fd int log = fcntl(2, F_DUPFD_CLOEXEC, 3);
    if (cwd < 0 || null < 0 || log < 0)
        return arp_fail(err, ARP_E_IO, errno, "descriptors of init-repo");
    const char *argv[] = {"/proc/self/exe", "init-repo", w->root, NULL};
    const char *envp[] = {"LANG=C.UTF-8", NULL};
    struct exec_spec spec = {.argv = argv,
        .envp = envp,
        .cwd_fd = cwd,
        .in_fd = null,
        .out_fd = null,
        .err_fd = log,
        .uid = SANDBOX_UID,
        .gid = SANDBOX_GID,
        .fsize = SANDBOX_FSIZE};
    struct child child;
    struct exec_outcome outcome;
    int rc = exec_spawn(r, &spec, &child, &outcome, err);
    if (rc)
        return rc;
    int status = -1;
    bool ended = reaper_wait(r, &child, INIT_TIMEOUT_MS) && reaper_result(r, &child, &status, NULL);
    reaper_forget(r, &child);
    if (!ended || outcome.stage != EXEC_STARTED || !WIFEXITED(status) || WEXITSTATUS(status) != 0)
        return arp_fail(err, ARP_E_IO, outcome.sys_errno, "make the repository (%s)", outcome.step);
    return 0;
}

int workspace_open(const char *root, struct reaper *r, struct workspace *ret, struct arp_err *err)
{
    *ret = (struct workspace){.fd = -1};
    if (root[0] != '/' || strlen(root) >= sizeof(ret->root))
        return arp_fail(err, ARP_E_INVALID, 0, "the workspace must be an absolute path");
    memcpy(ret->root, root, strlen(root) + 1);
    cleanup_fd int fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return arp_fail(err, ARP_E_IO, errno, "open the workspace '%s'", root);
    struct stat st;
    if (fstat(fd, &st) < 0 || st.st_uid != 0)
        return arp_fail(err, ARP_E_IO, 0, "the workspace '%s' must belong to root", root);
    if (fchmod(fd, 0755) < 0)
        return arp_fail(err, ARP_E_IO, errno, "mode of the workspace");
    bool empty = false;
    int rc = ensure_dir(fd, EVDIR_ROOT, 0700, 0, 0, err);
    if (rc == 0)
        rc = ensure_dir(fd, SNAPSHOT_STORE, 0700, SNAPSHOT_UID, SNAPSHOT_GID, err);
    if (rc == 0)
        rc = ensure_dir(fd, "repo", 0755, SANDBOX_UID, SANDBOX_GID, err);
    if (rc == 0)
        rc = is_empty(fd, "repo", &empty, err);
    if (rc == 0 && empty)
        rc = init_repo(ret, r, err);
    if (rc)
        return rc;
    ret->fd = fd_steal(&fd);
    return 0;
}

int workspace_engine_home(
    const struct workspace *w, const char *name, uid_t uid, gid_t gid, struct arp_err *err)
{
    int rc = ensure_dir(w->fd, "engine", 0755, 0, 0, err);
    if (rc)
        return rc;
    cleanup_fd int homes = fd_open_beneath(w->fd, "engine", O_RDONLY | O_DIRECTORY, 0, err);
    if (homes < 0)
        return homes;
    rc = ensure_dir(homes, name, 0700, uid, gid, err);
    return rc ? arp_wrap(err, "home of %s", name)
              : fd_open_beneath(homes, name, O_RDONLY | O_DIRECTORY, 0, err);
}
