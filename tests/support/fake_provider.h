/*
 * A fake provider: answers the k-th request as the k-th entry of a table says (the last one again and again), keeps what it was sent. Its threads
 * are its own; fields may be set or read between pthread_mutex_lock and unlock of its lock. Aborts on trouble of the machine.
 */
#ifndef ARP_TESTS_SUPPORT_FAKE_PROVIDER_H
#define ARP_TESTS_SUPPORT_FAKE_PROVIDER_H

#include <microhttpd.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "shared/buf.h"
#include "shared/clock.h"

#define PROVIDER_WAIT_MS 120000

enum fake_reply_mode {
    REPLY_WHOLE,
    REPLY_CUT,   /* body, then the connection breaks */
    REPLY_STEPS, /* body in pieces at each '|', each when the test opens the gate for it */
    REPLY_FLOOD, /* `flood` bytes of a pattern */
    REPLY_BEAT,  /* body, then a comment every 5 ms for ever */
    REPLY_NEVER, /* not even a head */
    REPLY_ECHO,  /* the request's Authorization */
};

struct fake_reply {
    int status;
    const char *type, *retry_after, *location;
    const char *body;
    enum fake_reply_mode mode;
    size_t flood;
};

struct fake_provider {
    struct MHD_Daemon *daemon;
    char address[64];
    pthread_mutex_t lock;
    pthread_cond_t changed;
    const struct fake_reply *replies;
    size_t n;
    bool stopping;
    unsigned connections, requests, aborted, whole;
    unsigned gate; /* pieces that may go */
    uint64_t sent; /* bytes given to the socket layer */
    char method[16], url[256], type[64], authorization[128], api_key[128], goog_key[128], cookie[64],
        encoding[64], expect[64]; /* of the last request */
    struct buf body;
    int64_t at_ns[16]; /* of each request */
};

/* replies: borrowed. */
struct fake_provider *fake_provider_start(const struct fake_reply *replies, size_t n);
void fake_provider_stop(struct fake_provider *p);
/* One more piece of REPLY_STEPS may go. */
void fake_provider_open_gate(struct fake_provider *p);
/* The byte of REPLY_FLOOD at a place. */
char fake_provider_pattern(uint64_t at);

/* Wait until condition (an expression over p) holds; false: it did not in time. */
#define FAKE_PROVIDER_WAIT(provider, condition)                                                              \
    __extension__({                                                                                          \
        struct fake_provider *p = (provider);                                                                \
        struct timespec until_;                                                                              \
        clock_deadline(PROVIDER_WAIT_MS, &until_);                                                           \
        pthread_mutex_lock(&p->lock);                                                                        \
        while (!(condition) && pthread_cond_timedwait(&p->changed, &p->lock, &until_) == 0)                  \
            ;                                                                                                \
        bool held_ = (condition);                                                                            \
        pthread_mutex_unlock(&p->lock);                                                                      \
        held_;                                                                                               \
    })

#endif
