/*
 * The files a run leaves in the orchestrator's staging directory, as bundles are built from them: a story told with its chains, clock and
 * blobs, always the same. Nothing of the code under test but the JSON writer and the chain is used. One thread; aborts on trouble of the machine.
 */
#ifndef ARP_TESTS_SUPPORT_RUN_STORY_H
#define ARP_TESTS_SUPPORT_RUN_STORY_H

#include <stdio.h>
#include <stdlib.h>

#include "tests/support/evidence_fixture.h"

/* What a fixture's making needs of the machine. */
#define MUST(x)                                                                                              \
    do {                                                                                                     \
        if (!(x)) {                                                                                          \
            fprintf(stderr, "fixture: %s:%d: %s\n", __FILE__, __LINE__, #x);                                 \
            abort();                                                                                         \
        }                                                                                                    \
    } while (0)
void put_file(const char *dir, const char *name, const void *bytes, size_t len);

/* Write <staging>/<run_id> and fill *ret (strings: static or run_id, valid until the next call). */
void story_write(const char *staging, const char *run_id, enum fixture_kind kind,
    const struct fixture_step *step, struct bundle_input *ret);

#endif
