/* listing: some of the live sessions, the newest first, copied by the workers that they belong to:
 * no other thread reads a session. Private to core.
 *
 * One at a time. Whoever wants it posts a message to each worker's loop and waits; a worker looks
 * at LISTING_TURN sessions a turn of its loop, so that the relays go on. */
#ifndef ESCLUSA_CORE_LISTING_H
#define ESCLUSA_CORE_LISTING_H

#include "phase.h"

#include <esclusa/config.h>
#include <esclusa/event.h>
#include <esclusa/relay.h>

#include <pthread.h>

#define LISTING_TURN    64
#define LISTING_WAIT_MS 2000

struct session;
struct worker;
struct worker_group;
struct listing;

/* A copy. service, at and upstream are the snapshot's. */
struct listed {
    uint64_t id;
    unsigned worker;
    enum phase phase;
    struct snapshot *snapshot; /* a reference */
    const struct service *service;
    const struct listen_at *at;
    const struct upstream *upstream; /* NULL: none chosen */
    struct net_addr consumer;
    struct net_addr address, peer; /* length 0: none */
    int64_t age_us, idle_us;       /* idle: -1 before the relay */
    uint64_t bytes_up, bytes_down;
    bool tls, warm, half_closed;
    struct tls_info info; /* with tls */
};

/* A worker's part, a member of it. */
struct listing_part {
    struct loop_message message;
    struct worker *worker;
    struct listing *listing;
    struct session *next; /* where the walk goes on, while walking */
    bool walking;
    struct listed *items; /* room for limit */
    size_t count;
};

struct listing {
    pthread_mutex_t mutex;
    pthread_cond_t done;
    unsigned waiting; /* workers that have not answered */
    struct worker_group *group;
    unsigned workers; /* that were asked */
    uint64_t below;   /* ids wanted */
    size_t limit;
};

/* Main thread, before the workers start and after they have ended. */
void listing_init(struct listing *l, struct worker_group *group);
void listing_fini(struct listing *l);
/* Worker: before its thread starts; when a session leaves its list. */
void listing_part_init(struct listing_part *p, struct worker *w);
void listing_forget(struct listing_part *p, const struct session *s);

enum listing_status { LISTING_OK, LISTING_LATE, LISTING_NO_MEMORY };
/* Not on a worker; one thread. BLOCKS for LISTING_WAIT_MS at most. At most limit sessions with ids
 * below that, the newest first, in one array of *count_r that listing_free() frees. LISTING_LATE: a
 * worker did not answer in time, or has not answered the one before yet. */
enum listing_status listing_take(struct listing *l, unsigned workers, uint64_t below, size_t limit,
                                 struct listed **items_r, size_t *count_r);
void listing_free(struct listed *items, size_t count);

#endif
