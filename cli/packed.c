/*
 * Strict reader of the bundle's zip: see packed.h.
 */
#include "cli/packed.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zip.h>

#include "shared/fd.h"
#include "shared/uuid.h"

/* Sizes of the fixed parts of a zip (APPNOTE.TXT 4.3.7, 4.3.12, 4.3.16). */
#define LOCAL_LEN    30
#define CENTRAL_LEN  46
#define END_LEN      22
#define NAME_MAX_LEN 160
/* End record plus the longest comment a zip can carry. */
#define END_SEARCH (END_LEN + 65535)
#define READ_CHUNK (256u << 10)
/* Regular file, rw-r--r--. */
#define UNIX_MODE 0100644u

struct reader {
    const char *map;
    size_t size;
    zip_t *zip;
    size_t at;         /* where the next local header must begin */
    uint32_t *offsets; /* local header offset per entry */
};

static void put16(unsigned char *p, unsigned v)
{
    p[0] = (unsigned char)v;
    p[1] = (unsigned char)(v >> 8);
}

static void put32(unsigned char *p, uint32_t v)
{
    put16(p, v & 0xffff);
    put16(p + 2, v >> 16);
}

/* The 26 bytes that local and central headers share, from "version needed" on: 1.0, no flags, stored, 1980-01-01 12:01. */
static void put_common(unsigned char *p, const zip_stat_t *st)
{
    put16(p, 10);
    put16(p + 2, 0);
    put16(p + 4, 0);
    put16(p + 6, (12 << 11) | (1 << 5));
    put16(p + 8, 0x21);
    put32(p + 10, st->crc);
    put32(p + 14, (uint32_t)st->size);
    put32(p + 18, (uint32_t)st->size);
    put16(p + 22, (unsigned)strlen(st->name));
    put16(p + 24, 0);
}

/* The bytes at r->at must be want[0..len). */
static int expect(
    struct reader *r, const void *want, size_t len, const char *what, const char *name, struct arp_err *err)
{
    if (len > r->size - r->at || memcmp(r->map + r->at, want, len) != 0)
        return arp_fail(err, ARP_E_CORRUPT, 0, "%s%s is not in the canonical form", what, name);
    r->at += len;
    return 0;
}

static int name_check(const char *name, const char *previous, struct arp_err *err)
{
    size_t len = strlen(name);
    if (len > NAME_MAX_LEN || len < UUID_LEN + 2)
        return arp_fail(err, ARP_E_CORRUPT, 0, "entry name '%.80s' has a length no bundle file has", name);
    if (strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-/") != len)
        return arp_fail(
            err, ARP_E_CORRUPT, 0, "entry '%.80s' has a character that bundle names do not have", name);
    if (strstr(name, "..") || strstr(name, "//") || name[0] == '/')
        return arp_fail(err, ARP_E_CORRUPT, 0, "entry '%.80s' could leave its folder", name);
    if (name[len - 1] == '/')
        return arp_fail(err, ARP_E_CORRUPT, 0, "entry '%.80s' is a directory", name);
    if (previous && strcmp(previous, name) == 0)
        return arp_fail(err, ARP_E_CORRUPT, 0, "entry '%.80s' is there twice", name);
    if (previous && strcmp(previous, name) > 0)
        return arp_fail(err, ARP_E_CORRUPT, 0, "entry '%.80s' is out of order", name);
    return 0;
}

/* All entries are files below one folder named by a run id. */
static int top_check(const char *name, char run_id[37], struct arp_err *err)
{
    char top[UUID_LEN + 1];
    snprintf(top, sizeof(top), "%s", name);
    if (name[UUID_LEN] != '/' || !uuid_ok(top))
        return arp_fail(err, ARP_E_CORRUPT, 0, "entry '%.80s' is not below a folder named by a run id", name);
    if (run_id[0] && strcmp(run_id, top) != 0)
        return arp_fail(err, ARP_E_CORRUPT, 0, "two top folders: '%s' and '%s'", run_id, top);
    memcpy(run_id, top, sizeof(top));
    return 0;
}

static int attributes_check(zip_t *z, zip_uint64_t i, const zip_stat_t *st, struct arp_err *err)
{
    zip_uint8_t opsys;
    zip_uint32_t attributes;
    if (zip_file_get_external_attributes(z, i, 0, &opsys, &attributes) < 0)
        return arp_fail(err, ARP_E_CORRUPT, 0, "attributes of '%.80s': %s", st->name, zip_strerror(z));
    if (opsys == ZIP_OPSYS_UNIX && ((attributes >> 16) & 0170000) == 0120000)
        return arp_fail(err, ARP_E_CORRUPT, 0, "entry '%.80s' is a symbolic link", st->name);
    if (opsys != ZIP_OPSYS_UNIX || attributes >> 16 != UNIX_MODE)
        return arp_fail(err, ARP_E_CORRUPT, 0,
            "entry '%.80s' has the attributes %o, not those of a plain file", st->name, attributes >> 16);
    if (st->comp_method != ZIP_CM_STORE || st->encryption_method != ZIP_EM_NONE || st->comp_size != st->size)
        return arp_fail(err, ARP_E_CORRUPT, 0, "entry '%.80s' is compressed or encrypted", st->name);
    return 0;
}

/* Hash the content through libzip, which checks the CRC-32 on the way. */
static int hash_entry(
    zip_t *z, zip_uint64_t i, const zip_stat_t *st, char ret_hex[SHA256_HEX_LEN + 1], struct arp_err *err)
{
    zip_file_t *f = zip_fopen_index(z, i, 0);
    cleanup_sha256 struct sha256 *h = sha256_new();
    size_t chunk_len = st->size < READ_CHUNK ? (size_t)st->size + 1 : READ_CHUNK;
    cleanup_free char *chunk = malloc(chunk_len);
    zip_int64_t n = f && h && chunk ? 1 : -1;
    while (n > 0) {
        n = zip_fread(f, chunk, chunk_len);
        if (n > 0)
            sha256_update(h, chunk, (size_t)n);
    }
    if (f)
        zip_fclose(f);
    if (n < 0)
        return arp_fail(err, ARP_E_CORRUPT, 0,
            "the content of '%.80s' is not what its CRC-32 says, or it cannot be read", st->name);
    sha256_hex(h, ret_hex);
    return 0;
}

static int read_entry(struct reader *r, struct packed *c, size_t i, char **names, struct arp_err *err)
{
    zip_stat_t st;
    if (zip_stat_index(r->zip, i, ZIP_FL_ENC_RAW, &st) < 0 || !(st.valid & ZIP_STAT_NAME) ||
        !(st.valid & ZIP_STAT_SIZE))
        return arp_fail(err, ARP_E_CORRUPT, 0, "entry %zu: %s", i, zip_strerror(r->zip));
    const char *previous = i ? c->files[i - 1].name - (UUID_LEN + 1) : NULL;
    int rc = name_check(st.name, previous, err);
    if (!rc)
        rc = top_check(st.name, c->run_id, err);
    if (!rc)
        rc = attributes_check(r->zip, i, &st, err);
    if (rc)
        return rc;
    struct packed_file *f = &c->files[i];
    size_t len = strlen(st.name);
    memcpy(*names, st.name, len + 1);
    f->name = *names + UUID_LEN + 1;
    *names += len + 1;
    rc = hash_entry(r->zip, i, &st, f->sha256, err);
    if (rc)
        return rc;
    unsigned char local[LOCAL_LEN] = {'P', 'K', 3, 4};
    put_common(local + 4, &st);
    r->offsets[i] = (uint32_t)r->at;
    rc = expect(r, local, sizeof(local), "local header of ", f->name, err);
    if (!rc)
        rc = expect(r, st.name, len, "local name of ", f->name, err);
    if (!rc && st.size > r->size - r->at)
        rc = arp_fail(err, ARP_E_CORRUPT, 0, "'%.80s' reaches beyond the end of the file", st.name);
    if (rc)
        return rc;
    f->data = r->map + r->at;
    f->size = st.size;
    r->at += st.size;
    return 0;
}

/* Central directory and end record, byte for byte. */
static int directory_check(struct reader *r, struct packed *c, struct arp_err *err)
{
    size_t start = r->at;
    for (size_t i = 0; i < c->count; i++) {
        zip_stat_t st;
        if (zip_stat_index(r->zip, i, ZIP_FL_ENC_RAW, &st) < 0)
            return arp_fail(err, ARP_E_CORRUPT, 0, "entry %zu: %s", i, zip_strerror(r->zip));
        unsigned char central[CENTRAL_LEN] = {'P', 'K', 1, 2, 63, 3};
        put_common(central + 6, &st);
        put32(central + 38, UNIX_MODE << 16);
        put32(central + 42, r->offsets[i]);
        int rc = expect(r, central, sizeof(central), "directory entry of ", c->files[i].name, err);
        if (!rc)
            rc = expect(r, st.name, strlen(st.name), "directory name of ", c->files[i].name, err);
        if (rc)
            return rc;
    }
    unsigned char end[END_LEN] = {'P', 'K', 5, 6};
    put16(end + 8, (unsigned)c->count);
    put16(end + 10, (unsigned)c->count);
    put32(end + 12, (uint32_t)(r->at - start));
    put32(end + 16, (uint32_t)start);
    int rc = expect(r, end, sizeof(end), "the zip's end record", "", err);
    if (!rc && r->at != r->size)
        rc = arp_fail(err, ARP_E_CORRUPT, 0, "%zu bytes follow the end of the zip", r->size - r->at);
    return rc;
}

static int read_all(struct reader *r, struct packed *c, struct arp_err *err)
{
    zip_int64_t n = zip_get_num_entries(r->zip, 0);
    if (n <= 0 || n > 65535)
        return arp_fail(err, ARP_E_CORRUPT, 0, "the zip has %lld entries", (long long)n);
    c->files = calloc((size_t)n, sizeof(*c->files));
    r->offsets = calloc((size_t)n, sizeof(*r->offsets));
    c->names = malloc((size_t)n * (NAME_MAX_LEN + 1));
    if (!c->files || !r->offsets || !c->names)
        return arp_fail(err, ARP_E_NOMEM, 0, "list of entries");
    char *names = c->names;
    for (c->count = 0; c->count < (size_t)n; c->count++) {
        int rc = read_entry(r, c, c->count, &names, err);
        if (rc)
            return rc;
    }
    return directory_check(r, c, err);
}

/* Where the end record begins, searched from the end of the file; NULL when there is none. */
static const char *end_record(const char *map, size_t size)
{
    size_t from = size > END_SEARCH ? size - END_SEARCH : 0;
    for (size_t at = size >= END_LEN ? size - END_LEN + 1 : 0; at-- > from;)
        if (memcmp(map + at, "PK\5\6", 4) == 0)
            return map + at;
    return NULL;
}

static uint32_t get32(const char *p)
{
    const unsigned char *u = (const unsigned char *)p;
    return u[0] | (uint32_t)u[1] << 8 | (uint32_t)u[2] << 16 | (uint32_t)u[3] << 24;
}

/* Say in plain words why libzip calls the file inconsistent, where that is easy to tell. */
static int explain(const char *map, size_t size, zip_source_t *source, zip_error_t *ze, struct arp_err *err)
{
    const char *end = end_record(map, size);
    if (!end)
        return arp_fail(
            err, ARP_E_CORRUPT, 0, "the end of the zip is missing or damaged: the file was cut or altered");
    if ((size_t)(end - map) + END_LEN < size)
        return arp_fail(err, ARP_E_CORRUPT, 0, "%zu bytes follow the end of the zip",
            size - (size_t)(end - map) - END_LEN);
    uint64_t directory_end = (uint64_t)get32(end + 12) + get32(end + 16);
    if (directory_end < (uint64_t)(end - map))
        return arp_fail(err, ARP_E_CORRUPT, 0, "bytes were put before the zip or into it");
    zip_source_keep(source);
    zip_t *z = zip_open_from_source(source, ZIP_RDONLY, NULL);
    if (!z) {
        zip_source_free(source);
        return arp_fail(err, ARP_E_CORRUPT, 0, "the zip is damaged: %s", zip_error_strerror(ze));
    }
    int rc = 0;
    for (zip_int64_t i = 0; !rc && i < zip_get_num_entries(z, 0); i++) {
        const char *name = zip_get_name(z, (zip_uint64_t)i, ZIP_FL_ENC_RAW);
        if (name && zip_name_locate(z, name, ZIP_FL_ENC_RAW) != i)
            rc = arp_fail(err, ARP_E_CORRUPT, 0, "entry '%.80s' is there twice", name);
    }
    zip_discard(z);
    return rc ? rc
              : arp_fail(err, ARP_E_CORRUPT, 0, "the zip contradicts itself: %s", zip_error_strerror(ze));
}

static int open_zip(struct reader *r, struct packed *c, struct arp_err *err)
{
    zip_error_t ze;
    zip_error_init(&ze);
    zip_source_t *source = zip_source_buffer_create(r->map, r->size, 0, &ze);
    if (!source)
        return arp_fail(err, ARP_E_NOMEM, 0, "zip source");
    zip_source_keep(source); /* explain() reads it again when opening fails */
    r->zip = zip_open_from_source(source, ZIP_RDONLY | ZIP_CHECKCONS, &ze);
    int rc;
    if (!r->zip) {
        rc = explain(r->map, r->size, source, &ze, err);
        zip_source_free(source);
    } else {
        rc = read_all(r, c, err);
        zip_discard(r->zip);
    }
    zip_source_free(source);
    zip_error_fini(&ze);
    free(r->offsets);
    return rc;
}

int packed_open(const char *path, struct packed *ret, struct arp_err *err)
{
    *ret = (struct packed){0};
    cleanup_fd int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return arp_fail(err, ARP_E_IO, errno, "open '%s'", path);
    if (!S_ISREG(st.st_mode))
        return arp_fail(err, ARP_E_INVALID, 0, "'%s' is not a regular file", path);
    if (st.st_size < 4)
        return arp_fail(err, ARP_E_INVALID, 0, "'%s' is not a zip file", path);
    ret->map_size = (size_t)st.st_size;
    void *map = mmap(NULL, ret->map_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (map == MAP_FAILED)
        return arp_fail(err, ARP_E_IO, errno, "map '%s'", path);
    ret->map = map;
    if (memcmp(ret->map, "PK\3\4", 4) != 0 && !end_record(ret->map, ret->map_size))
        return arp_fail(err, ARP_E_INVALID, 0, "'%s' is not a zip file", path);
    struct reader r = {.map = ret->map, .size = ret->map_size};
    return open_zip(&r, ret, err);
}

void packed_done(struct packed *c)
{
    if (c->map)
        munmap(c->map, c->map_size);
    free(c->files);
    free(c->names);
    *c = (struct packed){0};
}

static int by_name(const void *key, const void *item)
{
    return strcmp(key, ((const struct packed_file *)item)->name);
}

const struct packed_file *packed_find(const struct packed *c, const char *name)
{
    return c->count ? bsearch(name, c->files, c->count, sizeof(*c->files), by_name) : NULL;
}
