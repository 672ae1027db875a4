/*
 * Is the shell shim where CLIs look? See shim.h.
 */
#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "agent/shim.h"
#include "shared/fd.h"
#include "shared/hash.h"

/* The shell of uid in /etc/passwd. Read as a file: the image's other name services are not there for the agent, nor for a static CLI. */
static int login_shell(int uid, char *ret, size_t size, struct arp_err *err)
{
    char text[4096];
    struct passwd entry = {0};
    struct passwd *found = NULL;
    FILE *f = fopen("/etc/passwd", "re");
    if (!f)
        return arp_fail(err, ARP_E_UNSUPPORTED, errno, "/etc/passwd");
    do {
        if (fgetpwent_r(f, &entry, text, sizeof(text), &found) != 0)
            found = NULL;
    } while (found && found->pw_uid != (uid_t)uid);
    fclose(f);
    if (!found)
        return arp_fail(err, ARP_E_UNSUPPORTED, 0, "/etc/passwd has no entry of uid %d", uid);
    snprintf(ret, size, "%s", found->pw_shell);
    return 0;
}

static int open_shell(const char *path, struct stat *ret_st, struct arp_err *err)
{
    cleanup_fd int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || fstat(fd, ret_st) < 0)
        return arp_fail(err, ARP_E_UNSUPPORTED, errno, "shell '%s'", path);
    if (!S_ISREG(ret_st->st_mode))
        return arp_fail(err, ARP_E_UNSUPPORTED, 0, "shell '%s' is not a file", path);
    return fd_steal(&fd);
}

int shim_probe(const char *program, int uid, struct arp_err *err)
{
    char shell[256];
    char want[SHA256_HEX_LEN + 1], have[SHA256_HEX_LEN + 1];
    struct stat program_st, shell_st;
    cleanup_fd int program_fd = open_shell(program, &program_st, err);
    int rc = program_fd < 0 ? program_fd : login_shell(uid, shell, sizeof(shell), err);
    if (rc)
        return rc;
    cleanup_fd int shell_fd = open_shell(shell, &shell_st, err);
    if (shell_fd < 0)
        return shell_fd;
    if (program_st.st_dev == shell_st.st_dev && program_st.st_ino == shell_st.st_ino)
        return 0;
    rc = sha256_fd(program_fd, want, NULL, err);
    if (rc == 0)
        rc = sha256_fd(shell_fd, have, NULL, err);
    if (rc)
        return rc;
    if (strcmp(want, have) != 0)
        return arp_fail(err, ARP_E_UNSUPPORTED, 0,
            "the shell of uid %d in /etc/passwd is '%s', which is not the shell shim", uid, shell);
    return 0;
}
