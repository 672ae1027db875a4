/*
 * Deterministic zip writing with libzip: see zipfile.h.
 */
#include "orchestrator/bundle/zipfile.h"

#include <errno.h>
#include <stdio.h>
#include <zip.h>

/* 1980-01-01 12:01:00 in DOS form: inside the first day in every time zone, and what strip-nondeterminism(1) writes. */
#define DOS_TIME ((12 << 11) | (1 << 5))
#define DOS_DATE 0x21
/* Regular file, rw-r--r--. */
#define UNIX_MODE ((zip_uint32_t)0100644 << 16)

static void zip_discard_ptr(zip_t **z)
{
    if (*z)
        zip_discard(*z);
}

static int add(zip_t *z, const char *top, const struct entry *entry, struct arp_err *err)
{
    char name[256];
    int n = snprintf(name, sizeof(name), "%s/%s", top, entry->name);
    if (n < 0 || (size_t)n >= sizeof(name))
        return arp_fail(err, ARP_E_INVALID, 0, "entry name %s is too long", entry->name);
    zip_source_t *source = entry->bytes ? zip_source_buffer(z, entry->bytes, entry->size, 0)
                                        : zip_source_file(z, entry->path, 0, (zip_int64_t)entry->size);
    if (!source)
        return arp_fail(err, ARP_E_IO, 0, "zip source of %s: %s", name, zip_strerror(z));
    zip_int64_t index = zip_file_add(z, name, source, 0);
    if (index < 0) {
        zip_source_free(source);
        return arp_fail(err, ARP_E_IO, 0, "zip entry %s: %s", name, zip_strerror(z));
    }
    zip_uint64_t i = (zip_uint64_t)index;
    if (zip_set_file_compression(z, i, ZIP_CM_STORE, 0) < 0 ||
        zip_file_set_dostime(z, i, DOS_TIME, DOS_DATE, 0) < 0 ||
        zip_file_set_external_attributes(z, i, 0, ZIP_OPSYS_UNIX, UNIX_MODE) < 0)
        return arp_fail(err, ARP_E_IO, 0, "zip attributes of %s: %s", name, zip_strerror(z));
    return 0;
}

int zipfile_write(const char *path, const char *top, const struct entries *e, struct arp_err *err)
{
    int code = 0;
    __attribute__((cleanup(zip_discard_ptr))) zip_t *z = zip_open(path, ZIP_CREATE | ZIP_EXCL, &code);
    if (!z)
        return arp_fail(err, ARP_E_IO, errno, "create zip '%s' (libzip error %d)", path, code);
    for (size_t i = 0; i < e->count; i++) {
        int rc = add(z, top, &e->items[i], err);
        if (rc)
            return rc;
    }
    if (zip_close(z) < 0)
        return arp_fail(err, ARP_E_IO, 0, "write zip '%s': %s", path, zip_strerror(z));
    z = NULL;
    return 0;
}
