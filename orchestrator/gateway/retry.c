/*
 * Retry: see retry.h.
 */
#include "orchestrator/gateway/retry.h"

#include <curl/curl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static bool worth_it(int status)
{
    return status == 0 || status == 408 || status == 409 || status == 425 || status == 429 ||
           (status >= 500 && status <= 599);
}

/* A number of at most nine digits, a fraction cut off; -1 when it is none. */
static int64_t number_of(const char *s)
{
    size_t n = strspn(s, "0123456789");
    const char *rest = s + n;
    if (*rest == '.')
        rest += 1 + strspn(rest + 1, "0123456789");
    rest += strspn(rest, " \t");
    return n > 0 && n <= 9 && *rest == '\0' ? strtoll(s, NULL, 10) : -1;
}

/* What the provider asks for; -1 when it asks for nothing that can be read. */
static int64_t asked_ms(const struct retry_case *c)
{
    int64_t ms = number_of(c->retry_after_ms);
    if (ms >= 0)
        return ms;
    int64_t seconds = number_of(c->retry_after);
    if (seconds >= 0)
        return seconds * 1000;
    time_t date = c->retry_after[0] ? curl_getdate(c->retry_after, NULL) : -1;
    if (date < 0)
        return -1;
    return (int64_t)date > c->now_s ? ((int64_t)date - c->now_s) * 1000 : 0;
}

/* Doubling, and half of each step by chance: clients that failed together must not come back together. */
static int64_t backoff_ms(const struct retry_case *c)
{
    int64_t step = RETRY_BASE_MS;
    for (unsigned i = 1; i < c->attempt && step < RETRY_STEP_MAX_MS; i++)
        step *= 2;
    if (step > RETRY_STEP_MAX_MS)
        step = RETRY_STEP_MAX_MS;
    return step / 2 + (int64_t)(c->random % (uint32_t)(step / 2 + 1));
}

bool retry_again(const struct retry_case *c, int64_t *ret_wait_ms)
{
    if (c->attempt >= RETRY_ATTEMPTS_MAX || !worth_it(c->status))
        return false;
    int64_t wait = asked_ms(c);
    if (wait < 0)
        wait = backoff_ms(c);
    if (wait > RETRY_WAIT_MAX_MS || (c->left_ms >= 0 && wait + RETRY_LEFT_MIN_MS > c->left_ms))
        return false;
    *ret_wait_ms = wait;
    return true;
}
