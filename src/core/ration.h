/* ration: how much of a turn of a worker's loop may go into handshakes. They are hundreds of times
 * as dear as relaying a few bytes, and a crowd of them comes in one turn: the rest of them waits
 * for the next, so that established sessions do not wait for the crowd. Private to core; one
 * thread. */
#ifndef ESCLUSA_CORE_RATION_H
#define ESCLUSA_CORE_RATION_H

#include <stdbool.h>
#include <stdint.h>

/* A round trip through the gateway meets two turns, and 10 ms is what its user forgives. */
#define RATION_US 1000

struct ration {
    uint64_t turn;    /* loop_turns() of the turn that it was taken from */
    int64_t spent_us; /* in that turn */
};

/* There is some left in this turn: of a new one always, so that one handshake goes on however dear
 * it is. */
static inline bool ration_left(const struct ration *r, uint64_t turn)
{
    return r->turn != turn || r->spent_us < RATION_US;
}

static inline void ration_take(struct ration *r, uint64_t turn, int64_t us)
{
    r->spent_us = r->turn == turn ? r->spent_us + us : us;
    r->turn = turn;
}

#endif
