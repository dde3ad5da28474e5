/* race: the addresses of one candidate, one after the other or side by side, until one has won.
 * Private to core; knows neither other candidates nor who wants the connection.
 *
 * Owner: a dial, on the worker's thread.
 * - The next address begins when one has failed, or has been silent for the delay (RFC 8305); so
 *   many at once at most as RACE_LANES.
 * - It is won by the first that takes the connection, or, with `verified`, by the first whose
 *   handshake is done and verified. The others are then closed. When the winner of a connection
 *   falls silent after all, they have their turn again.
 * - One that answered and was found wrong ends it, so that it is not masked by the next. */
#ifndef ESCLUSA_CORE_RACE_H
#define ESCLUSA_CORE_RACE_H

#include "attempt.h"

#include <esclusa/policy.h>

#define RACE_LANES 4

struct race_order {
    struct worker *worker;
    const struct service *service;
    const struct upstream *upstream;
    const struct buf *hello;
    bool verified;     /* what wins */
    bool connect_only; /* being connected is all that is wanted */
    bool last;         /* nobody comes after these addresses */
    int64_t delay_ms;  /* between beginnings */
    int64_t until_ms;  /* for connecting, all of them; loop_now() scale */
    /* The first attempt's registration; it is the winner's in the end. */
    struct loop_io *io;
    void (*on_io)(void *context, unsigned events);
    void *io_context;
    /* An attempt was made / its address took the connection, or came a phase further / it failed
     * in a way that lets the next be tried, and is about to be destroyed. The race must not be
     * ended there. */
    void (*began)(void *context);
    void (*connected)(void *context, struct attempt *a);
    void (*unanswered)(void *context, const struct attempt *a);
    void (*ask)(void *context, struct attempt *a); /* NULL: see attempt.h */
    /* Asked of one that was found wrong: true: it is to be treated as unanswered. */
    bool (*may_pass)(void *context, const struct attempt *a);
    /* The last thing a race does; one of them, once. What came of the race is in *a; all other
     * attempts are gone, and with race_fini() so is this one / every address was unanswered / no
     * memory. */
    void (*settled)(void *context, struct attempt *a);
    void (*lost)(void *context);
    void (*no_memory)(void *context);
    void *context;
};

struct race {
    struct race_order order;
    struct net_addr addresses[RESOLVE_MAX];
    size_t count, next;
    struct attempt *running; /* list */
    unsigned lanes;          /* of it */
    bool asked;              /* the consumer had the word: no other address may be tried */
    struct attempt *ahead;   /* it is connected, and has won unless `verified`; NULL: none */
    int64_t ahead_since_ms;
    struct timer timer;
};

/* Zeroed memory is a race that has not begun; addresses and count may be filled, then: */
void race_start(struct race *r, const struct race_order *order);
/* At any time; also of one that has not begun. */
void race_fini(struct race *r, struct loop *loop);
/* Events of the order's io. */
void race_event(struct race *r, unsigned events);
/* After ask(): see attempt.h. */
void race_consumer(struct race *r, const void *bytes, size_t length);
bool race_wants_consumer(const struct race *r);

#endif
