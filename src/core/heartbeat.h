/* heartbeat: whether every loop still turns. Private to core.
 *
 * Each second the main loop posts a message to each worker's loop, which stamps the time when it
 * gets to it; the main loop stamps its own. One that hangs stops stamping. Nothing is locked but
 * the mailbox (loop_post()). */
#ifndef ESCLUSA_CORE_HEARTBEAT_H
#define ESCLUSA_CORE_HEARTBEAT_H

#include <esclusa/event.h>

#include <stdatomic.h>

#define HEARTBEAT_EVERY_MS 1000
/* A loop that has not ticked for so long counts as hung. A reload that reads slow files and tests
 * many profiles holds the main loop up, and is not to be taken for that. */
#define HEARTBEAT_LATE_MS 15000

struct heartbeat_loop {
    _Alignas(64) struct loop_message message;
    struct loop *loop;
    atomic_bool on_its_way;          /* posted and not run yet */
    atomic_int_fast64_t ticked_ms;   /* clock_ms(); CLOCK_NEVER: it has ended and is not expected */
    atomic_int_fast64_t posted_us;   /* when the last message was sent */
    atomic_int_fast64_t last_lag_us; /* of the last that arrived */
};

struct heartbeat {
    struct loop *main;
    struct timer timer;
    unsigned count;
    struct heartbeat_loop *loops; /* one a worker, and the one that is found */
    struct loop *(*find)(void *context);
    void *find_context;
    atomic_int_fast64_t main_ticked_ms;
};

/* Main thread, all but the last three. Workers' loops are named before heartbeat_start(). False: no
 * memory. */
bool heartbeat_init(struct heartbeat *h, struct loop *main, unsigned workers) WARN_UNUSED;
void heartbeat_watch(struct heartbeat *h, unsigned worker, struct loop *loop);
/* A loop that may begin to turn at any time: asked for with each beat until it is not NULL. Then it
 * must live until heartbeat_fini(), or as long as the main loop turns. */
void heartbeat_find(struct heartbeat *h, struct loop *(*find)(void *context), void *context);
/* Beats from now on. False: no memory for a timer. */
bool heartbeat_start(struct heartbeat *h) WARN_UNUSED;
/* When the threads of all loops have ended. */
void heartbeat_fini(struct heartbeat *h);

/* The worker's thread: its loop has ended as it should. */
void heartbeat_left(struct heartbeat *h, unsigned worker);
/* Any thread: how long ago the loop that is the latest has ticked; the main loop counts too, and
 * the one that was found. */
int64_t heartbeat_age_ms(const struct heartbeat *h);
/* Any thread: from post to run, microseconds; of one that is still on its way, so far. */
int64_t heartbeat_lag_us(const struct heartbeat *h, unsigned worker);

#endif
