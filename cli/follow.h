/*
 * Following a run's event stream to its end, over reconnects. One thread.
 */
#ifndef ARP_CLI_FOLLOW_H
#define ARP_CLI_FOLLOW_H

#include "cli/api.h"
#include "cli/view.h"
#include "shared/sse.h"

struct follow {
    struct api *api; /* borrowed */
    struct view view;
    struct sse_reader sse;
};

void follow_init(struct follow *f, struct api *api, bool raw);
void follow_done(struct follow *f);
/* Send the request that starts the stream (POST …/message/stream) and show what comes; goes on by itself when the connection breaks.
 * Returns 0 when RunCompleted was seen. */
int follow_start(struct follow *f, const char *path, const char *body, struct arp_err *err);
/* Show the events of a run from its beginning to its end. */
int follow_run(struct follow *f, const char *run_id, struct arp_err *err);

#endif
