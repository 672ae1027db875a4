/*
 * The zip file of a bundle, read strictly: libzip must find it consistent, and every byte outside the files' content must be what
 * the one canonical form says (docs/formats/bundle.md, section 4), so nothing can hide in the container. Files are stored, so their
 * content is a borrowed slice of the mapped file. Read-only after opening; one thread.
 */
#ifndef ARP_CLI_PACKED_H
#define ARP_CLI_PACKED_H

#include <stdbool.h>
#include <stdint.h>

#include "shared/err.h"
#include "shared/hash.h"

struct packed_file {
    const char *name; /* below the top folder */
    const char *data; /* not NUL-terminated */
    size_t size;
    char sha256[SHA256_HEX_LEN + 1];
};

struct packed {
    char run_id[37];           /* name of the top folder */
    struct packed_file *files; /* sorted by name */
    size_t count;
    char *map;
    size_t map_size;
    char *names; /* storage behind files[].name */
};

/* Open, check and hash the bundle at path. Errors: ARP_E_IO (cannot be read), ARP_E_INVALID (not a zip at all), ARP_E_CORRUPT (a
 * zip that is not a bundle's canonical container; the message names what is wrong). Release with packed_done() in any case. */
int packed_open(const char *path, struct packed *ret, struct arp_err *err);
void packed_done(struct packed *c);
/* The file of that name, or NULL. */
const struct packed_file *packed_find(const struct packed *c, const char *name);

#endif
