/*
 * Installation id and secret: see installation.h.
 */
#include "orchestrator/installation.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shared/buf.h"
#include "shared/fd.h"
#include "shared/hash.h"

/* Read a small file beneath dir; when it is missing, make it with text. mode: what the file must not exceed. */
static int read_or_make(
    int dir, const char *name, const char *text, mode_t mode, struct buf *out, struct arp_err *err)
{
    cleanup_fd int fd = fd_open_beneath(dir, name, O_RDONLY, 0, err);
    if (fd < 0 && err->sys_errno != ENOENT)
        return err->code;
    if (fd < 0) {
        const char *base = strrchr(name, '/');
        cleanup_fd int sub = base ? fd_open_beneath(dir, "keys", O_RDONLY | O_DIRECTORY, 0, err)
                                  : fcntl(dir, F_DUPFD_CLOEXEC, 0);
        if (sub < 0)
            return arp_fail(err, ARP_E_IO, errno, "open the state directory");
        int rc = file_write_durable(sub, base ? base + 1 : name, text, strlen(text), mode, err);
        if (rc)
            return rc;
        buf_append_str(out, text);
        return buf_error(out, err);
    }
    struct stat st;
    if (fstat(fd, &st) < 0)
        return arp_fail(err, ARP_E_IO, errno, "stat '%s'", name);
    if (st.st_mode & 0777 & ~mode)
        return arp_fail(err, ARP_E_CORRUPT, 0, "'%s' is open to others (mode %03o): chmod %o it", name,
            (unsigned)(st.st_mode & 0777), (unsigned)mode);
    return fd_read_all(fd, out, err);
}

/* "<hex>\n" -> bytes. */
static bool parse_secret(const char *text, size_t len, unsigned char *ret)
{
    char hex[2 * INSTALLATION_SECRET_LEN + 1] = "";
    if (len != sizeof(hex) || text[len - 1] != '\n')
        return false;
    memcpy(hex, text, sizeof(hex) - 1);
    if (!sha256_hex_ok(hex))
        return false;
    for (size_t i = 0; i < INSTALLATION_SECRET_LEN; i++)
        sscanf(hex + 2 * i, "%2hhx", &ret[i]);
    return true;
}

static int load(int dir, struct installation *ret, struct arp_err *err)
{
    char id[UUID_LEN + 2];
    char hex[2 * INSTALLATION_SECRET_LEN + 2];
    unsigned char secret[INSTALLATION_SECRET_LEN];
    uuid_make(id);
    memcpy(id + UUID_LEN, "\n", 2);
    random_bytes(secret, sizeof(secret));
    hex_encode(secret, sizeof(secret), hex);
    memcpy(hex + sizeof(hex) - 2, "\n", 2);
    cleanup_buf struct buf id_text, secret_text;
    buf_init(&id_text, 128);
    buf_init(&secret_text, 128);
    int rc = read_or_make(dir, "installation-id", id, 0644, &id_text, err);
    if (rc)
        return rc;
    bool id_ok = id_text.len == UUID_LEN + 1 && id_text.data[UUID_LEN] == '\n';
    if (id_ok) {
        memcpy(ret->id, id_text.data, UUID_LEN);
        ret->id[UUID_LEN] = '\0';
    }
    if (!id_ok || !uuid_ok(ret->id))
        return arp_fail(err, ARP_E_CORRUPT, 0, "'installation-id' does not hold one UUID");
    rc = read_or_make(dir, "keys/installation.secret", hex, 0600, &secret_text, err);
    if (rc)
        return rc;
    if (!parse_secret(secret_text.data, secret_text.len, ret->secret))
        return arp_fail(err, ARP_E_CORRUPT, 0, "'keys/installation.secret' does not hold 64 hex digits");
    return 0;
}

int installation_load(const char *state_dir, struct installation *ret, struct arp_err *err)
{
    char keys[4096];
    snprintf(keys, sizeof(keys), "%s/keys", state_dir);
    int rc = dir_make(keys, 0700, err);
    if (rc)
        return rc;
    cleanup_fd int dir = open(state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    /* The lock ends with the descriptor. */
    if (dir < 0 || flock(dir, LOCK_EX) < 0)
        return arp_fail(err, ARP_E_IO, errno, "open state directory '%s'", state_dir);
    rc = load(dir, ret, err);
    return rc ? arp_wrap(err, "state directory '%s'", state_dir) : 0;
}
