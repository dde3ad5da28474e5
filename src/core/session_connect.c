/* From an accepted consumer to a verified upstream: choose a candidate, resolve it, connect to one
 * of its addresses after another, shake hands.
 *
 * What lets the next address or candidate be tried is decided by the class of failure: one that did
 * not answer (resolve, connect, silence or a cut in the handshake) does; one that answered and was
 * found wrong (certificate, alert, not TLS) never does, for silent failover would mask it. */
#include "session.h"

#include <esclusa/clock.h>
#include <esclusa/str.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define FULL_RETRY_MS 20
#define ADDRESS_SHARE_MIN_MS                                                                       \
    2000 /* no address gets less, however many share the connect timeout                           \
          */

static void next_address(struct session *s);

void attempt_free(struct session *s)
{
    if (s->attempt == NULL)
        return;
    if (s->attempt->asking)
        resolve_cancel(s->worker->group->resolver, &s->attempt->query);
    if (s->attempt->fd >= 0) {
        loop_io_remove(&s->io[RELAY_UP]);
        sock_close(s->attempt->fd);
    }
    free(s->attempt);
    s->attempt = NULL;
}

/* ---- the consumer meanwhile ---- */

bool consumer_left_silently(const struct session *s)
{
    char byte;
    int fd = s->transport[RELAY_DOWN] == NULL ? -1 : s->transport[RELAY_DOWN]->fd;
    ssize_t n = fd < 0 ? 0 : recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    return n == 0 || (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK);
}

/* Something of the consumer's waits to be relayed though it has hung up. A tcp:// one has been sent
 * nothing that it could leave unread: its reset means that it gave up. */
static bool has_sent(const struct session *s)
{
    char byte;
    const struct transport *t = s->transport[RELAY_DOWN];
    if (s->at->endpoint.scheme == NET_TCP)
        return false;
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

/* ---- failures that let the next one be tried ---- */

static void remember(struct session *s, enum reason reason, const char *text)
{
    struct attempt *a = s->attempt;
    if (a->reason == REASON_NONE)
        a->reason = reason;
    size_t length = strlen(a->error);
    str_append(a->error, sizeof a->error, &length, "%s%s", length > 0 ? "; " : "", text);
}

static const char *remedy_of(enum reason reason)
{
    switch ((int)reason) {
    case REASON_RESOLVE_FAILED:
        return "check the name in --connect and this machine's resolver";
    case REASON_CONNECT_FAILED:
        return "check that the upstream listens there, and that routing and firewalls let it "
               "through";
    case REASON_CONNECT_TIMEOUT:
        return "check routing and firewalls, or raise --connect-timeout";
    case REASON_UPSTREAM_HANDSHAKE_TIMEOUT:
        return "the upstream took the connection but said too little: check that this port speaks "
               "TLS, or raise --handshake-timeout";
    default:
        return NULL;
    }
}

static void next_candidate(struct session *s)
{
    struct attempt *a = s->attempt;
    a->upstream++;
    if (a->upstream < s->service->upstream_count) {
        session_enter(s, SESSION_CHOOSE);
        return;
    }
    if (consumer_left_silently(s)) { /* nobody is left to whom it would matter */
        session_close(s, REASON_PROBE);
        return;
    }
    session_fail(s, a->reason, remedy_of(a->reason), "%s", a->error);
}

static void drop_upstream_socket(struct session *s)
{
    loop_io_remove(&s->io[RELAY_UP]);
    if (s->attempt->fd >= 0)
        sock_close(s->attempt->fd);
    s->attempt->fd = -1;
    transport_destroy(&s->transport[RELAY_UP]);
}

/* This address did not answer: remember why, go to the next. */
static void address_failed(struct session *s, enum reason reason, const char *why)
{
    char where[NET_TEXT_MAX], text[NET_TEXT_MAX + 256];
    net_addr_format(&s->upstream_address, where, sizeof where);
    snprintf(text, sizeof text, "%s: %s", where, why);
    remember(s, reason, text);
    drop_upstream_socket(s);
    next_address(s);
}

/* ---- choose and resolve ---- */

static void resolved(struct resolve_query *query)
{
    struct session *s = query->context;
    struct attempt *a = s->attempt;
    a->asking = false;
    if (!query->ok) {
        remember(s, REASON_RESOLVE_FAILED, query->error.text);
        next_candidate(s);
        return;
    }
    memcpy(a->addresses, query->addresses, query->count * sizeof a->addresses[0]);
    a->address_count = query->count;
    next_address(s);
}

void connect_choose(struct session *s)
{
    if (s->attempt == NULL) {
        s->attempt = calloc(1, sizeof *s->attempt);
        if (s->attempt == NULL) {
            session_fail(s, REASON_NO_MEMORY, NULL, "no memory for a connection attempt");
            return;
        }
        s->attempt->fd = -1;
    }
    struct attempt *a = s->attempt;
    s->upstream = &s->service->upstreams[a->upstream];
    const struct net_endpoint *to = &s->upstream->endpoint;
    a->candidate_deadline_ms = loop_now(s->worker->loop) + s->service->config->connect_timeout;
    a->address_next = 0;
    a->address_count = 1;
    if (to->scheme == NET_UNIX) {
        net_addr_from_path(&a->addresses[0], to->path);
        next_address(s);
        return;
    }
    if (net_addr_from_literal(&a->addresses[0], to->host, to->port)) {
        next_address(s);
        return;
    }
    session_enter(s, SESSION_RESOLVE);
    a->query.callback = resolved;
    a->query.context = s;
    a->asking =
        resolve_ask(s->worker->group->resolver, s->worker->loop, &a->query, to->host, to->port);
    if (!a->asking)
        session_fail(s, REASON_NO_MEMORY, NULL, "no memory for a name lookup");
    else
        session_deadline(s, a->candidate_deadline_ms);
}

void connect_resolve_deadline(struct session *s)
{
    char after[32], text[NET_HOST_MAX + 96];
    resolve_cancel(s->worker->group->resolver, &s->attempt->query);
    s->attempt->asking = false;
    str_format_duration(after, sizeof after, s->service->config->connect_timeout);
    snprintf(text, sizeof text, "%s: no answer from the resolver within %s",
             s->upstream->endpoint.host, after);
    remember(s, REASON_RESOLVE_TIMEOUT, text);
    next_candidate(s);
}

/* ---- connect ---- */

/* reset: the upstream has reset the connection meanwhile, but what it sent can be read. */
static void connected(struct session *s, bool reset)
{
    struct attempt *a = s->attempt;
    s->connect_us = clock_us() - s->phase_began_us;
    bool tls = s->upstream->endpoint.scheme == NET_TLS;
    sock_tune(a->fd);
    struct worker *w = s->worker;
    s->transport[RELAY_UP] = tls ? transport_tls_create(a->fd, s->service->upstream_tls, w->index,
                                                        &s->upstream->peer, &w->scratch)
                                 : transport_plain_create(a->fd, reset);
    if (s->transport[RELAY_UP] == NULL) {
        session_fail(s, REASON_NO_MEMORY, NULL, "no memory for the upstream connection");
        return;
    }
    a->fd = -1; /* the transport owns it */
    session_enter(s, tls ? SESSION_UP_HANDSHAKE : SESSION_RELAY);
}

static void next_address(struct session *s)
{
    struct attempt *a = s->attempt;
    int64_t now = loop_now(s->worker->loop);
    if (a->address_next >= a->address_count ||
        (a->address_next > 0 && now >= a->candidate_deadline_ms)) {
        next_candidate(s);
        return;
    }
    size_t left = a->address_count - a->address_next;
    s->upstream_address = a->addresses[a->address_next++];
    s->attempts++;
    session_enter(s, SESSION_CONNECT);

    int why = 0;
    if (!sock_connect(&s->upstream_address, &a->fd, &why)) {
        a->fd = -1;
        if (why == EAGAIN && now + FULL_RETRY_MS < a->candidate_deadline_ms) {
            /* A unix listener's queue is full; connect(2) on it does not wait as TCP does. */
            a->address_next--;
            s->attempts--;
            session_deadline(s, now + FULL_RETRY_MS);
            return;
        }
        address_failed(s, REASON_CONNECT_FAILED, strerror(why));
        return;
    }
    if (!session_watch(s, RELAY_UP, a->fd, LOOP_WRITE)) {
        session_fail(s, REASON_NO_MEMORY, NULL, "no memory for the upstream connection");
        return;
    }
    /* Each address gets its share of what is left of the candidate's time. */
    int64_t share = (a->candidate_deadline_ms - now) / (int64_t)left;
    if (share < ADDRESS_SHARE_MIN_MS)
        share = ADDRESS_SHARE_MIN_MS;
    int64_t until = now + share;
    session_deadline(s, until < a->candidate_deadline_ms ? until : a->candidate_deadline_ms);
}

/* A plain upstream that took the connection, sent something and reset it (EPIPE: ended, then reset)
 * before we looked: the consumer must get what it sent. A refusal is ECONNREFUSED. */
static bool said_something(const struct session *s, int why)
{
    char byte;
    return (why == ECONNRESET || why == EPIPE) && s->upstream->endpoint.scheme == NET_TCP &&
           recv(s->attempt->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

void connect_event(struct session *s, enum relay_side side, unsigned events)
{
    if (side == RELAY_DOWN) {
        (void)consumer_gone(s, side, events);
        return;
    }
    if (s->attempt->fd < 0)
        return;
    int why = sock_connect_result(s->attempt->fd);
    if (said_something(s, why))
        connected(s, why == ECONNRESET);
    else if (why != 0)
        address_failed(s, REASON_CONNECT_FAILED, strerror(why));
    else if (events & LOOP_WRITE)
        connected(s, false);
    else /* hung up without an error: it was accepted and cut at once */
        address_failed(s, REASON_CONNECT_FAILED, strerror(ECONNRESET));
}

void connect_deadline(struct session *s)
{
    if (s->attempt->fd < 0) {
        next_address(s); /* the same one again */
        return;
    }
    address_failed(s, REASON_CONNECT_TIMEOUT, "no answer in time");
}

/* ---- upstream handshake ---- */

void handshake_begin(struct session *s)
{
    session_deadline(s, loop_now(s->worker->loop) + s->service->config->handshake_timeout);
    if (s->state == SESSION_UP_HANDSHAKE)
        handshake_event(s, RELAY_UP, LOOP_WRITE);
}

static void handshake_failed(struct session *s)
{
    const struct tls_failure *f = s->transport[RELAY_UP]->failure;
    if (f == NULL) {
        session_fail(s, REASON_NO_MEMORY, NULL, "no memory in the upstream handshake");
        return;
    }
    bool silent = f->fault == TLS_FAULT_SYSTEM || f->fault == TLS_FAULT_TRUNCATED;
    if (silent && (s->attempt->address_next < s->attempt->address_count ||
                   s->attempt->upstream + 1 < s->service->upstream_count)) {
        address_failed(s, REASON_UPSTREAM_HANDSHAKE_FAILED, f->reason);
        return;
    }
    enum reason reason = REASON_UPSTREAM_HANDSHAKE_FAILED;
    if (f->fault == TLS_FAULT_VERIFY)
        reason = f->revocation ? REASON_UPSTREAM_REVOKED : REASON_UPSTREAM_VERIFY_FAILED;
    else if (f->credential_alert)
        reason = REASON_UPSTREAM_REJECTED_CLIENT_CERT;
    session_fail(s, reason, f->remedy, "%s", f->reason);
}

void handshake_event(struct session *s, enum relay_side side, unsigned events)
{
    if (side == RELAY_DOWN) {
        (void)consumer_gone(s, side, events);
        return;
    }
    struct transport *t = s->transport[RELAY_UP];
    switch (t->ops->handshake(t)) {
    case TP_OK:
        s->handshake_us = clock_us() - s->phase_began_us;
        if (reverify_late(s)) /* a reload may have come meanwhile */
            session_enter(s, SESSION_RELAY);
        return;
    case TP_AGAIN:
        session_watch_handshake(s, RELAY_UP);
        return;
    case TP_EOF:
    case TP_TRUNCATED:
    case TP_ERROR:
        break;
    }
    handshake_failed(s);
}

void handshake_deadline(struct session *s)
{
    char after[32], text[64];
    str_format_duration(after, sizeof after, s->service->config->handshake_timeout);
    snprintf(text, sizeof text, "no TLS handshake within %s", after);
    address_failed(s, REASON_UPSTREAM_HANDSHAKE_TIMEOUT, text);
}
