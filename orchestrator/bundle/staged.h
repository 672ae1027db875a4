/*
 * Reading a run's staging directory: the seven files, of an engine's run three more, and blobs/sha256-<hex>, nothing else. The directory is the orchestrator's own,
 * but what it holds came from a workspace: names are checked against the closed list, symbolic links refused, digests recomputed.
 */
#ifndef ARP_ORCHESTRATOR_BUNDLE_STAGED_H
#define ARP_ORCHESTRATOR_BUNDLE_STAGED_H

#include "orchestrator/bundle/bundle.h"
#include "orchestrator/bundle/entries.h"

/* Add the files under their names (engine: those of an engine's run too) and the blobs as data/blobs/sha256-<hex> to out, with digests computed here.
 * Errors: ARP_E_EVIDENCE (a name that is not allowed, a missing file, a blob that is not its name), ARP_E_TOO_LARGE, ARP_E_IO. */
int staged_read(const char *staging_dir, bool engine, struct entries *out, struct arp_err *err);

/* Count the lines of the staged log and take the digest of its last one; the start value of the chain when it has none.
 * Errors: ARP_E_EVIDENCE (missing, last line without LF, line over LIMIT_LINE), ARP_E_IO. */
int staged_chain_end(const char *staging_dir, const char *run_id, const char *file, struct bundle_chain *ret,
    struct arp_err *err);

#endif
