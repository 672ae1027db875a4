/*
 * The orchestrator's sleep beside a relay, for tests that stand in for it: one condition for all readers and uploads of the program.
 */
#ifndef ARP_TESTS_SUPPORT_RELAY_SLEEPER_H
#define ARP_TESTS_SUPPORT_RELAY_SLEEPER_H

#include "agent/relay.h"

extern const struct stream_sleep sleeper;

/* How often the relay has woken it so far: read before a try, so that no wake after it is missed. */
unsigned sleeper_wakes(void);
/* Until it was woken once more than that. */
void sleeper_wait(unsigned seen);

#endif
