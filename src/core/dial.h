/* dial: from a service to a verified upstream connection: choose a candidate, resolve it, race its
 * addresses (race.h), and go on to the next candidate. Private to core; knows no consumer.
 *
 * Owner: whoever wants the connection (a session, the warm pool, a check), on the worker's thread.
 * What lets the next address or candidate be tried is decided by the class of failure: one that
 * did not answer (resolve, connect, silence or a cut in the handshake) does; one that answered and
 * was found wrong (certificate, alert, not TLS) never does, for silent failover would mask it. With
 * failover_on_verify a certificate that does not verify does, too, with an alarm. */
#ifndef ESCLUSA_CORE_DIAL_H
#define ESCLUSA_CORE_DIAL_H

#include "candidates.h"
#include "phase.h"
#include "race.h"
#include "worker.h"

#include <esclusa/buf.h>
#include <esclusa/reason.h>

/* What is wanted, and who is told. The owner's io becomes the connection's registration with the
 * loop and stays so when the dial is over, so that going on costs no system call. Its events come
 * to the owner, who hands them to dial_event() while the dial lasts. */
struct dial_order {
    struct worker *worker;
    const struct service *service; /* outlives the dial */
    const struct upstream *only;   /* this one, however it did before, as a check; NULL: any */
    bool connect_only;             /* see attempt.h */
    const struct net_addr *source; /* the consumer, for balance = "source_hash"; NULL: none */
    struct loop_io *io;            /* lives to the end of the batch in which the dial ends */
    void (*on_io)(void *context, unsigned events);
    /* The dial is over: see dial_ok(). Called once, the last thing a dial does: it may be destroyed
     * there. */
    void (*over)(void *context);
    /* starttls = "mysql": the consumer is to hear *early, which is to be taken, and what it answers
     * is for dial_consumer(). NULL: there is none. Not the last thing a dial does. */
    void (*ask)(void *context, struct buf *early);
    void *context;
};

enum dial_phase { DIAL_CHOOSE, DIAL_RESOLVE, DIAL_CONNECT, DIAL_PRELUDE, DIAL_HANDSHAKE };

struct dial {
    struct dial_order order;
    enum dial_phase phase; /* it stays when the dial is over */
    bool is_over;
    /* What came of it; up to date while it lasts, too. */
    const struct upstream *upstream; /* the candidate; NULL: none was chosen */
    struct net_addr address;         /* of the last attempt */
    unsigned attempts;
    int64_t connect_us, handshake_us; /* of the last that got so far; -1: none did */
    /* Verified when the dial is over and ok; NULL before there is a connection. That of a failed
     * handshake stays, with its transport->failure. Whoever takes it leaves NULL here. */
    struct transport *transport;
    /* The upstream that this connection counts for, see candidate_leave(). To be taken like that.
     */
    struct stats_upstream *counted;
    /* What the consumer must hear before anything the transport gives. To be taken like that. */
    struct buf early;
    struct buf held;    /* mysql: what it has said already, for the upstream first */
    enum reason reason; /* REASON_NONE: ok */
    char error[512];
    const char *remedy; /* NULL: none; lives as long as the dial and the transport */
    bool exhausted;     /* it failed because no candidate answered */
    enum attempt_outcome
        outcome; /* of the last candidate that is over; _OURS: nothing was learnt */
    /* With send_proxy: what is said first; empty: that it is for no consumer. To be filled before
     * dial_start(). */
    struct buf hello;
    /* private */
    struct candidates candidates;
    size_t candidate;              /* where in their order */
    int64_t candidate_deadline_ms; /* connect timeout of the candidate as a whole */
    struct candidate_try try;
    bool trying; /* `try` has yet to be told */
    bool missed; /* an address of the candidate was asked and did not answer */
    bool wrong;  /* one was, and was passed over */
    bool asking; /* query is under way */
    enum phase prelude_phase;
    struct resolve_query query;
    struct race race;
    struct timer timer;
    enum reason candidate_reason; /* the last failure of the candidate */
    /* The first failure that let another address or candidate be tried. */
    enum reason first_reason;
    const char *first_remedy; /* NULL: that of its reason */
    char first_error[256];
    char last_error[NET_TEXT_MAX + 256]; /* of an address */
};

/* NULL: no memory. Nothing happens before dial_start(). */
struct dial *dial_create(const struct dial_order *order);
/* over() may be called before this returns. */
void dial_start(struct dial *d);
/* At any time: closes what is open and was not taken. NULLs *d; nothing for NULL. */
void dial_destroy(struct dial **d);
/* Events of the order's io. */
void dial_event(struct dial *d, unsigned events);
/* After ask(): what the consumer said. The dial may be over before this returns. */
void dial_consumer(struct dial *d, const void *bytes, size_t length);
/* ask() was called, and nothing that was said since was enough. */
bool dial_wants_consumer(const struct dial *d);
static inline bool dial_ok(const struct dial *d)
{
    return d->is_over && d->reason == REASON_NONE;
}
enum phase dial_phase_of(const struct dial *d);

#endif
