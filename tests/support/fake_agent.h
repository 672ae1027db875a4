/*
 * A fake agent: serves the call stream of one run and takes the uploads of its answers (docs/AGENT.md, "Model calls"). Its threads are its own;
 * fields may be set or read between pthread_mutex_lock and unlock of its lock. Aborts on trouble of the machine.
 */
#ifndef ARP_TESTS_SUPPORT_FAKE_AGENT_H
#define ARP_TESTS_SUPPORT_FAKE_AGENT_H

#include <microhttpd.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "shared/buf.h"
#include "shared/clock.h"

#define AGENT_CALLS   256
#define AGENT_RUN     "6f1d2c3e-8a4b-4c5d-9e6f-0a1b2c3d4e5f"
#define AGENT_TOKEN   "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define AGENT_WAIT_MS 120000

struct fake_upload {
    bool begun, whole, cut;
    bool hold;  /* set by the test: take no bytes for now */
    bool leave; /* set by the test: close the connection when bytes come, as when the client is gone */
    int status;
    char type[128], retry_after[64];
    struct buf body;
    int64_t first_ns;
};

struct fake_agent {
    struct MHD_Daemon *daemon;
    char address[64];
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool open; /* false: the run has not begun, 404 */
    bool stopping;
    bool ended;       /* the run is over */
    unsigned refused; /* requests answered 404 */
    struct buf frames;
    uint64_t next_call;
    struct fake_upload uploads[AGENT_CALLS];
};

struct fake_agent *fake_agent_start(void);
void fake_agent_stop(struct fake_agent *a);

/* Raw bytes into the stream. */
void fake_agent_send(struct fake_agent *a, const char *bytes, size_t len);
/* A call; headers: members of a JSON object. Returns its number. */
uint64_t fake_agent_call(
    struct fake_agent *a, const char *method, const char *path, const char *headers, const char *body);
/* The client of that call is gone. */
void fake_agent_gone(struct fake_agent *a, uint64_t call);

/* Wait until condition (an expression over u, the upload of call n) holds; false: it did not in time. */
#define FAKE_AGENT_WAIT(a, n, condition)                                                                     \
    __extension__({                                                                                          \
        struct timespec until_;                                                                              \
        clock_deadline(AGENT_WAIT_MS, &until_);                                                              \
        pthread_mutex_lock(&(a)->lock);                                                                      \
        const struct fake_upload *u = &(a)->uploads[n];                                                      \
        (void)u;                                                                                             \
        while (!(condition) && pthread_cond_timedwait(&(a)->changed, &(a)->lock, &until_) == 0)              \
            ;                                                                                                \
        bool held_ = (condition);                                                                            \
        pthread_mutex_unlock(&(a)->lock);                                                                    \
        held_;                                                                                               \
    })

/* --- for fakes that speak HTTP (fake_provider.c) --- */

/* Take a free port of the loopback; nobody listens there. */
int fake_bind(char ret_address[64]);
/* The same, and listen. */
int fake_listen(char ret_address[64]);
/* A header of the request, "" when it has none. */
const char *fake_agent_header(struct MHD_Connection *c, const char *name);
/* Queue the response and let go of it. */
enum MHD_Result fake_agent_answer(struct MHD_Connection *c, unsigned status, struct MHD_Response *r);

#endif
