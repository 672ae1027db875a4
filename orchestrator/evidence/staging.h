/*
 * A run's staging directory while it is being made: everything happens in <root>/.tmp-<runId>, one rename makes it <root>/<runId>.
 * Names are ours or checked by the caller (agent_evidence_name_ok); files are made new (O_EXCL, no links followed), mode 0600.
 * One thread at a time.
 */
#ifndef ARP_ORCHESTRATOR_EVIDENCE_STAGING_H
#define ARP_ORCHESTRATOR_EVIDENCE_STAGING_H

#include <stddef.h>

#include "shared/err.h"

struct staging;

/* Start a new directory; one left half-made by a crash is removed first. Makes root when missing.
 * Errors: ARP_E_INVALID (run_id), ARP_E_CONFLICT (<root>/<runId> exists), ARP_E_IO, ARP_E_NOMEM. */
int staging_open(const char *root, const char *run_id, struct staging **ret, struct arp_err *err);
/* Removes what was not committed. Accepts NULL. */
void staging_close(struct staging *s);

/* A new file, open for reading and writing; the caller closes it. *ret_fd. Errors: ARP_E_IO. */
int staging_create(struct staging *s, const char *name, int *ret_fd, struct arp_err *err);
/* A new file with these bytes. Errors: ARP_E_IO. */
int staging_write(struct staging *s, const char *name, const void *data, size_t len, struct arp_err *err);
/* A file of ours that lies elsewhere on the same file system gets a second name here; its bytes stay where they are. 0 too when that name
 * is taken already (a blob of the same content). Errors: ARP_E_IO. */
int staging_link(struct staging *s, int dir_fd, const char *from, const char *to, struct arp_err *err);
/* Give a file its final name; when that exists already (a blob of the same content) the old one goes. Errors: ARP_E_IO. */
int staging_rename(struct staging *s, const char *from, const char *to, struct arp_err *err);
/* Remove a file. */
void staging_unlink(struct staging *s, const char *name);
/* Sync everything to disk and give the directory its name. Errors: ARP_E_IO, ARP_E_CONFLICT. */
int staging_commit(struct staging *s, struct arp_err *err);

/* Remove <root>/<runId> and <root>/.tmp-<runId>. 0 when there is none. Errors: ARP_E_INVALID, ARP_E_IO. */
int staging_discard(const char *root, const char *run_id, struct arp_err *err);

/* Remove <root>/.tmp-<runId> only. 0 when there is none. Errors: ARP_E_INVALID, ARP_E_IO. */
int staging_discard_half(const char *root, const char *run_id, struct arp_err *err);

static inline void staging_close_ptr(struct staging **s)
{
    staging_close(*s);
}
#define cleanup_staging __attribute__((cleanup(staging_close_ptr)))

#endif
