/*
 * Spool: the bytes of one command's two streams on their way from the pipes to head, digest and blob.
 * The first CAPTURE_HEAD bytes of a stream are read into its head, and a stream that ends there costs nothing more. What follows goes through
 * SPOOL_BUFFERS buffers of SPOOL_BUFFER bytes, shared by both streams, so memory does not grow with the output. The first full buffer
 * starts a thread that hashes and writes while the caller reads on, because SHA-256 is slower than a pipe; when all buffers are full the
 * caller stops reading and the pipe holds the writer back. Where no thread can be had (the workload has used up the container's
 * process limit) the caller does that work itself.
 * All calls from one thread.
 */
#ifndef ARP_AGENT_SPOOL_H
#define ARP_AGENT_SPOOL_H

#include <stdbool.h>
#include <stdint.h>

#include "agent/evdir.h"
#include "shared/err.h"
#include "shared/hash.h"
#include "shared/limits.h"

/* Kept of each stream for the log: its LIMIT_CAPTURE_HEAD bytes and the rest of a character that begins in them. */
#define CAPTURE_HEAD (LIMIT_CAPTURE_HEAD + 3)

/* Large enough that a fast writer costs few system calls, small enough to stay in the second-level cache. */
#define SPOOL_BUFFER (256u << 10)
/* Two being filled, one being hashed, and enough between them that neither thread waits for the other's time slice. */
#define SPOOL_BUFFERS 8

/* One captured stream. */
struct capture_stream {
    char head[CAPTURE_HEAD];
    size_t head_len;
    uint64_t bytes;
    char sha256[SHA256_HEX_LEN + 1];
    bool has_blob;
    char blob_sha256[SHA256_HEX_LEN + 1]; /* equals sha256 unless the blob holds only the beginning */
    uint64_t blob_bytes;
};

struct spool;

/* streams: both zeroed; borrowed until spool_free, filled by the calls below. Errors: ARP_E_NOMEM. */
int spool_new(
    struct evdir *dir, struct capture_stream *const streams[2], struct spool **ret, struct arp_err *err);

/* Show each read's bytes to tap, on the caller's thread, as they come; which: of what stream (0, 1). */
typedef void spool_tap_fn(void *ctx, int which, const char *bytes, size_t len);
void spool_tap(struct spool *s, spool_tap_fn *tap, void *ctx);

enum spool_read { SPOOL_MORE, SPOOL_EMPTY, SPOOL_BUSY, SPOOL_END, SPOOL_ERROR };
/* Read once from fd (nonblocking) into stream which (0, 1): SPOOL_MORE bytes came, SPOOL_EMPTY nothing is there now, SPOOL_BUSY no buffer became
 * free within wait_ms, SPOOL_END end of file or unreadable, SPOOL_ERROR no memory. */
enum spool_read spool_read(struct spool *s, int which, int fd, int wait_ms);
/* Take bytes that the caller has read itself: all of them (SPOOL_MORE), or *ret_taken of them and SPOOL_BUSY or SPOOL_ERROR as above. */
enum spool_read spool_write(
    struct spool *s, int which, const char *data, size_t len, int wait_ms, size_t *ret_taken);
/* Wait for the thread; digests, counts and blobs of both streams into the streams. Once.
 * Errors: ARP_E_IO (blobs; the digests are right all the same). */
int spool_finish(struct spool *s, struct arp_err *err);
/* Finish first if need be. Accepts NULL. */
void spool_free(struct spool *s);

#endif
