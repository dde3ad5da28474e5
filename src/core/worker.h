/* worker: one thread, one loop, its own sessions and scratch memory. Private to core.
 *
 * Everything is called on the worker's own thread unless it says otherwise. */
#ifndef ESCLUSA_CORE_WORKER_H
#define ESCLUSA_CORE_WORKER_H

#include "listen_set.h"
#include "listing.h"
#include "probe.h"
#include "ration.h"
#include "reverify.h"
#include "warm.h"

#include <esclusa/config.h>
#include <esclusa/event.h>
#include <esclusa/policy.h>
#include <esclusa/transport.h>

#include <pthread.h>
#include <stdatomic.h>

struct acceptor;
struct failures;
struct gate;
struct heartbeat;
struct session;

/* What workers share. Filled before the first thread starts, constant afterwards but the atomics.
 */
struct worker_group {
    struct worker *workers;
    unsigned count;
    struct resolver *resolver;
    struct failures *failures;      /* NULL: nobody will ask */
    struct heartbeat *heartbeat;    /* is told when a worker has ended */
    atomic_uint_fast64_t next_id;   /* session ids, unique in the process */
    unsigned descriptors;           /* what the limit of open files leaves for connections */
    atomic_uint max_by_descriptors; /* sessions at two each; a reload changes these */
    atomic_uint max_sessions;       /* that, or max_connections if it is less */
    atomic_uint max_warm;           /* at one each */
    atomic_uint warm;               /* connections kept ready, and those being made for it */
    atomic_uint lanes;              /* attempts beside the first of a dial, at one each */
    atomic_uint sessions;           /* live ones, and places reserved before an accept */
    atomic_uint connections;        /* live ones */
    atomic_uint max_handshakes;     /* of consumers, at once; a reload changes it */
    atomic_uint handshakes;         /* in progress, and those being accepted */
    atomic_int_fast64_t handshakes_logged_ms; /* when the cap was last logged; 0: never */
    /* Called on a worker's thread: it accepts from its new set / it has left its listeners / it has
     * ended. */
    void (*on_moved)(struct worker_group *group);
    void (*on_deaf)(struct worker_group *group);
    void (*on_ended)(struct worker_group *group);
    void *context;
};

struct worker {
    struct worker_group *group;
    unsigned index;
    pthread_t thread;
    bool started;
    struct loop *loop;
    struct transport_scratch scratch;
    struct transport_scratch scratch_under; /* of TLS with a proxy, under another TLS */
    struct listen_set *set;                 /* what it accepts from */
    struct acceptor *acceptors;             /* one an item of the set; list head */
    struct session *sessions;               /* list head */
    unsigned count;                         /* of sessions */
    unsigned peak, settled; /* the most since memory was given back, and how many then */
    struct timer trim;
    atomic_uint load; /* live sessions, those handed over and not yet begun included */
    /* drain */
    bool draining; /* has left the listeners */
    bool may_stop; /* every worker has: no connection can be handed over any more */
    bool killed;
    /* main thread only: a message is posted once */
    bool drain_posted, hurry_posted, kill_posted, finish_posted;
    struct timer drain_end, drain_give_up;
    struct loop_message drain_message, hurry_message, finish_message, kill_message, move_message;
    struct listen_set *move_to;  /* argument of move_message: a reference */
    struct reverify reverify;    /* live sessions after a reload */
    struct listing_part listing; /* live sessions for the admin endpoint */
    struct warm warm;            /* connections kept ready */
    struct probe probe;          /* active checks */
    struct ration ration;        /* of handshakes, a turn */
    uint64_t random;             /* state of random.h */
    int64_t drain_timeout_ms;    /* argument of drain_message */
    int64_t hurry_timeout_ms;    /* argument of hurry_message */
};

/* Main thread: what of the snapshot all workers share. */
/* Whether all of them have their descriptors. Whoever wants one more has counted itself before: of
 * two at the same time one at least sees the other. */
bool worker_group_fits(const struct worker_group *group) WARN_UNUSED;
void worker_group_limits(struct worker_group *group, const struct snapshot *snapshot);

/* Before the thread starts, on the main thread. */
bool worker_init(struct worker *w, struct worker_group *group, unsigned index,
                 struct listen_set *set, struct error *err) WARN_UNUSED;
void worker_fini(struct worker *w); /* after the thread ended or never began */
bool worker_start(struct worker *w, struct error *err) WARN_UNUSED;

/* All four from the main thread. Accept from that set from now on, and report on_moved; one at a
 * time. */
void worker_post_move(struct worker *w, struct listen_set *set);
/* Leave the listeners and let sessions finish until the drain timeout. A second time: with another
 * timeout, from then on; a third is not heard. */
void worker_post_drain(struct worker *w, int64_t drain_timeout_ms);
/* Once all workers have left them: stop when there are no sessions. */
void worker_post_finish(struct worker *w);
/* End every session now. */
void worker_post_kill(struct worker *w);
/* After a connection was handed over: a worker told to end everything ends that too. */
void worker_check_killed(struct worker *w);
/* From session.c: a session joins, or leaves for good. */
void worker_adopt(struct worker *w, struct session *s);
void worker_release(struct worker *w, struct session *s);
/* A connection that was counted and never became a session. */
void worker_lost(struct worker *w);
/* A consumer's place among the handshakes, the process's and its service's (NULL: it has no gate),
 * is free again. Any worker's thread. */
void worker_handshake_over(struct worker_group *group, struct gate *gate);

/* acceptor.c: makes the worker accept from the set (and takes a reference of it). What both the old
 * and the new one have goes on without a gap; from what only the old one has, all that still waits
 * is taken first. False: not every new listener could be waited on. */
bool acceptors_move(struct worker *w, struct listen_set *set, struct error *err) WARN_UNUSED;
/* Takes what still waits in the queues, then leaves the listeners. */
void acceptors_leave(struct worker *w);
void acceptors_close(struct worker *w);

#endif
