/* The PROXY header of a consumer that comes through a proxy: read to its last byte and no further,
 * for what follows is the consumer's. Who it is known to be from then on, it is for the lists, the
 * limits and the log. */
#include "session.h"

#include <esclusa/str.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void proxied_free(struct proxied **p)
{
    if (*p != NULL)
        buf_fini(&(*p)->held);
    free(*p);
    *p = NULL;
}

void proxy_header_enter(struct session *s)
{
    s->proxied = calloc(1, sizeof *s->proxied);
    if (s->proxied == NULL) {
        session_fail(s, REASON_NO_MEMORY, NULL, "no memory for a PROXY header");
        return;
    }
    s->proxied->peer = s->consumer;
    buf_init(&s->proxied->held);
    loop_io_set(&s->io[RELAY_DOWN], LOOP_READ);
    session_deadline(s, loop_now(s->worker->loop) + s->service->config->accept_proxy_timeout);
}

void proxy_header_deadline(struct session *s)
{
    char after[32];
    str_format_duration(after, sizeof after, s->service->config->accept_proxy_timeout);
    session_fail(s, REASON_PROXY_HEADER_TIMEOUT,
                 "let the proxy send a PROXY header to this service, or set accept_proxy to off",
                 "no whole PROXY header within %s", after);
}

static void refuse(struct session *s, const char *problem)
{
    session_fail(s, REASON_PROXY_HEADER_BAD,
                 "let the proxy send a PROXY header of the version that accept_proxy says, or set "
                 "accept_proxy to off",
                 "%s", problem);
}

/* ---- what it said ---- */

static bool is_other_version(const struct session *s, unsigned version)
{
    const int64_t wanted = s->service->config->accept_proxy;
    return (wanted == ACCEPT_PROXY_V1 && version != 1) ||
           (wanted == ACCEPT_PROXY_V2 && version != 2);
}

static void believe(struct session *s, const struct proxy_header *h)
{
    struct proxied *p = s->proxied;
    if (h->relayed) {
        s->consumer = h->source;
        p->destination = h->destination;
    }
    if (h->unique_id_length > 0)
        memcpy(p->unique_id, h->unique_id, h->unique_id_length);
    p->unique_id_length = h->unique_id_length;
}

/* False: it may not connect, and has ended. A consumer on a unix socket of the proxy's has no
 * address but that of the proxy's machine. */
static bool admit(struct session *s)
{
    struct denial why;
    const bool local = s->consumer.u.sa.sa_family == AF_UNIX;
    if (consumer_is_elsewhere(s->service, local ? &s->proxied->peer : &s->consumer, &why)) {
        session_fail(s, REASON_CONSUMER_DENIED, why.remedy, "%s", why.error);
        return false;
    }
    if (s->gate == NULL)
        return true;
    s->admitted = gate_admit(s->gate, s->service->config, &s->consumer);
    if (!s->admitted) {
        gate_count_over(s->gate, GATE_CONSUMER);
        session_fail(s, REASON_OVER_LIMIT, "raise max_consumer_connections if they are wanted",
                     "more connections than max_consumer_connections from this address");
    }
    return s->admitted;
}

/* ---- reading it ---- */

/* Takes out of the socket what was only looked at. */
static bool take(struct transport *t, uint8_t *bytes, size_t length)
{
    t->came += length;
    return recv(t->fd, bytes, length, MSG_DONTWAIT) == (ssize_t)length;
}

static void nothing_came(struct session *s, ssize_t got)
{
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (buf_empty(&s->proxied->held))
        session_close(s, REASON_PROBE);
    else
        refuse(s, "the connection ended within the PROXY header");
}

static void go_on(struct session *s, const struct proxy_header *h)
{
    const bool tls = s->at->endpoint.scheme == NET_TLS;
    believe(s, h);
    buf_fini(&s->proxied->held);
    if (!admit(s))
        return;
    if (!tls)
        loop_io_set(&s->io[RELAY_DOWN], LOOP_HUP);
    session_enter(s, tls ? SESSION_DOWN_HANDSHAKE : SESSION_DIAL);
}

void proxy_header_event(struct session *s, enum relay_side side, unsigned events)
{
    (void)side;
    (void)events;
    struct transport *t = s->transport[RELAY_DOWN];
    struct buf *held = &s->proxied->held;
    uint8_t bytes[PROXY_HEADER_MAX];
    const size_t before = buf_length(held); /* a whole header is no longer than that */
    if (before > 0)
        memcpy(bytes, buf_peek(held), before);
    const ssize_t got = recv(t->fd, bytes + before, sizeof bytes - before, MSG_PEEK | MSG_DONTWAIT);
    if (got <= 0) {
        nothing_came(s, got);
        return;
    }
    struct proxy_header h;
    const enum proxy_status status = proxy_header_parse(bytes, before + (size_t)got, &h);
    if (status == PROXY_WRONG)
        refuse(s, h.problem);
    else if (is_other_version(s, h.version))
        refuse(s, h.version == 1 ? "a PROXY header of version 1" : "a PROXY header of version 2");
    else if (!take(t, bytes + before, status == PROXY_WHOLE ? h.length - before : (size_t)got))
        refuse(s, "the connection broke within the PROXY header");
    else if (status == PROXY_WHOLE)
        go_on(s, &h);
    else if (!buf_append(held, bytes + before, (size_t)got))
        session_fail(s, REASON_NO_MEMORY, NULL, "no memory for a PROXY header");
}
