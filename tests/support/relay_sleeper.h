/*
 * The orchestrator beside a relay, for tests that stand in for it: its sleep, one condition for all readers and uploads of the program, and a
 * thread that answers a run's calls.
 */
#ifndef ARP_TESTS_SUPPORT_RELAY_SLEEPER_H
#define ARP_TESTS_SUPPORT_RELAY_SLEEPER_H

#include "agent/relay.h"
#include "shared/buf.h"

extern const struct stream_sleep sleeper;

/* How often the relay has woken it so far: read before a try, so that no wake after it is missed. */
unsigned sleeper_wakes(void);
/* Until it was woken once more than that. A minute without it fails the program instead of standing still. */
void sleeper_wait(unsigned seen);

/* Bytes of the call stream, as many as there are; waits for the first. RELAY_END when the run is closed. */
ssize_t sleeper_take(struct relay *r, char *ret, size_t max);
/* Upload all of it, waiting for room. False: the client is gone. */
bool sleeper_feed(struct relay_upload *u, const char *bytes, size_t len);

/* An answer: status 200, an event stream. whole false: it is cut behind its bytes. */
struct answer {
    const char *bytes;
    size_t len;
    bool whole;
};
/* Answer the run's calls, one after another as they are asked, until the run is closed; the last answer again and again. run_id and answers are
 * borrowed; the frames that were asked go into *ret_asked (NULL: not wanted). answering_end waits for the run's end. */
struct answering;
struct answering *answering_begin(
    struct relay *r, const char *run_id, const struct answer *answers, size_t n, struct buf *ret_asked);
void answering_end(struct answering *a);

#endif
