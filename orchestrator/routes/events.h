/*
 * A run's event lines as a stream source: live from its feed while it is in progress here, else from the database.
 */
#ifndef ARP_ORCHESTRATOR_ROUTES_EVENTS_H
#define ARP_ORCHESTRATOR_ROUTES_EVENTS_H

#include "orchestrator/http/request.h"
#include "orchestrator/http/sse.h"
#include "orchestrator/routes/app.h"
#include "orchestrator/run/live.h"

/* What a request for events asks: a stream or the lines there are, and behind which. Errors: ARP_E_UNKNOWN_FIELD, ARP_E_FIELD. */
int events_query(const struct http_req *req, bool *ret_stream, int64_t *ret_after, struct arp_err *err);
/* Answer it. source is handed over. */
void events_reply(struct http_req *req, bool stream, const struct sse_source *source);
/* For a run that is not live here: is there such a run, and can all of its lines be told? One that is in progress elsewhere, or waits to
 * be recovered, has no live end here: a stream that stopped in its middle would look like its end.
 * stream: the lines are to end with the run. Errors: ARP_E_NOT_FOUND, ARP_E_UNAVAILABLE, those of the store. */
int events_check_ended(
    const struct app *app, const char *user_id, const char *run_id, bool stream, struct arp_err *err);
/* Source of run_id's lines after after_seq (-1: all). live may be NULL. The source owns what it needs; hand it to http_reply_sse or
 * http_reply_lines. Errors: ARP_E_NOMEM. */
int events_source(const struct app *app, const char *user_id, const char *run_id, struct live_run *live,
    int64_t after_seq, struct sse_source *ret, struct arp_err *err);

#endif
