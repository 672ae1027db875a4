/*
 * Images: see images.h.
 */
#include "orchestrator/runtime/images.h"

#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "orchestrator/runtime/workspace.h"
#include "shared/clock.h"

/* A tag moves when an operator builds a new image; asking again this often notices it soon. */
#define FRESH_NS (5ll * 1000000000)
/* As many as are in use within that time on one machine; one that finds no room is asked for again. */
#define KNOWN_MAX 32

struct known {
    char name[RUNTIME_IMAGE_MAX];
    struct engine_image image;
    int64_t asked_ns; /* 0: the place is free */
};

struct images {
    struct engine *engine;
    pthread_mutex_t lock; /* guards known */
    struct known known[KNOWN_MAX];
};

struct images *images_new(struct engine *e)
{
    struct images *im = calloc(1, sizeof(*im));
    if (!im)
        return NULL;
    im->engine = e;
    pthread_mutex_init(&im->lock, NULL);
    return im;
}

void images_free(struct images *im)
{
    if (!im)
        return;
    pthread_mutex_destroy(&im->lock);
    free(im);
}

static bool recall(struct images *im, const char *name, struct engine_image *ret)
{
    bool found = false;
    int64_t now = clock_mono_ns();
    pthread_mutex_lock(&im->lock);
    for (size_t i = 0; i < KNOWN_MAX && !found; i++) {
        const struct known *k = &im->known[i];
        found = k->asked_ns != 0 && now - k->asked_ns < FRESH_NS && strcmp(k->name, name) == 0;
        if (found)
            *ret = k->image;
    }
    pthread_mutex_unlock(&im->lock);
    return found;
}

/* In the place of the same name, else in the one that was asked for longest ago. */
static void remember(struct images *im, const char *name, const struct engine_image *image)
{
    pthread_mutex_lock(&im->lock);
    struct known *at = &im->known[0];
    for (size_t i = 0; i < KNOWN_MAX; i++) {
        struct known *k = &im->known[i];
        if (strcmp(k->name, name) == 0) {
            at = k;
            break;
        }
        if (k->asked_ns < at->asked_ns)
            at = k;
    }
    snprintf(at->name, sizeof(at->name), "%s", name);
    at->image = *image;
    at->asked_ns = clock_mono_ns();
    pthread_mutex_unlock(&im->lock);
}

int images_find(struct images *im, const char *name, struct engine_image *ret, struct arp_err *err)
{
    if (strlen(name) >= RUNTIME_IMAGE_MAX)
        return arp_fail(err, ARP_E_INVALID, 0, "an image's name has at most %d bytes", RUNTIME_IMAGE_MAX - 1);
    if (recall(im, name, ret))
        return 0;
    struct engine_image image;
    int rc = engine_image_inspect(im->engine, name, &image, err);
    if (rc)
        return rc;
    remember(im, name, &image);
    *ret = image;
    return 0;
}
