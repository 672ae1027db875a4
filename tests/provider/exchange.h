/*
 * Exchange: one request and its answer at the scripted provider, and their record. Files of the log directory, for request n (5 digits):
 *   n.json  {"call","method","path","query","headers":{lower case name: value},"bodyBytes"}, complete before anything is answered
 *   n.body  the request's body
 *   n.end   {"step" (null: none fitted),"status","bytes" (of the answer's body, given to the connection),"how":"whole|cut|gone"}: how it went;
 *           gone: the client went away
 * Each file appears whole. Used from the thread of its connection only.
 */
#ifndef ARP_TESTS_PROVIDER_EXCHANGE_H
#define ARP_TESTS_PROVIDER_EXCHANGE_H

#include <microhttpd.h>

#include "tests/provider/answer.h"

#define REQUEST_MAX (64u << 20)

struct exchange;

struct exchange *exchange_new(struct MHD_Connection *conn, const char *method, const char *path);
/* False: too large, or no memory. */
bool exchange_take(struct exchange *x, const char *bytes, size_t len);
/* The request is here: number it, record it, answer it as the scenario says. */
enum MHD_Result exchange_answer(struct exchange *x, struct scenario *s, const char *log_dir);
/* Over, by MHD's word; x is gone. */
void exchange_end(struct exchange *x, enum MHD_RequestTerminationCode how);

#endif
