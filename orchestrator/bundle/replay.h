/*
 * data/replay.json: what a re-run needs. A BagIt bag needs a payload file, so it is there for every run. Format: docs/formats/bundle.md,
 * section 6.
 */
#ifndef ARP_ORCHESTRATOR_BUNDLE_REPLAY_H
#define ARP_ORCHESTRATOR_BUNDLE_REPLAY_H

#include "orchestrator/bundle/bundle.h"
#include "orchestrator/bundle/entries.h"

int replay_add(const struct bundle_input *in, struct entries *e, struct arp_err *err);

#endif
