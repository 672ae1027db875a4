/*
 * Budget: see budget.h.
 */
#include "orchestrator/gateway/budget.h"

#include <inttypes.h>

void budget_init(
    struct budget *b, const struct gateway_limits *l, const struct gateway_day *d, int64_t now_ns)
{
    *b = (struct budget){.limits = *l, .day = *d};
    if (l->deadline_ms > 0)
        b->deadline_ns = now_ns + l->deadline_ms * 1000000;
}

static bool exceed(struct budget *b, const char *what, uint64_t limit)
{
    b->exceeded = true;
    return refuse(&b->why, REFUSED_BUDGET, 400, "budget exceeded: %" PRIu64 " %s", limit, what);
}

static bool over(uint64_t used, uint64_t limit)
{
    return limit > 0 && used >= limit;
}

bool budget_is_late(struct budget *b, int64_t now_ns)
{
    if (b->deadline_ns == 0 || now_ns < b->deadline_ns)
        return false;
    if (!b->exceeded)
        exceed(b, "milliseconds for the model calls of the run", (uint64_t)b->limits.deadline_ms);
    return true;
}

int64_t budget_left_ms(const struct budget *b, int64_t now_ns)
{
    if (b->deadline_ns == 0)
        return -1;
    return now_ns < b->deadline_ns ? (b->deadline_ns - now_ns) / 1000000 : 0;
}

static bool run_allows(struct budget *b)
{
    const struct gateway_limits *l = &b->limits;
    if (over(b->calls, l->calls_per_run))
        return exceed(b, "model calls per run", l->calls_per_run);
    if (over(b->tokens, l->tokens_per_run))
        return exceed(b, "tokens per run", l->tokens_per_run);
    return true;
}

static bool day_allows(struct budget *b, struct refusal *ret)
{
    const struct gateway_limits *l = &b->limits;
    uint64_t calls = 0, tokens = 0;
    if (!b->day.used || (l->calls_per_day == 0 && l->tokens_per_day == 0))
        return true;
    if (b->day.used(b->day.ctx, &calls, &tokens, NULL) != 0)
        return refuse(ret, REFUSED_UNAVAILABLE, 503, "today's use of the provider can't be told");
    if (over(calls, l->calls_per_day))
        exceed(b, "model calls per day", l->calls_per_day);
    else if (over(tokens, l->tokens_per_day))
        exceed(b, "tokens per day", l->tokens_per_day);
    return true;
}

bool budget_admit(struct budget *b, int64_t now_ns, struct refusal *ret)
{
    static const struct model_usage none;
    if (!b->exceeded && !budget_is_late(b, now_ns) && run_allows(b) && !day_allows(b, ret))
        return false;
    if (b->exceeded) {
        *ret = b->why;
        return false;
    }
    b->calls++;
    if (b->day.add)
        b->day.add(b->day.ctx, 1, &none);
    return true;
}

void budget_spend(struct budget *b, const struct model_usage *usage)
{
    b->tokens += usage->input + usage->output;
    if (b->day.add)
        b->day.add(b->day.ctx, 0, usage);
}
