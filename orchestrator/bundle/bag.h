/*
 * The papers that every bundle has: BagIt 1.0 (RFC 8493) and the README. Format: docs/formats/bundle.md, sections 2 and 3.
 */
#ifndef ARP_ORCHESTRATOR_BUNDLE_BAG_H
#define ARP_ORCHESTRATOR_BUNDLE_BAG_H

#include <stdint.h>

#include "orchestrator/bundle/entries.h"

/* What a bag says of itself; borrowed. */
struct bag {
    const char *id;   /* UUID of the run or workflow run */
    int64_t ended_us; /* its day is the bagging date */
    const char *salt; /* 64 hex digits */
};

/* The lines of README.txt that differ from kind to kind; borrowed. */
struct bag_readme {
    const char *about;    /* the first paragraphs, each with its empty line */
    const char *envelope; /* name of the file */
    const char *chains;   /* which logs are chained, without LF; so is the next */
    const char *verify;   /* the command of arpctl */
};
/* Add README.txt: how to check the bundle with stock tools. */
int bag_add_readme(const struct bag_readme *r, struct entries *e, struct arp_err *err);
/* Add bagit.txt, bag-info.txt, manifest-sha256.txt and, over all of e that is not payload, tagmanifest-sha256.txt. Call it when
 * everything but the attestation is in e; sorts e. */
int bag_seal_manifests(const struct bag *bag, struct entries *e, struct arp_err *err);

#endif
