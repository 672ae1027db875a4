/*
 * Wall and monotonic time. Thread-safe.
 */
#ifndef ARP_SHARED_CLOCK_H
#define ARP_SHARED_CLOCK_H

#include <pthread.h>
#include <stdint.h>
#include <time.h>

#include "shared/err.h"

#define CLOCK_ISO_LEN 24 /* "2025-11-21T12:34:56.789Z" */

/* Microseconds since the epoch. */
int64_t clock_now_us(void);
/* Monotonic nanoseconds. */
int64_t clock_mono_ns(void);
/* ISO 8601 in UTC with milliseconds, as the spec's samples show. */
void clock_iso(int64_t us, char ret[CLOCK_ISO_LEN + 1]);
/* The same for now. */
void clock_iso_now(char ret[CLOCK_ISO_LEN + 1]);
/* Parse exactly what clock_iso writes. Errors: ARP_E_INVALID. */
int clock_parse_iso(const char *s, int64_t *ret_us, struct arp_err *err);
/* The monotonic time ms milliseconds from now, and a condition variable whose timed waits use that clock (a wall clock that is set back
 * must not make a waiter sleep for hours). */
void clock_deadline(int64_t ms, struct timespec *ret);
void clock_cond_init(pthread_cond_t *ret);

#endif
