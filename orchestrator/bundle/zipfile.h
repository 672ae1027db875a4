/*
 * The deterministic zip: same entries, same bytes. Every entry is stored, not deflated, with the same time, attributes and no
 * extra field, so the container has exactly one valid form and a reader can refuse every other one (docs/formats/bundle.md,
 * section 4, gives the form and the reason). Memory does not grow with the sizes of the files.
 */
#ifndef ARP_ORCHESTRATOR_BUNDLE_ZIPFILE_H
#define ARP_ORCHESTRATOR_BUNDLE_ZIPFILE_H

#include "orchestrator/bundle/entries.h"
#include "shared/err.h"

/* Write <top>/<name> of each entry, in their order, to a new file at path. Not synced. Errors: ARP_E_IO. */
int zipfile_write(const char *path, const char *top, const struct entries *e, struct arp_err *err);

#endif
