/*
 * Transcript: engine.jsonl, what an engine's CLI printed on standard output, byte for byte up to LIMIT_BLOB, and its lines as they become whole.
 * Not chained: it is the engine's own word, and reader beware. Owns the file. Run thread only.
 */
#ifndef ARP_AGENT_TRANSCRIPT_H
#define ARP_AGENT_TRANSCRIPT_H

#include <stdbool.h>
#include <stdint.h>

#include "agent/evdir.h"
#include "shared/buf.h"
#include "shared/err.h"
#include "shared/hash.h"

/* A longer line is kept and not looked at: those carry outputs of commands. */
#define TRANSCRIPT_LINE_MAX (1u << 20)

struct transcript {
    int fd;
    uint64_t kept;
    struct sha256 *hash;                                      /* of the file */
    struct buf line;                                          /* begun, its LF has not come */
    bool too_long;                                            /* the line at hand is */
    void (*on_line)(void *ctx, const char *line, size_t len); /* without LF; NULL: nobody reads them */
    void *ctx;
    struct arp_err error; /* first failure of the file; code 0 while whole */
};

/* Create the file. Errors: ARP_E_IO, ARP_E_NOMEM. */
int transcript_open(struct transcript *t, const struct evdir *dir,
    void (*on_line)(void *ctx, const char *line, size_t len), void *ctx, struct arp_err *err);
void transcript_feed(struct transcript *t, const char *bytes, size_t len);
/* No byte more comes: a last line without LF is one. ret_hex: digest of the file. Errors: ARP_E_IO (also of earlier writes). */
int transcript_end(struct transcript *t, char ret_hex[SHA256_HEX_LEN + 1], struct arp_err *err);
void transcript_close(struct transcript *t); /* accepts a zeroed one */

#endif
