/*
 * Time: see clock.h.
 */
#include "shared/clock.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

int64_t clock_now_us(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

int64_t clock_mono_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

void clock_deadline(int64_t ms, struct timespec *ret)
{
    int64_t ns = clock_mono_ns() + ms * 1000000;
    ret->tv_sec = (time_t)(ns / 1000000000);
    ret->tv_nsec = (long)(ns % 1000000000);
}

void clock_cond_init(pthread_cond_t *ret)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(ret, &attr);
    pthread_condattr_destroy(&attr);
}

void clock_iso(int64_t us, char ret[CLOCK_ISO_LEN + 1])
{
    int64_t ms = us / 1000 - (us % 1000 < 0);
    time_t sec = (time_t)(ms / 1000 - (ms % 1000 < 0));
    struct tm tm;
    gmtime_r(&sec, &tm);
    char text[64];
    snprintf(text, sizeof(text), "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", tm.tm_year + 1900, tm.tm_mon + 1,
        tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, (int)(ms - (int64_t)sec * 1000));
    memcpy(ret, text, CLOCK_ISO_LEN);
    ret[CLOCK_ISO_LEN] = '\0';
}

void clock_iso_now(char ret[CLOCK_ISO_LEN + 1])
{
    clock_iso(clock_now_us(), ret);
}

int clock_parse_iso(const char *s, int64_t *ret_us, struct arp_err *err)
{
    static const char shape[] = "dddd-dd-ddTdd:dd:dd.dddZ";
    bool ok = strlen(s) == CLOCK_ISO_LEN;
    for (size_t i = 0; ok && i < CLOCK_ISO_LEN; i++)
        ok = shape[i] == 'd' ? s[i] >= '0' && s[i] <= '9' : s[i] == shape[i];
    struct tm tm = {0};
    int ms = 0;
    if (ok)
        ok = sscanf(s, "%4d-%2d-%2dT%2d:%2d:%2d.%3dZ", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &tm.tm_hour,
                 &tm.tm_min, &tm.tm_sec, &ms) == 7;
    if (!ok)
        return arp_fail(err, ARP_E_INVALID, 0, "'%.40s' is not a time like 2025-11-21T12:34:56.789Z", s);
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    int64_t us = (int64_t)timegm(&tm) * 1000000 + ms * 1000;
    /* timegm normalises 31 February; what does not print back the same was not a date. */
    char back[CLOCK_ISO_LEN + 1];
    clock_iso(us, back);
    if (strcmp(back, s) != 0)
        return arp_fail(err, ARP_E_INVALID, 0, "'%.40s' is not a date", s);
    *ret_us = us;
    return 0;
}
