/*
 * Images: what names of images mean at the engine, remembered for a few seconds, so that a warm run costs no call for it.
 * Thread-safe. For the runtime's own files; others ask runtime/workspace.h.
 */
#ifndef ARP_ORCHESTRATOR_RUNTIME_IMAGES_H
#define ARP_ORCHESTRATOR_RUNTIME_IMAGES_H

#include "orchestrator/runtime/engine.h"
#include "shared/err.h"

struct images;

/* e is borrowed. NULL: out of memory. */
struct images *images_new(struct engine *e);
void images_free(struct images *im);
/* The image that name (name:tag, name@sha256:…, an id) means now, at most 5 s ago. Errors: those of engine_image_inspect. */
int images_find(struct images *im, const char *name, struct engine_image *ret, struct arp_err *err);

#endif
