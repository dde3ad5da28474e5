/* session: one consumer's connection and the upstream connection made for it. Private to core.
 *
 * Owner: a worker; everything happens on its thread. The states are rows of a table in session.c:
 * each has its handler of events and its deadline. session_close() is the only way out of them:
 * idempotent, it closes both sides as the reason demands (linger), logs one line, and the worker
 * frees the session after the event batch. */
#ifndef ESCLUSA_CORE_SESSION_H
#define ESCLUSA_CORE_SESSION_H

#include "worker.h"

#include <esclusa/reason.h>
#include <esclusa/relay.h>

enum session_state {
    SESSION_ACCEPTED,
    SESSION_DOWN_HANDSHAKE,
    SESSION_CHOOSE,
    SESSION_RESOLVE,
    SESSION_CONNECT,
    SESSION_UP_HANDSHAKE,
    SESSION_RELAY,
    SESSION_LINGER,
    SESSION_DEAD,
    SESSION_STATES
};

/* Needed only until the relay starts: which candidate and address is being tried. */
struct attempt {
    size_t upstream; /* index in service->upstreams */
    struct net_addr addresses[RESOLVE_MAX];
    size_t address_count, address_next;
    int64_t candidate_deadline_ms; /* connect timeout of the candidate as a whole */
    struct resolve_query query;
    bool asking;
    int fd; /* connecting; -1 when a transport owns it, or none */
    /* The first failure that let another address or candidate be tried. */
    enum reason reason;
    char error[256];
};

/* Made when a session fails; logged and freed at the end. */
struct failure {
    enum session_state phase;
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

struct session {
    struct worker *worker;
    struct session *next, *previous; /* worker's list */
    struct snapshot *snapshot;
    const struct service *service;
    const struct listen_at *at;
    uint64_t id;
    enum session_state state;
    enum reason reason;
    struct net_addr consumer, upstream_address;
    const struct upstream *upstream; /* chosen; NULL before */
    struct loop_io io[RELAY_SIDES];
    struct transport *transport[RELAY_SIDES];
    struct relay relay;
    bool relaying;    /* relay is initialised */
    bool handshaking; /* counted in the group's handshakes */
    struct timer timer;
    struct loop_deferred deferred;
    struct attempt *attempt;
    struct failure *failure;
    unsigned attempts;
    /* times, microseconds of clock_us(); -1: not reached */
    int64_t began_us, phase_began_us, connect_us, handshake_us;
    /* relay timers */
    uint64_t bytes_seen[RELAY_SIDES]; /* by the side they come from */
    int64_t moved_ms[RELAY_SIDES];    /* when the last of them came */
    enum relay_side last_moved;
    int64_t active_ms; /* when a byte last moved, either way */
    size_t unsent_seen[RELAY_SIDES];
    bool half_closed;
    bool consumer_ended_first;
    uint64_t half_close_bytes[RELAY_SIDES]; /* moved each way when the first direction ended */
    /* linger */
    struct linger_side linger[RELAY_SIDES];
    int64_t linger_step_ms;
};

/* Takes the fd over, whatever comes of it: without memory the consumer is reset. */
void session_begin(struct worker *w, int fd, const struct net_addr *peer,
                   const struct listening *from);
/* Moves to a state: its deadline starts, its entry runs. */
void session_enter(struct session *s, enum session_state state);
/* Absolute deadline of the current state. */
void session_deadline(struct session *s, int64_t at_ms);
void session_close(struct session *s, enum reason reason);
/* Records why, for the log line; the first call counts. Then session_close(). */
void session_fail(struct session *s, enum reason reason, const char *remedy, const char *format,
                  ...) PRINTF_LIKE(4, 5);
const char *session_state_word(enum session_state state);
/* Registers a side's descriptor with the loop; events go to the state's handler. */
bool session_watch(struct session *s, enum relay_side side, int fd, unsigned interest) WARN_UNUSED;
/* After a handshake said TP_AGAIN: waits for what it wants, and for a hang-up. */
void session_watch_handshake(struct session *s, enum relay_side side);
/* Out of the loop at once, freed after the batch: linger's last step. */
void session_bury(struct session *s);

/* drain */
void session_drain_close(struct session *s); /* the deadline is here: close properly */
void session_kill(struct session *s);        /* now, without lingering */

/* session_connect.c: choose to upstream handshake */
void connect_choose(struct session *s);
void connect_resolve_deadline(struct session *s);
void connect_event(struct session *s, enum relay_side side, unsigned events);
void connect_deadline(struct session *s);
void handshake_begin(struct session *s);
void handshake_event(struct session *s, enum relay_side side, unsigned events);
void handshake_deadline(struct session *s);
void attempt_free(struct session *s);
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

/* session_log.c */
void session_log(const struct session *s);

#endif
