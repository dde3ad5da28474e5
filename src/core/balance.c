/* Five ways to arrange those of one rank. */
#include "balance.h"

#include <esclusa/random.h>

#include <math.h>
#include <string.h>

struct rank {
    const struct balance_item *items;
    uint8_t *at; /* indices of items */
    size_t count;
};

static const struct balance_item *item(const struct rank *r, size_t i)
{
    return &r->items[r->at[i]];
}

static uint64_t weight_of(const struct rank *r)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < r->count; i++)
        sum += item(r, i)->weight;
    return sum;
}

/* Which one has the x-th share of the weight. */
static size_t at_share(const struct rank *r, uint64_t x)
{
    size_t i = 0;
    while (i + 1 < r->count && x >= item(r, i)->weight)
        x -= item(r, i++)->weight;
    return i;
}

static void rotate(struct rank *r, size_t by)
{
    uint8_t turned[UPSTREAMS_MAX];
    for (size_t i = 0; i < r->count; i++)
        turned[i] = r->at[(i + by) % r->count];
    memcpy(r->at, turned, r->count);
}

static void to_front(struct rank *r, size_t from)
{
    const uint8_t moved = r->at[from];
    memmove(&r->at[1], &r->at[0], from);
    r->at[0] = moved;
}

static uint64_t common_divisor(uint64_t a, uint64_t b)
{
    while (b != 0) {
        const uint64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

/* Tickets go through all shares before one comes again, in steps of about 0.618 of the whole: so a
 * heavy one's turns are spread among the others'. */
static void round_robin(struct rank *r, uint64_t ticket)
{
    const uint64_t sum = weight_of(r);
    uint64_t step = sum * 618 / 1000;
    while (step > 1 && common_divisor(step, sum) != 1)
        step--;
    if (step == 0)
        step = 1;
    rotate(r, at_share(r, ticket % sum * step % sum));
}

/* Whether a is less loaded than b for its weight, one connection more included. */
static bool is_less_loaded(const struct balance_item *a, const struct balance_item *b)
{
    return ((uint64_t)a->active + 1) * b->weight < ((uint64_t)b->active + 1) * a->weight;
}

/* Insertion sort: stable, and there are few. */
static void sort(struct rank *r,
                 bool (*before)(const struct balance_item *a, const struct balance_item *b))
{
    for (size_t i = 1; i < r->count; i++) {
        const uint8_t moved = r->at[i];
        size_t to = i;
        for (; to > 0 && before(&r->items[moved], item(r, to - 1)); to--)
            r->at[to] = r->at[to - 1];
        r->at[to] = moved;
    }
}

/* Of two, by weight, the one with less to do: nearly as good as the least of all, and gateways that
 * do not know of each other do not all run to the same. */
static void random_two(struct rank *r, uint64_t *random)
{
    to_front(r, at_share(r, random_next(random) % weight_of(r)));
    if (r->count < 2)
        return;
    struct rank rest = {.items = r->items, .at = r->at + 1, .count = r->count - 1};
    to_front(&rest, at_share(&rest, random_next(random) % weight_of(&rest)));
    if (is_less_loaded(item(r, 1), item(r, 0)))
        to_front(r, 1);
}

/* Rendezvous hashing (Thaler, Ravishankar 1998), weighted: who loses an upstream goes to others,
 * and nobody else moves. */
static void source_hash(struct rank *r, uint64_t source)
{
    double score[UPSTREAMS_MAX];
    for (size_t i = 0; i < r->count; i++) {
        const uint64_t hash = random_mix(item(r, i)->mark ^ random_mix(source));
        const double unit = ((double)(hash >> 11) + 0.5) / 9007199254740992.0; /* 2^53 */
        score[i] = -log(unit) / item(r, i)->weight;
    }
    for (size_t i = 1; i < r->count; i++) {
        const uint8_t moved = r->at[i];
        const double its = score[i];
        size_t to = i;
        for (; to > 0 && its < score[to - 1]; to--) {
            r->at[to] = r->at[to - 1];
            score[to] = score[to - 1];
        }
        r->at[to] = moved;
        score[to] = its;
    }
}

static void arrange(struct rank *r, struct balance_by *by)
{
    if (r->count < 2)
        return;
    switch (by->how) {
    case BALANCE_FAILOVER:
        return;
    case BALANCE_ROUND_ROBIN:
        round_robin(r, by->ticket);
        return;
    case BALANCE_LEAST_CONNECTIONS:
        rotate(r, by->ticket % r->count); /* equals take turns */
        sort(r, is_less_loaded);
        return;
    case BALANCE_RANDOM_TWO:
        random_two(r, &by->random);
        return;
    case BALANCE_SOURCE_HASH:
        source_hash(r, by->source);
        return;
    }
}

size_t balance_order(struct balance_by *by, const struct balance_item *items, size_t count,
                     uint8_t *order_r)
{
    size_t done = 0, usable = 0;
    for (int unusable = 0; unusable < 2; unusable++) {
        for (int backup = 0; backup < 2; backup++) {
            struct rank r = {.items = items, .at = order_r + done};
            for (size_t i = 0; i < count; i++) {
                if (items[i].usable == (unusable == 0) && items[i].backup == (backup == 1))
                    r.at[r.count++] = (uint8_t)i;
            }
            arrange(&r, by);
            done += r.count;
        }
        if (unusable == 0)
            usable = done;
    }
    return usable;
}
