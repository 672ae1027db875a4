/*
 * Conditional and range requests (RFC 9110 sections 13 and 14), as far as sending one file needs them. Pure functions.
 */
#ifndef ARP_HTTP_RANGE_H
#define ARP_HTTP_RANGE_H

#include <stdbool.h>
#include <stdint.h>

enum range {
    RANGE_WHOLE, /* no Range, another unit, bad syntax or several ranges: send everything, as 14.2 allows */
    RANGE_PART,  /* *ret_first and *ret_len (> 0) are set */
    RANGE_UNMET  /* valid, but no byte of the file is in it: 416 */
};
/* Understand a Range header (NULL when absent) for a file of size_bytes. */
enum range range_parse(const char *header, uint64_t size_bytes, uint64_t *ret_first, uint64_t *ret_len);

/* True when an If-None-Match header (NULL when absent) lists etag or "*"; weak comparison (13.1.2). etag: with its quotes. */
bool etag_listed(const char *header, const char *etag);

#endif
