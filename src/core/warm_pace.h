/* warm_pace: how many connections a warm pool keeps and when it may make another. Numbers and
 * times only: no socket, no loop. Private to core; one thread.
 *
 * - Demand: between min and max, as many as consumers asked for in the busiest of this second and
 *   the one before.
 * - Bounded: WARM_DIALS_AT_ONCE in progress, and a bucket of WARM_BURST that gains one a
 *   millisecond.
 * - After a failure it waits, 1 s doubling to 60 s, and then tries with one at a time.
 * - An upstream that closes idle connections young, three times in a row: they are kept for less
 *   than it allows; where that is too short to be of use the pool rests, 1 min doubling to 1 h.
 *   What closes within a quarter of a second counts as once: a restart there is no habit. */
#ifndef ESCLUSA_CORE_WARM_PACE_H
#define ESCLUSA_CORE_WARM_PACE_H

#include <stdbool.h>
#include <stdint.h>

#define WARM_DIALS_AT_ONCE 8
#define WARM_BURST         64

struct warm_pace {
    unsigned min, max; /* min 0: off */
    int64_t idle_ms;   /* as configured */
    int64_t limit_ms;  /* how old an idle connection may get: idle_ms or less */
    /* demand */
    int64_t second_began_ms;
    unsigned asked, asked_before;
    /* the bucket */
    int64_t filled_ms;
    unsigned tokens;
    int64_t not_before_ms; /* no dial until then */
    unsigned failures;     /* in a row; 0: the last dial was good */
    /* upstreams that close early */
    unsigned young; /* times in a row */
    int64_t young_ms, young_age_ms;
    unsigned rests, shortenings; /* so far, for how long the next one is */
    int64_t relax_ms;            /* the configured age is tried again then */
    bool told;                   /* that it closes early */
    uint32_t random;
};

/* What may be done now, and when to look again (CLOCK_NEVER: when something happens). */
struct warm_turn {
    unsigned dials;
    int64_t look_ms;
};

/* WARM_SHORT, WARM_REST: from now on, and it has not been told before. */
enum warm_verdict { WARM_AS_EVER, WARM_SHORT, WARM_REST };

/* All times are milliseconds of one clock. */
void warm_pace_init(struct warm_pace *p, unsigned min, unsigned max, int64_t idle_ms,
                    uint32_t seed);
/* A consumer asked for a connection. */
void warm_pace_asked(struct warm_pace *p, int64_t now);
unsigned warm_pace_target(struct warm_pace *p, int64_t now);
/* have: ready ones and those in progress. */
struct warm_turn warm_pace_turn(struct warm_pace *p, int64_t now, unsigned have, unsigned dialing);
void warm_pace_began(struct warm_pace *p); /* a dial: takes one from the bucket */
/* A dial failed; true: the first since one was good. */
bool warm_pace_failed(struct warm_pace *p, int64_t now);
/* A dial was good; true: the first since one failed. */
bool warm_pace_connected(struct warm_pace *p);
/* An idle one was closed by the upstream at that age. */
enum warm_verdict warm_pace_closed(struct warm_pace *p, int64_t now, int64_t age_ms);
/* One was good at that age: it was taken, or became too old. */
void warm_pace_lived(struct warm_pace *p, int64_t age_ms);

/* A worker's part of what is meant for the process: the rest goes to the first workers, and each
 * has one at least unless total is 0. */
unsigned warm_share(unsigned total, unsigned workers, unsigned index);

#endif
