/*
 * Base URLs of model providers: a tenant says where the server is to send its requests, so what may stand there is narrow. By default only
 * https to names and addresses of the internet; ARP_PROVIDER_HTTP (config.h) widens it for a model server of the operator's own. A name is judged by
 * its looks: what it resolves to is judged when it is called (gateway/attempt.c). Pure functions.
 * Grammar: SCHEME "://" HOST [":" PORT] *("/" SEGMENT), with HOST a DNS name of at least two labels, "localhost", a dotted quad or "[" IPv6 "]".
 */
#ifndef ARP_ORCHESTRATOR_RUN_PROVIDER_URL_H
#define ARP_ORCHESTRATOR_RUN_PROVIDER_URL_H

#include "orchestrator/config.h"
#include "shared/err.h"

#define PROVIDER_URL_MAX 2048

/* Errors: ARP_E_FIELD ("baseUrl"; the message says what is wrong, and when an option would allow it, which). */
int provider_url_check(const char *url, enum config_reach reach, struct arp_err *err);

#endif
