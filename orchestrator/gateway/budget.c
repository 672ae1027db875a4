/*
 * Budget: see budget.h.
 */
#include "orchestrator/gateway/budget.h"

#include <inttypes.h>

void budget_init(struct budget *b, const struct gateway_limits *l, int64_t now_ns)
{
    *b = (struct budget){.limits = *l};
    if (l->deadline_ms > 0)
        b->deadline_ns = now_ns + l->deadline_ms * 1000000;
}

static bool exceed(struct budget *b, const char *what, uint64_t limit)
{
    b->exceeded = true;
    return refuse(&b->why, REFUSED_BUDGET, 400, "budget exceeded: %" PRIu64 " %s", limit, what);
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
    if (gateway_limit_reached(b->calls, l->calls_per_run))
        return exceed(b, "model calls per run", l->calls_per_run);
    if (gateway_limit_reached(b->tokens, l->tokens_per_run))
        return exceed(b, "tokens per run", l->tokens_per_run);
    return true;
}

bool budget_has_day(const struct budget *b)
{
    return b->limits.calls_per_day > 0 || b->limits.tokens_per_day > 0;
}

bool budget_day(struct budget *b, enum day_verdict verdict, struct refusal *ret)
{
    if (verdict == DAY_ALLOWED)
        return true;
    if (verdict == DAY_UNKNOWN)
        return refuse(ret, REFUSED_UNAVAILABLE, 503, "today's use of the provider can't be told");
    if (verdict == DAY_CALLS_USED)
        exceed(b, "model calls per day", b->limits.calls_per_day);
    else
        exceed(b, "tokens per day", b->limits.tokens_per_day);
    *ret = b->why;
    return false;
}

bool budget_admit(struct budget *b, int64_t now_ns, struct refusal *ret)
{
    if (!b->exceeded && !budget_is_late(b, now_ns) && run_allows(b)) {
        b->calls++;
        return true;
    }
    *ret = b->why;
    return false;
}

void budget_spend(struct budget *b, const struct model_usage *usage)
{
    b->tokens += usage->input + usage->output;
}
