/*
 * Landlock: see landlock.h.
 */
#include "agent/landlock.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "shared/fd.h"

/* Rights and fields that came after the kernel headers this is built with. */
#ifndef LANDLOCK_ACCESS_FS_TRUNCATE
#define LANDLOCK_ACCESS_FS_TRUNCATE (1ull << 14)
#endif
#ifndef LANDLOCK_ACCESS_FS_IOCTL_DEV
#define LANDLOCK_ACCESS_FS_IOCTL_DEV (1ull << 15)
#endif
#ifndef LANDLOCK_ACCESS_NET_CONNECT_TCP
#define LANDLOCK_ACCESS_NET_CONNECT_TCP (1ull << 1)
#endif
#ifndef LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET
#define LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET (1ull << 0)
#define LANDLOCK_SCOPE_SIGNAL               (1ull << 1)
#endif

/* LANDLOCK_RULE_NET_PORT of enum landlock_rule_type, and struct landlock_net_port_attr. */
#define RULE_NET_PORT 2
struct net_port_attr {
    uint64_t allowed_access;
    uint64_t port; /* of this machine's byte order */
};

/* struct landlock_ruleset_attr as of ABI 6. */
struct ruleset_attr {
    uint64_t handled_access_fs;
    uint64_t handled_access_net;
    uint64_t scoped;
};

#define ACCESS_READ (LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)

int landlock_abi(void)
{
    long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    return abi > 0 ? (int)abi : 0;
}

/* All file rights the ABI knows. Bits 0 to 12 are ABI 1. */
static uint64_t all_access(int abi)
{
    uint64_t all = (1ull << 13) - 1;
    if (abi >= 2)
        all |= LANDLOCK_ACCESS_FS_REFER;
    if (abi >= 3)
        all |= LANDLOCK_ACCESS_FS_TRUNCATE;
    if (abi >= 5)
        all |= LANDLOCK_ACCESS_FS_IOCTL_DEV;
    return all;
}

/* ENOENT is left to the caller to judge. */
static int add_beneath(int ruleset, const char *path, uint64_t access)
{
    cleanup_fd int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return errno;
    struct landlock_path_beneath_attr rule = {.allowed_access = access, .parent_fd = fd};
    return syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) < 0 ? errno : 0;
}

static int add_port(int ruleset, uint16_t port)
{
    struct net_port_attr rule = {.allowed_access = LANDLOCK_ACCESS_NET_CONNECT_TCP, .port = port};
    return syscall(SYS_landlock_add_rule, ruleset, RULE_NET_PORT, &rule, 0) < 0 ? errno : 0;
}

int landlock_restrict(int abi, const char *const *writable, uint16_t connect_port)
{
    struct ruleset_attr attr = {.handled_access_fs = all_access(abi)};
    size_t size = sizeof(attr.handled_access_fs);
    if (connect_port) { /* a kernel that does not know it refuses the larger struct (E2BIG) */
        attr.handled_access_net = LANDLOCK_ACCESS_NET_CONNECT_TCP;
        size += sizeof(attr.handled_access_net);
    }
    if (abi >= 6) {
        attr.scoped = LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET | LANDLOCK_SCOPE_SIGNAL;
        size = sizeof(attr);
    }
    cleanup_fd int ruleset = (int)syscall(SYS_landlock_create_ruleset, &attr, size, 0);
    if (ruleset < 0)
        return errno;
    int rc = add_beneath(ruleset, "/", ACCESS_READ);
    for (const char *const *path = writable; rc == 0 && *path; path++) {
        rc = add_beneath(ruleset, *path, attr.handled_access_fs);
        if (rc == ENOENT)
            rc = 0;
    }
    if (rc == 0 && connect_port)
        rc = add_port(ruleset, connect_port);
    if (rc == 0 && syscall(SYS_landlock_restrict_self, ruleset, 0) < 0)
        rc = errno;
    return rc;
}

bool landlock_confines_connect(uint16_t connect_port)
{
    /* The discard port, where nobody listens; without Landlock the answer would be ECONNREFUSED. */
    struct sockaddr_in to = {.sin_family = AF_INET,
        .sin_port = htons(connect_port == 9 ? 7 : 9),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    cleanup_fd int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    return fd >= 0 && connect(fd, (const struct sockaddr *)&to, sizeof(to)) < 0 && errno == EACCES;
}
