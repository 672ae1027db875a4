/*
 * How the events of a run are shown on a terminal: lines for people, or the raw JSON lines. What a workspace printed is shown with
 * control characters replaced, so that it can't drive the terminal. One thread.
 */
#ifndef ARP_CLI_VIEW_H
#define ARP_CLI_VIEW_H

#include <stdbool.h>
#include <stdio.h>

#include "shared/err.h"

enum run_end_state { RUN_END_NONE, RUN_END_SUCCEEDED, RUN_END_OTHER };

struct view {
    FILE *out;
    bool raw;        /* JSON lines as they came */
    char run_id[37]; /* from the first event */
    enum run_end_state end;
    bool heard;     /* a model's text was shown as it came */
    bool open_line; /* … and its last line has not ended */
};

/* Show one event line (no LF). Errors: ARP_E_JSON, ARP_E_UTF8 (not an event). */
int view_event(struct view *v, const char *line, size_t len, struct arp_err *err);

#endif
