/* attempt: one address, one socket, from connect to a verified connection. Private to core; knows
 * neither other addresses nor who wants the connection.
 *
 * Owner: a dial, on the worker's thread; several may run at once in one dial. */
#ifndef ESCLUSA_CORE_ATTEMPT_H
#define ESCLUSA_CORE_ATTEMPT_H

#include "prelude.h"
#include "spin.h"
#include "worker.h"

#include <esclusa/buf.h>
#include <esclusa/reason.h>

struct attempt;

struct attempt_order {
    struct worker *worker;
    const struct service *service;   /* outlives the attempt */
    const struct upstream *upstream; /* one of the service's */
    struct net_addr address;
    const struct buf *hello;  /* see hello_send(); outlives the attempt */
    bool connect_only;        /* good as soon as TLS could begin: without a transport */
    int64_t connect_until_ms; /* loop_now() scale; the handshake's time begins with it */
    /* The registration with the loop, and who hears its events and hands them to attempt_event().
     * io NULL: one of the attempt's own. It lives to the end of the batch in which the attempt is
     * destroyed. */
    struct loop_io *io;
    void (*on_io)(void *context, unsigned events);
    void *io_context;
    /* The address took the connection; what is said before TLS, or TLS, follows. Again with each
     * such phase. The attempt must not be destroyed there. */
    void (*connected)(void *context, struct attempt *a);
    /* Called once, the last thing an attempt does, and never from attempt_start(): it may be
     * destroyed there. */
    void (*over)(void *context, struct attempt *a);
    /* starttls = "mysql": the consumer is to hear a->early, which is to be taken, and what it
     * answers is for attempt_consumer(). Once. The attempt must not be destroyed there. */
    void (*ask)(void *context, struct attempt *a);
    void *context;
};

enum attempt_stage { ATTEMPT_CONNECT, ATTEMPT_PRELUDE, ATTEMPT_HANDSHAKE };

/* What came of it: whether another address may be tried is decided by this. */
enum attempt_outcome {
    ATTEMPT_RUNS,
    ATTEMPT_GOOD,
    ATTEMPT_UNANSWERED, /* refused, no route, no answer, silence or a cut in the handshake */
    ATTEMPT_WRONG,      /* it answered, and was found wrong: certificate, alert, not TLS */
    ATTEMPT_OURS        /* no memory or descriptor: says nothing of the address */
};

struct attempt {
    struct attempt_order order;
    struct attempt *next;     /* the dial's */
    enum attempt_stage stage; /* it stays when the attempt is over */
    enum attempt_outcome outcome;
    bool blameless; /* unanswered, but it was not asked, or could not be: nothing is known of it */
    /* That of a failed handshake stays, with its transport->failure. Whoever takes it leaves NULL
     * here, and has the registration with the loop, too: see attempt_settle(). */
    struct transport *transport;
    struct buf early; /* what the consumer must hear before what the transport gives; to be taken */
    struct buf held;  /* mysql: what it has said already, for the upstream first; to be taken */
    enum phase prelude_phase; /* once it has come to ATTEMPT_PRELUDE */
    enum reason reason;       /* unless good */
    const char *error;  /* why, without the address; lives as long as the attempt and transport */
    const char *remedy; /* NULL: none; the same */
    int64_t connect_us, handshake_us; /* -1: it did not get so far */
    /* private */
    struct prelude *prelude;
    struct spin spin;
    bool asked;
    int fd; /* connecting; -1 when the transport owns it, or none */
    int64_t began_us;
    struct loop_io *io, own_io;
    struct timer timer;
    char text[96];
    struct loop_deferred gone;
};

/* NULL: no memory. Nothing happens before attempt_start(). */
struct attempt *attempt_create(const struct attempt_order *order);
/* False: it has failed already, see its outcome. */
bool attempt_start(struct attempt *a) WARN_UNUSED;
/* Events of the order's io. */
void attempt_event(struct attempt *a, unsigned events);
/* After ask(): what the consumer said. The attempt may be over, and gone, before this returns. */
void attempt_consumer(struct attempt *a, const void *bytes, size_t length);
/* ask() was called, and nothing that was said since was enough. */
bool attempt_wants_consumer(const struct attempt *a);
/* Of one that is over: makes io, which must be free, the registration of its transport, if it is
 * not that already. False: no memory. */
bool attempt_settle(struct attempt *a, struct loop_io *io,
                    void (*on_io)(void *context, unsigned events), void *context) WARN_UNUSED;
/* At any time: closes what is open and was not taken. NULLs *a; nothing for NULL. The memory, and
 * what `error` points to, goes after the batch. */
void attempt_destroy(struct attempt **a);

/* What the loop is to wait for after a handshake said TP_AGAIN: its wish, and a hang-up. */
unsigned handshake_interest(const struct transport *t);

#endif
