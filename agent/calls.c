/*
 * Calls: see calls.h.
 */
#include "agent/calls.h"

void calls_pump(struct calls *c)
{
    struct relay_item *list = relay_take(c->relay);
    for (const struct relay_item *i = list; i; i = i->next) {
        if (i->is_text) {
            evlog_token(c->events, i->call.call, i->text, i->len);
            continue;
        }
        evlog_model_call(c->events, &i->call);
        model_usage_add(&c->usage, &i->call.usage);
        c->count++;
    }
    relay_items_free(list);
}
