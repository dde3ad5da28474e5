/* session: one consumer's connection and the upstream connection made for it. Private to core.
 *
 * Owner: a worker; everything happens on its thread. The states are rows of a table in session.c:
 * each has its handler of events and its deadline. session_close() is the only way out of them:
 * idempotent, it closes both sides as the reason demands (linger), logs one line, and the worker
 * frees the session after the event batch. */
#ifndef ESCLUSA_CORE_SESSION_H
#define ESCLUSA_CORE_SESSION_H

#include "consumer.h"
#include "dial.h"
#include "gate.h"
#include "spin.h"
#include "stats.h"
#include "translate.h"
#include "worker.h"

#include <esclusa/proxy_header.h>
#include <esclusa/reason.h>
#include <esclusa/relay.h>

enum session_state {
    SESSION_ACCEPTED,
    SESSION_PROXY_HEADER,
    SESSION_DOWN_HANDSHAKE,
    SESSION_DIAL,
    SESSION_RELAY,
    SESSION_LINGER,
    SESSION_DEAD,
    SESSION_STATES
};

/* Made when a session fails; logged and freed at the end. */
struct failure {
    enum phase phase;
    bool handshake[RELAY_SIDES]; /* it was in the handshake with that side */
    char error[512];
    char remedy[512];
};

/* How one side is closed while the session lingers. */
struct linger_side {
    bool open;
    enum relay_close how;
    size_t unsent; /* when last looked */
    int64_t moved_ms;
};

/* What a PROXY header said; kept to the session's end. */
struct proxied {
    struct net_addr peer;        /* the proxy: who is at the other end of the connection */
    struct net_addr destination; /* where the consumer connected to; length 0: it was not said */
    struct buf held;             /* what of the header has come */
    uint8_t unique_id[PROXY_UNIQUE_ID_MAX];
    size_t unique_id_length; /* 0: none */
};

struct session {
    struct worker *worker;
    struct session *next, *previous; /* worker's list */
    struct snapshot *snapshot;
    const struct service *service;
    struct stats_slot *stats; /* of its service, on its worker; may be NULL: stats.h */
    struct gate *gate;        /* of its service; NULL like stats */
    const struct listen_at *at;
    uint64_t id;
    enum session_state state;
    enum reason reason;
    struct net_addr consumer; /* who it is, by the connection or by the PROXY header */
    struct net_addr upstream_address;
    struct proxied *proxied;         /* NULL: the connection is the consumer's own */
    const struct upstream *upstream; /* chosen; NULL before; up to date when the dial is over */
    struct loop_io io[RELAY_SIDES];
    struct transport *transport[RELAY_SIDES];
    struct relay relay;
    struct buf early;               /* what came from the upstream before the relay; its own then */
    struct translate *translate;    /* NULL: none is needed */
    struct stats_upstream *counted; /* see candidate_leave(); NULL: none */
    bool warm;                      /* the upstream connection was taken from the warm pool */
    bool relaying;                  /* relay is initialised */
    bool handshaking;               /* counted in the group's handshakes */
    bool admitted;                  /* counted by the gate for its address */
    struct timer timer;
    struct loop_deferred deferred;
    struct dial *dial; /* until the relay starts */
    struct failure *failure;
    unsigned attempts;
    /* times, microseconds of clock_us(); -1: not reached */
    int64_t began_us, connect_us, handshake_us;
    int64_t began_wall_us;
    /* relay timers */
    uint64_t bytes_seen[RELAY_SIDES]; /* by the side they come from */
    int64_t moved_ms[RELAY_SIDES];    /* when the last of them came */
    enum relay_side last_moved;
    int64_t active_ms;                /* when a byte last moved, either way */
    uint64_t acked_seen[RELAY_SIDES]; /* of what went to each side; while watched */
    int64_t lifetime_cut_ms; /* when it is cut though it does not rest; 0: not at its end yet */
    int64_t ends_ms;         /* max_lifetime; CLOCK_NEVER: none */
    int64_t settles_ms;      /* the upstream's socket gets keepalive; CLOCK_NEVER: it has */
    struct spin spin;
    bool watched; /* somebody does not read: see look_again() */
    bool half_closed;
    bool consumer_ended_first;
    uint64_t half_close_bytes[RELAY_SIDES]; /* moved each way when the first direction ended */
    /* linger */
    struct linger_side linger[RELAY_SIDES];
    int64_t linger_step_ms;
    int64_t linger_quiet_ms, linger_stuck_ms; /* how long nothing may move */
    int64_t linger_ends_ms;                   /* whatever moves */
};

/* Takes the fd over, whatever comes of it: without memory the consumer is reset. Its places, among
 * the sessions, in its service's gate and among the handshakes, are the session's from here on. */
void session_begin(struct worker *w, int fd, const struct net_addr *peer,
                   const struct listening *from);
/* The same for one that may not connect: it is reset at once, and told of. It has no place among
 * the handshakes, and none for its address. */
void session_refuse(struct worker *w, int fd, const struct net_addr *peer,
                    const struct listening *from, const struct denial *why);
/* Moves to a state: its deadline starts, its entry runs. */
void session_enter(struct session *s, enum session_state state);
/* Who is at the other end of the consumer's connection. */
static inline const struct net_addr *session_peer(const struct session *s)
{
    return s->proxied != NULL ? &s->proxied->peer : &s->consumer;
}
/* The earlier of two times, the shorter of two durations. */
static inline int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}
/* What it is at. */
enum phase session_phase(const struct session *s);
/* Absolute deadline of the current state. */
void session_deadline(struct session *s, int64_t at_ms);
void session_close(struct session *s, enum reason reason);
/* Records why, for the log line; the first call counts. Then session_close(). */
void session_fail(struct session *s, enum reason reason, const char *remedy, const char *format,
                  ...) PRINTF_LIKE(4, 5);
/* Registers a side's descriptor with the loop; events go to the state's handler. */
bool session_watch(struct session *s, enum relay_side side, int fd, unsigned interest) WARN_UNUSED;
/* The loop's callback for the upstream's side. */
void session_on_up(void *session, unsigned events);
/* Out of the loop at once, freed after the batch: linger's last step. */
void session_bury(struct session *s);

/* drain */
void session_drain_close(struct session *s); /* the deadline is here: close properly */
void session_kill(struct session *s);        /* now, without lingering */

/* session_proxy.c: the PROXY header that comes first */
void proxy_header_enter(struct session *s);
void proxy_header_event(struct session *s, enum relay_side side, unsigned events);
void proxy_header_deadline(struct session *s);
void proxied_free(struct proxied **p);

/* session_connect.c: the dial, and the consumer meanwhile */
void connect_begin(struct session *s);
void connect_event(struct session *s, enum relay_side side, unsigned events);
/* Takes over what the dial has: for the log, and the transport. */
void connect_note(struct session *s);
/* A consumer that hung up before its data could be relayed ends the session. True: it did. */
bool consumer_gone(struct session *s, enum relay_side side, unsigned events);
/* The consumer has left (end of stream or reset) and has not sent a byte. */
bool consumer_left_silently(const struct session *s);

/* session_relay.c */
void relay_begin(struct session *s);
void relay_on_event(struct session *s, enum relay_side side, unsigned events);
void relay_deadline(struct session *s);

/* session_end.c */
void linger_begin(struct session *s);
void linger_event(struct session *s, enum relay_side side, unsigned events);
void linger_tick(struct session *s);
void linger_spins(struct session *s);

/* session_log.c */
/* Of the transport whose failure explains the end; NULL: none does. */
const struct tls_failure *session_tls_failure(const struct session *s);
void session_log(const struct session *s);

#endif
