/* warm: upstream connections kept ready, verified, so that a consumer pays no round trip. One a
 * worker, with a pool for each service that sets warm_min. Private to core; the worker's thread.
 *
 * - What is in a pool is connected, and over TLS its handshake is done and verified by the profile
 *   of the snapshot that the pool belongs to. It goes to one session of that same snapshot, or to
 *   none: at a reload every pool is emptied and made anew.
 * - It is watched while it waits: tickets and key updates are taken, an end or an error discards
 *   it, and so does its age. What the upstream says first is kept for the consumer, up to
 *   WARM_EARLY_MAX and the record that goes over it. One that said nothing owns no buffer.
 * - Each counts as one descriptor in group->warm, from its dial on, for which room is kept apart
 *   from that of sessions (worker_group_limits()). */
#ifndef ESCLUSA_CORE_WARM_H
#define ESCLUSA_CORE_WARM_H

#include <esclusa/buf.h>
#include <esclusa/config.h>
#include <esclusa/transport.h>

struct worker;
struct warm_pool;

#define WARM_EARLY_MAX ((size_t)64 * 1024)

struct warm_counts {
    uint64_t hits, misses; /* consumers served from the pool, and those it had nothing for */
    uint64_t closed, aged, config; /* discarded: by the upstream, too old, at a reload or stop, */
    uint64_t outranked;            /* and since another upstream is to be used instead */
    uint64_t failed;               /* dials */
};

struct warm {
    struct worker *worker;
    struct snapshot *snapshot; /* a reference; NULL: no pools */
    struct warm_pool *pools;   /* one a service of the snapshot; those with nothing to do are off */
};

/* A connection that was taken: all of it is the taker's. */
struct warm_taken {
    struct transport *transport;
    const struct upstream *upstream;
    struct net_addr address;
    struct stats_upstream *counted; /* see candidate_leave() */
    struct buf early; /* came from the upstream already, and goes before what is read */
};

void warm_init(struct warm *w, struct worker *worker);
/* Pools for the services of that snapshot; those of the one before are closed. False: no memory,
 * and there are none. */
bool warm_move(struct warm *w, struct snapshot *snapshot) WARN_UNUSED;
/* Closes all, and logs what they counted. */
void warm_stop(struct warm *w);
/* For a session of that snapshot and service. False: there is none. Does nothing else that takes
 * time: the pool is filled again a little later. */
bool warm_take(struct warm *w, const struct snapshot *snapshot, const struct service *service,
               struct warm_taken *taken_r) WARN_UNUSED;
/* Of the service with that index, since the last reload; false: it has no pool. */
bool warm_counts(const struct warm *w, size_t service, struct warm_counts *counts_r);
/* How many connections all workers together may keep for the snapshot. */
unsigned warm_wanted(const struct snapshot *snapshot);

#endif
