/*
 * Transfer: one libcurl exchange inside the gateway's multi handle, with the settings that all of them share: no proxy, no redirect, no signal,
 * HTTP/1.1 (each call its own connection, so that a slow reader holds up nobody else's), small buffers. Embedded in who drives it; its address must
 * stay while it is started. Gateway thread only.
 */
#ifndef ARP_ORCHESTRATOR_GATEWAY_TRANSFER_H
#define ARP_ORCHESTRATOR_GATEWAY_TRANSFER_H

#include <curl/curl.h>
#include <stdbool.h>

#include "shared/err.h"

struct transfer {
    CURLM *multi; /* borrowed */
    CURL *easy;   /* NULL when there is none */
    struct curl_slist *headers;
    bool over; /* libcurl is done with it: result says how */
    CURLcode result;
};

/* A handle for url, not started. protocols: as CURLOPT_PROTOCOLS_STR. Errors: ARP_E_NOMEM. */
int transfer_open(struct transfer *t, CURLM *multi, const char *url, const char *protocols,
    int connect_timeout_ms, struct arp_err *err);
/* Add a request header. The value may be a secret: all of them are wiped when the transfer is closed. Errors: ARP_E_NOMEM. */
int transfer_header(struct transfer *t, const char *name, const char *value, struct arp_err *err);
/* Not from within a callback of libcurl. Errors: ARP_E_NOMEM. */
int transfer_start(struct transfer *t, struct arp_err *err);
/* HTTP status of the answer, 0 when none came. */
int transfer_status(const struct transfer *t);
/* Go on after a callback paused it. Not from within a callback. */
void transfer_resume(struct transfer *t);
/* Take note of what curl_multi_info_read told of easy. */
void transfer_ended(CURL *easy, CURLcode result);
/* Ends it where it stands: a connection with an exchange in progress is closed. Accepts a zeroed struct; t can be opened again. */
void transfer_close(struct transfer *t);

#endif
