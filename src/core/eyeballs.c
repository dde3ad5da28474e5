#include "eyeballs.h"

#include <stdbool.h>
#include <string.h>

#define DELAY_LEAST_MS 10

uint64_t eyeballs_mark(const struct net_addr *a)
{
    const uint8_t *bytes = a->u.sa.sa_family == AF_INET6 ? a->u.in6.sin6_addr.s6_addr
                                                         : (const uint8_t *)&a->u.in.sin_addr;
    const size_t length =
        a->u.sa.sa_family == AF_INET6 ? sizeof a->u.in6.sin6_addr : sizeof a->u.in.sin_addr;
    uint64_t hash = UINT64_C(0xcbf29ce484222325); /* FNV-1a */
    for (size_t i = 0; i < length; i++)
        hash = (hash ^ bytes[i]) * UINT64_C(0x100000001b3);
    return hash | 1;
}

/* list[from] comes to list[to], to <= from; those between move up. */
static void pull(struct net_addr *list, size_t from, size_t to)
{
    const struct net_addr moved = list[from];
    memmove(&list[to + 1], &list[to], (from - to) * sizeof *list);
    list[to] = moved;
}

static void order_one(struct net_addr *list, size_t count, uint64_t last)
{
    for (size_t i = 1; last != 0 && i < count; i++) {
        if (eyeballs_mark(&list[i]) == last) {
            pull(list, i, 0);
            break;
        }
    }
    for (size_t to = 1; to < count; to++) {
        const sa_family_t before = list[to - 1].u.sa.sa_family;
        size_t from = to;
        while (from < count && list[from].u.sa.sa_family == before)
            from++;
        if (from == count)
            return; /* one family is left */
        pull(list, from, to);
    }
}

void eyeballs_order(struct net_addr *list, const uint8_t *targets, size_t count, uint64_t last)
{
    for (size_t begin = 0, end; begin < count; begin = end) {
        end = begin + 1;
        while (end < count && targets[end] == targets[begin])
            end++;
        order_one(list + begin, end - begin, last);
    }
}

int64_t eyeballs_delay(int64_t wanted, int64_t left_ms, size_t addresses)
{
    const int64_t share = addresses == 0 ? wanted : left_ms / 2 / (int64_t)addresses;
    const int64_t delay = share < wanted ? share : wanted;
    return delay < DELAY_LEAST_MS ? DELAY_LEAST_MS : delay;
}
