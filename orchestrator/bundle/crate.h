/*
 * ro-crate-metadata.json: the bundle described as an RO-Crate 1.1 following Process Run Crate 0.5, so that research tools can read
 * it. Nothing verifies by it; everything in it is said elsewhere too. Format: docs/formats/bundle.md, section 5.
 */
#ifndef ARP_ORCHESTRATOR_BUNDLE_CRATE_H
#define ARP_ORCHESTRATOR_BUNDLE_CRATE_H

#include "orchestrator/bundle/bundle.h"
#include "orchestrator/bundle/entries.h"

int crate_add(const struct bundle_input *in, struct entries *e, struct arp_err *err);

#endif
