/*
 * The BagIt 1.0 papers (RFC 8493) of a bundle, the README and the replay plan: everything the builder adds that is neither
 * metadata about the work (crate.h) nor the seal (statement.h). Format: docs/formats/bundle.md, sections 2 and 3.
 */
#ifndef ARP_ORCHESTRATOR_BUNDLE_BAG_H
#define ARP_ORCHESTRATOR_BUNDLE_BAG_H

#include "orchestrator/bundle/bundle.h"
#include "orchestrator/bundle/entries.h"

/* Add data/replay.json: what a re-run needs. A bag needs a payload file, so it is there for every run. */
int bag_add_replay_plan(const struct bundle_input *in, struct entries *e, struct arp_err *err);
/* Add README.txt: how to check the bundle with stock tools. */
int bag_add_readme(const struct bundle_input *in, struct entries *e, struct arp_err *err);
/* Add bagit.txt, bag-info.txt, manifest-sha256.txt and, over all of e that is not payload, tagmanifest-sha256.txt. Call it when
 * everything but the attestation is in e; sorts e. */
int bag_seal_manifests(const struct bundle_input *in, struct entries *e, struct arp_err *err);

#endif
