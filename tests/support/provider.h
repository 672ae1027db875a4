/*
 * The scripted provider (tests/provider/scripted_provider.c) as a test's own process: started with a scenario, asked what it was asked, stopped.
 */
#ifndef ARP_TESTS_SUPPORT_PROVIDER_H
#define ARP_TESTS_SUPPORT_PROVIDER_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>

struct provider;

/* Start it with a scenario, JSON text as tests/provider/scenario.h says. NULL when it failed (reason on stderr). */
struct provider *provider_start(const char *scenario);
/* End it, as if the provider had died. Until provider_forget nobody listens at its port, and its log stays readable. */
void provider_stop(struct provider *p);
void provider_forget(struct provider *p); /* accepts NULL */

/* http://127.0.0.1:PORT */
const char *provider_url(const struct provider *p);

/* Requests that it has recorded so far. */
unsigned provider_count(const struct provider *p);
/* The nth request (from 0). */
struct provider_request {
    cJSON *head; /* {"call","method","path","query","headers","bodyBytes"} */
    char *body;  /* NUL-terminated */
    cJSON *json; /* of the body, NULL when it is none */
};
/* False: there is none. provider_request_done in any case. */
bool provider_request(const struct provider *p, unsigned n, struct provider_request *ret);
void provider_request_done(struct provider_request *r);
/* A request's header by lower case name, NULL when it had none. */
const char *provider_header(const struct provider_request *r, const char *name);
/* How the nth exchange went: "whole", "cut" or "gone"; waits for its end, 20 s at most. NULL: it goes on. Static. */
const char *provider_how(const struct provider *p, unsigned n);

#endif
