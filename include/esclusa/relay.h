/* relay: two one-way pumps between two transports and the policy of how a session ends. Knows
 * nothing of TLS, sockets or epoll.
 *
 * Owner: a session, on its worker's thread; nothing blocks. At most one bounded buffer a direction:
 * a pump reads only when all it read before has been taken (TP_PLAIN_SIZE in the pump for a plain
 * destination, TP_HELD_MAX in the transport for a TLS one). Idle pumps own no memory. */
#ifndef ESCLUSA_RELAY_H
#define ESCLUSA_RELAY_H

#include <esclusa/buf.h>
#include <esclusa/transport.h>

#include <stdint.h>

/* ---- pump.c: one way ---- */

/* Changes what was read before it is handed on, in place: bytes has room for PUMP_FILTER_ROOM more
 * than length. Returns what is to be handed on; it may keep some for later, until it is called with
 * end, when the source has ended (length is 0 then). *over_r: it is not to be called again. */
typedef size_t (*pump_filter)(void *context, uint8_t *bytes, size_t length, bool end, bool *over_r);
#define PUMP_FILTER_ROOM 512

enum pump_state {
    PUMP_RUNNING,
    PUMP_DONE,         /* the source ended cleanly, all was delivered, the destination was told */
    PUMP_TRUNCATED,    /* the source was cut (TP_TRUNCATED); all that came was delivered */
    PUMP_SOURCE_ERROR, /* the source failed; all that came was delivered */
    PUMP_DESTINATION_ERROR, /* the destination takes no more */
};

enum pump_wait {
    PUMP_WAIT_NOTHING,
    PUMP_WAIT_READ,
    PUMP_WAIT_WRITE,
    PUMP_WAIT_TURN,
    PUMP_WAIT_HELD
};

struct pump {
    struct transport *source, *destination;
    struct buf held; /* read, not yet taken by the destination */
    enum pump_state state;
    enum pump_wait wait;       /* while running: what it waits for (TURN: budget used, run again;
                                  HELD: source has ended, end of stream held back by policy) */
    enum tp_status source_end; /* TP_OK while the source is open */
    bool readable;             /* the source may have something: no pointless read otherwise */
    bool truncated_is_end; /* policy: tell the destination a clean end when the source was cut */
    bool hold_end;         /* policy: do not pass the end of the stream on */
    bool was_truncated;
    size_t chunk;       /* to be read at a time: more for a stream that flows, less for one that is
                           faster than its reader, for what is read then has to be held */
    uint64_t bytes;     /* taken from the source */
    pump_filter filter; /* NULL: none, as nearly always */
    void *filter_context;
};

void pump_init(struct pump *p, struct transport *source, struct transport *destination);
void pump_fini(struct pump *p);
/* Moves at most about budget bytes. */
enum pump_state pump_run(struct pump *p, struct transport_scratch *scratch, size_t budget);
/* The destination is known to be gone: PUMP_DESTINATION_ERROR, what was held is dropped. */
void pump_abandon(struct pump *p);

/* ---- relay.c: two pumps and the end policy ---- */

enum relay_side { RELAY_DOWN, RELAY_UP };
#define RELAY_SIDES 2

/* How a side is to be closed once the relay has ended. */
enum relay_close {
    RELAY_CLOSE_CLEAN, /* our direction has been ended: wait a little for the peer's end, close */
    RELAY_CLOSE_RESET  /* it must not look like a clean end: reset after the send queue is empty */
};

enum relay_cause {
    RELAY_CAUSE_CLEAN,     /* both directions ended cleanly */
    RELAY_CAUSE_TRUNCATED, /* the side was cut without close_notify */
    RELAY_CAUSE_RESET,     /* reading from, or writing to, the side failed */
};

struct relay_policy {
    bool truncated_is_end[RELAY_SIDES]; /* of streams that come from that side */
    bool hold_end[RELAY_SIDES];         /* ends of streams that come from that side are held back
                                           until the other direction has ended */
};

struct relay {
    struct transport *side[RELAY_SIDES];
    struct pump from[RELAY_SIDES]; /* from[RELAY_DOWN]: consumer to cloud */
    bool hung_up[RELAY_SIDES];     /* the kernel reported an error or hang-up there */
    bool ended;
    enum relay_cause cause;
    enum relay_side cause_side; /* for all but RELAY_CAUSE_CLEAN */
    bool cause_set;
};

void relay_init(struct relay *r, struct transport *down, struct transport *up,
                const struct relay_policy *policy);
void relay_fini(struct relay *r);
/* Before the first relay_run(): bytes that came from that side already, at most TP_PLAIN_SIZE,
 * which the other gets first. Takes them over: the buffer is empty afterwards. */
void relay_preload(struct relay *r, enum relay_side from, struct buf *bytes);

/* Before the first relay_run(): what comes from that side goes through a filter. */
void relay_filter(struct relay *r, enum relay_side from, pump_filter filter, void *context);
/* From within a filter: bytes that the other side gets as if they had come from that one, behind
 * all that came. False: no memory. */
bool relay_insert(struct relay *r, enum relay_side from, const void *bytes,
                  size_t length) WARN_UNUSED;

enum { RELAY_READABLE = 1, RELAY_WRITABLE = 2, RELAY_HUNG_UP = 4 };

/* Tells what the kernel reported for a side (RELAY_*). */
void relay_event(struct relay *r, enum relay_side side, unsigned events);
/* Runs both pumps, each within budget bytes. True while the relay goes on. */
bool relay_run(struct relay *r, struct transport_scratch *scratch, size_t budget);
/* What to wait for on a side, TP_WANT_*; and whether hang-ups still interest there (a side that has
 * hung up and is not wanted must be parked, or a level-triggered loop spins). */
unsigned relay_want(const struct relay *r, enum relay_side side);
bool relay_wants_hang_up(const struct relay *r, enum relay_side side);
/* A pump used up its budget, or bytes wait in user space: run again without waiting. */
bool relay_wants_turn(const struct relay *r);
/* One direction has ended and the other has not. */
bool relay_half_closed(const struct relay *r);
uint64_t relay_bytes(const struct relay *r); /* both ways: progress, for idle timers */
/* After it ended, or to end it early: how to close that side. */
enum relay_close relay_how_to_close(const struct relay *r, enum relay_side side);

#endif
