/* gate: the limits of one service: how many consumers are in at once, in all and from one address,
 * how many of them in their TLS handshake, and how fast they come. Private to core.
 *
 * A gate lives as long as the process: it is found again by the service's name after a reload, and
 * sessions of the old configuration count on. Any thread; no lock but that of the crowd.
 *
 * Who is over a limit waits in the kernel's queue or is reset, as `over_limit` says; over that of
 * its own address it is reset always, for the queue knows no addresses. */
#ifndef ESCLUSA_CORE_GATE_H
#define ESCLUSA_CORE_GATE_H

#include "crowd.h"

#include <esclusa/config.h>

#include <stdatomic.h>

/* What a consumer can be over. */
enum gate_limit {
    GATE_NONE,
    GATE_PROCESS,  /* max_connections */
    GATE_SERVICE,  /* max_service_connections */
    GATE_CONSUMER, /* max_consumer_connections */
    GATE_RATE,     /* accept_rate */
    /* The rest are counted here, and told of by lines of their own. */
    GATE_HANDSHAKES,         /* max_handshakes */
    GATE_SERVICE_HANDSHAKES, /* max_service_handshakes */
    GATE_FILES,              /* the limit of open files */
    GATE_LIMITS
};

struct gate {
    atomic_uint inside;                     /* those being accepted included */
    atomic_uint handshakes;                 /* the same of those in their TLS handshake */
    atomic_int_fast64_t due_us;             /* when the next one is due, were they evenly spaced */
    atomic_int_fast64_t told_ms;            /* when it was last logged that one is over; 0: never */
    atomic_uint_fast64_t over[GATE_LIMITS]; /* how often somebody was */
    atomic_uint_fast64_t told;              /* how many of all these the log knows of */
    struct crowd crowd;
};

void gate_init(struct gate *g);
void gate_fini(struct gate *g);

/* The option behind a limit, and what it is set to. */
const char *gate_word(enum gate_limit limit);
int64_t gate_set_to(enum gate_limit limit, const struct snapshot *s, const struct service *service);

/* One wants in. GATE_NONE: it is counted, until gate_leave(). Else nothing is counted, and for
 * GATE_RATE *wait_us_r is when to come again. */
enum gate_limit gate_enter(struct gate *g, const struct service_config *c, int64_t now_us,
                           int64_t *wait_us_r) WARN_UNUSED;
/* The same whatever the limits say. */
void gate_push(struct gate *g);
/* It entered, and there was nobody: what it took of the rate is given back. It leaves all the same.
 */
void gate_refund(struct gate *g, const struct service_config *c);
void gate_leave(struct gate *g);

/* A place among the service's handshakes, until gate_handshake_over(). c NULL: whatever the limit
 * says. */
bool gate_handshake(struct gate *g, const struct service_config *c) WARN_UNUSED;
void gate_handshake_over(struct gate *g);

/* One that is in shows its address: false, and it is one too many from there. What entered must
 * leave, with the same configuration and address. */
bool gate_admit(struct gate *g, const struct service_config *c,
                const struct net_addr *from) WARN_UNUSED;
void gate_dismiss(struct gate *g, const struct service_config *c, const struct net_addr *from);

/* Somebody was over a limit, and its own line in the log tells it. */
void gate_count_over(struct gate *g, enum gate_limit limit);
/* Somebody was over a limit. True: it is to be logged, once an interval, and *since_r more of them
 * came since the last line. */
bool gate_over(struct gate *g, enum gate_limit limit, int64_t now_ms, uint64_t *since_r);

#endif
