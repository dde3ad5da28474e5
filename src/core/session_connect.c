/* From an accepted consumer to a verified upstream: the session's side of a dial, and what the
 * consumer does meanwhile. */
#include "hello.h"
#include "session.h"

#include <errno.h>
#include <sys/socket.h>

/* ---- the consumer meanwhile ---- */

bool consumer_left_silently(const struct session *s)
{
    char byte;
    int fd = s->transport[RELAY_DOWN] == NULL ? -1 : s->transport[RELAY_DOWN]->fd;
    ssize_t n = fd < 0 ? 0 : recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    return n == 0 || (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK);
}

/* Something of the consumer's waits to be relayed though it has hung up. One over plain TCP has
 * been sent nothing that it could leave unread: its reset means that it gave up. */
static bool has_sent(const struct session *s)
{
    char byte;
    const struct transport *t = s->transport[RELAY_DOWN];
    if (s->at->endpoint.scheme == NET_TCP && session_peer(s)->u.sa.sa_family != AF_UNIX)
        return false; /* a systemd: listener may be of either kind */
    return t->ops->has_buffered(t) || t->ops->mid_record(t) ||
           recv(t->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

bool consumer_gone(struct session *s, enum relay_side side, unsigned events)
{
    if (side != RELAY_DOWN || !(events & LOOP_HUP))
        return false;
    if (has_sent(s)) {
        /* A unix peer that has closed hangs up; a TLS one that leaves our tickets unread resets. */
        loop_io_set(&s->io[RELAY_DOWN], LOOP_NONE);
        return false;
    }
    session_close(s, consumer_left_silently(s) ? REASON_PROBE : REASON_CONSUMER_RESET);
    return true;
}

/* ---- the dial ---- */

void connect_note(struct session *s)
{
    struct dial *d = s->dial;
    if (d == NULL)
        return;
    s->upstream = d->upstream;
    s->upstream_address = d->address;
    s->attempts = d->attempts;
    s->connect_us = d->connect_us;
    s->handshake_us = d->handshake_us;
    if (s->transport[RELAY_UP] == NULL)
        s->transport[RELAY_UP] = d->transport;
    d->transport = NULL;
    if (s->counted == NULL) {
        s->counted = d->counted;
        d->counted = NULL;
    }
    if (buf_empty(&s->early)) {
        s->early = d->early;
        buf_init(&d->early);
    }
}

static void dial_over(void *context)
{
    struct session *s = context;
    const struct dial *d = s->dial;
    if (dial_ok(d)) {
        connect_note(s);
        if (reverify_late(s)) /* a reload may have come meanwhile */
            session_enter(s, SESSION_RELAY);
        return;
    }
    if (d->exhausted && consumer_left_silently(s)) /* nobody is left to whom it would matter */
        session_close(s, REASON_PROBE);
    else
        session_fail(s, d->reason, d->remedy, "%s", d->error);
}

/* ---- MySQL: the consumer speaks before TLS ---- */

/* All of *early at once: the greeting of a server is the first that a consumer hears, so there is
 * room for it in any socket's buffer. */
static void tell_consumer(void *context, struct buf *early)
{
    struct session *s = context;
    struct transport *t = s->transport[RELAY_DOWN];
    size_t taken = 0;
    while (!buf_empty(early) &&
           t->ops->write(t, buf_peek(early), buf_length(early), &taken) == TP_OK)
        buf_consume(early, taken);
    buf_fini(early); /* what is left could not be sent: the consumer is gone, and will be missed */
    loop_io_set(&s->io[RELAY_DOWN], LOOP_READ | LOOP_HUP);
    if (t->ops->has_buffered(t))
        loop_io_pend(&s->io[RELAY_DOWN], LOOP_READ);
}

static void hear_consumer(struct session *s)
{
    struct transport *t = s->transport[RELAY_DOWN];
    uint8_t *bytes = s->worker->scratch.plain;
    size_t length = 0;
    bool drained = true;
    switch (t->ops->read(t, bytes, TP_READ_FIRST, &length, &drained)) {
    case TP_OK:
        break;
    case TP_AGAIN:
        return;
    case TP_EOF:
    case TP_TRUNCATED:
    case TP_ERROR:
        session_close(s, REASON_PROBE);
        return;
    }
    /* The dial reads into the same memory. */
    struct buf said;
    buf_init(&said);
    if (!buf_append(&said, bytes, length)) {
        session_fail(s, REASON_NO_MEMORY, NULL, "no memory for what the consumer says");
        return;
    }
    dial_consumer(s->dial, buf_peek(&said), length);
    buf_fini(&said);
    if (s->state == SESSION_DIAL && s->dial != NULL && !dial_wants_consumer(s->dial))
        loop_io_set(&s->io[RELAY_DOWN], LOOP_HUP);
}

/* True: the session relays, or has ended. */
static bool take_warm(struct session *s)
{
    struct warm_taken taken;
    if (!warm_take(&s->worker->warm, s->snapshot, s->service, &taken))
        return false;
    s->warm = true;
    s->transport[RELAY_UP] = taken.transport;
    s->upstream = taken.upstream;
    s->upstream_address = taken.address;
    s->early = taken.early;
    s->counted = taken.counted;
    if (!session_watch(s, RELAY_UP, taken.transport->fd, LOOP_READ))
        session_fail(s, REASON_NO_MEMORY, NULL, "no memory for the upstream connection");
    else
        session_enter(s, SESSION_RELAY);
    return true;
}

void connect_begin(struct session *s)
{
    if (take_warm(s))
        return;
    const struct dial_order order = {
        .worker = s->worker,
        .service = s->service,
        .source = session_peer(s),
        .io = &s->io[RELAY_UP],
        .on_io = session_on_up,
        .over = dial_over,
        .ask = tell_consumer,
        .context = s,
    };
    s->dial = dial_create(&order);
    const bool said = s->service->config->send_proxy == SEND_PROXY_OFF || s->dial == NULL ||
                      hello_make(&s->dial->hello, s);
    if (s->dial == NULL || !said)
        session_fail(s, REASON_NO_MEMORY, NULL, "no memory for a connection attempt");
    else
        dial_start(s->dial);
}

void connect_event(struct session *s, enum relay_side side, unsigned events)
{
    if (side == RELAY_DOWN && dial_wants_consumer(s->dial))
        hear_consumer(s);
    else if (side == RELAY_DOWN)
        (void)consumer_gone(s, side, events);
    else
        dial_event(s->dial, events);
}
