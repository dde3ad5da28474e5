#include "srv.h"

/* Moves the chosen one to the front of those that are left, the others keeping their order. */
static void to_front(uint8_t *order, size_t chosen)
{
    uint8_t it = order[chosen];
    for (size_t i = chosen; i > 0; i--)
        order[i] = order[i - 1];
    order[0] = it;
}

/* Ascending by priority; within one those of weight 0 first, as the RFC wants for the choice. */
static bool comes_before(const struct answer_target *a, const struct answer_target *b)
{
    if (a->priority != b->priority)
        return a->priority < b->priority;
    return a->weight == 0 && b->weight != 0;
}

static size_t collect(const struct answer *answer, uint8_t *order_r)
{
    size_t count = 0;
    for (size_t i = 0; i < answer->count; i++) {
        size_t at = count;
        if (answer->targets[i].count == 0)
            continue;
        for (; at > 0 && comes_before(&answer->targets[i], &answer->targets[order_r[at - 1]]); at--)
            order_r[at] = order_r[at - 1];
        order_r[at] = (uint8_t)i;
        count++;
    }
    return count;
}

size_t srv_order(const struct answer *answer, uint32_t (*chance)(void *context, uint32_t n),
                 void *context, uint8_t *order_r)
{
    const size_t count = collect(answer, order_r);
    for (size_t from = 0; from + 1 < count; from++) {
        const uint16_t priority = answer->targets[order_r[from]].priority;
        uint32_t sum = 0;
        size_t end = from;
        for (; end < count && answer->targets[order_r[end]].priority == priority; end++)
            sum += answer->targets[order_r[end]].weight;
        if (end - from < 2)
            continue;
        uint32_t drawn = chance(context, sum);
        uint32_t running = 0;
        size_t chosen = from;
        for (size_t i = from; i < end; i++) {
            running += answer->targets[order_r[i]].weight;
            chosen = i;
            if (running >= drawn)
                break;
        }
        to_front(order_r + from, chosen - from);
    }
    return count;
}
