/*
 * Hash-linked log lines: see chain.h.
 */
#include "shared/chain.h"

#include <stdio.h>
#include <string.h>

void chain_init(struct chain *c, const char *run_id, const char *file)
{
    char genesis[256];
    int n = snprintf(genesis, sizeof(genesis), "arp-chain-v1\n%s\n%s\n", run_id, file);
    c->next_seq = 0;
    sha256_hex_of(genesis, (size_t)n, c->prev);
}

void chain_stamp(const struct chain *c, struct json *j)
{
    json_kuint(j, "seq", c->next_seq);
    json_kstr(j, "prev", c->prev);
}

void chain_advance(struct chain *c, const char *line, size_t len)
{
    sha256_hex_of(line, len, c->prev);
    c->next_seq++;
}

int chain_accept(struct chain *c, const char *line, size_t len, const cJSON *obj, struct arp_err *err)
{
    int64_t seq = json_get_int(obj, "seq", -1);
    if (seq < 0 || (uint64_t)seq != c->next_seq)
        return arp_fail(err, ARP_E_CORRUPT, 0, "seq is %lld, expected %llu", (long long)seq,
            (unsigned long long)c->next_seq);
    const char *prev = json_get_str(obj, "prev");
    if (!prev || strcmp(prev, c->prev) != 0)
        return arp_fail(err, ARP_E_CORRUPT, 0, "prev of line %llu is %.64s, expected %s",
            (unsigned long long)c->next_seq, prev ? prev : "missing", c->prev);
    chain_advance(c, line, len);
    return 0;
}
