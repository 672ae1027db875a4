/*
 * Patch: the text by which models edit files, as codex's apply_patch tool takes it:
 *   *** Begin Patch
 *   *** Add File: PATH        then lines with '+'
 *   *** Delete File: PATH
 *   *** Update File: PATH     then maybe *** Move to: PATH, then hunks: "@@" or "@@ LINE" (a line to go to first), lines with ' ', '-', '+' in front,
 *                             and maybe *** End of File (the hunk's last line is the file's last)
 *   *** End Patch
 * A hunk's old lines (' ' and '-') must stand in the file exactly so, one behind the other, behind the hunk before it; the first such place is
 * taken. A hunk without old lines inserts behind its "@@ LINE", or at the end. Whether the file ends in LF stays as it is.
 * All of a patch or nothing of it is done.
 */
#ifndef ARP_AGENT_PATCH_H
#define ARP_AGENT_PATCH_H

#include "agent/repofile.h"
#include "shared/buf.h"
#include "shared/err.h"

/* Read the patch, then the files, then write: ret_said gets a line "A path", "M path" or "D path" per file.
 * Errors: ARP_E_INVALID (no such text; the message says where), ARP_E_CONFLICT (old lines are not in the file, file there already),
 * those of repofile_read and repofile_apply. */
int patch_apply(
    const struct repofiles *files, const char *text, size_t len, struct buf *ret_said, struct arp_err *err);

/* The new content of one file. hunks: the text of its hunks, whole lines. Pure. Errors: ARP_E_INVALID, ARP_E_CONFLICT, ARP_E_TOO_LARGE, ARP_E_NOMEM. */
int patch_text(const char *old, size_t old_len, const char *hunks, size_t hunks_len, struct buf *ret,
    struct arp_err *err);

#endif
