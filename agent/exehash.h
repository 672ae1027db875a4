/*
 * Digests of executed files. A file is known by device, inode, size and both change times, so that a program that runs a thousand times is
 * read once. Thread-safe; lives as long as the agent.
 */
#ifndef ARP_AGENT_EXEHASH_H
#define ARP_AGENT_EXEHASH_H

#include <stdbool.h>
#include <sys/stat.h>

#include "shared/hash.h"

/* Larger files are not hashed: the process that wants to run waits meanwhile. */
#define EXEHASH_FILE_MAX (1ull << 30)

struct exehash;

struct exehash *exehash_new(void); /* NULL when out of memory */
void exehash_free(struct exehash *x);
/* True and the digest when the file is known. */
bool exehash_find(struct exehash *x, const struct stat *st, char ret_hex[SHA256_HEX_LEN + 1]);
/* Read and hash a regular file and remember it. False when it is too large, can't be read, or changed meanwhile. */
bool exehash_read(struct exehash *x, int fd, char ret_hex[SHA256_HEX_LEN + 1]);

#endif
