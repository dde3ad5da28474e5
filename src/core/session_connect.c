/* From an accepted consumer to a verified upstream: the session's side of a dial, and what the
 * consumer does meanwhile. */
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
    if (s->at->endpoint.scheme == NET_TCP && s->consumer.u.sa.sa_family != AF_UNIX)
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
        .candidates = s->service->upstream_count,
        .io = &s->io[RELAY_UP],
        .on_io = session_on_up,
        .over = dial_over,
        .context = s,
    };
    s->dial = dial_create(&order);
    if (s->dial == NULL)
        session_fail(s, REASON_NO_MEMORY, NULL, "no memory for a connection attempt");
    else
        dial_start(s->dial);
}

void connect_event(struct session *s, enum relay_side side, unsigned events)
{
    if (side == RELAY_DOWN)
        (void)consumer_gone(s, side, events);
    else
        dial_event(s->dial, events);
}
