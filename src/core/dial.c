/* Candidate after candidate, address after address, until one is connected and verified. */
#include "dial.h"
#include "stats.h"

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

static void choose(struct dial *d);
static void next_address(struct dial *d);
static void handshake_begin(struct dial *d);

/* After each call that may end the dial nothing of it is touched: it may be gone. */

static const struct service_config *config_of(const struct dial *d)
{
    return d->order.service->config;
}

static struct stats_slot *slot_of(const struct dial *d)
{
    return stats_slot(d->order.service, d->order.worker->index);
}

static int64_t now_of(const struct dial *d)
{
    return loop_now(d->order.worker->loop);
}

/* ---- the end ---- */

static void end(struct dial *d, enum reason reason, const char *error, const char *remedy)
{
    timer_clear(d->order.worker->loop, &d->timer);
    d->is_over = true;
    d->reason = reason;
    if (d->upstream != NULL && !d->exhausted) /* else it has been counted */
        stats_upstream_tried(d->upstream->stats, reason);
    stats_service_tried(d->order.service->stats, reason);
    d->remedy = remedy;
    (void)str_copy(d->error, sizeof d->error, error);
    d->order.over(d->order.context);
}

static void no_memory(struct dial *d, const char *what)
{
    end(d, REASON_NO_MEMORY, what, NULL);
}

/* ---- phases ---- */

static void enter(struct dial *d, enum dial_phase phase)
{
    d->phase = phase;
    d->phase_began_us = clock_us();
    timer_clear(d->order.worker->loop, &d->timer);
}

/* False: no memory, and the dial is over. */
static bool deadline(struct dial *d, int64_t at_ms)
{
    if (timer_set(d->order.worker->loop, &d->timer, at_ms))
        return true;
    no_memory(d, "no memory for a timer");
    return false;
}

enum phase dial_phase_of(const struct dial *d)
{
    static const enum phase phases[] = {[DIAL_CHOOSE] = PHASE_CHOOSE,
                                        [DIAL_RESOLVE] = PHASE_RESOLVE,
                                        [DIAL_CONNECT] = PHASE_CONNECT,
                                        [DIAL_HANDSHAKE] = PHASE_UPSTREAM_HANDSHAKE};
    return phases[d->phase];
}

/* ---- failures that let the next one be tried ---- */

static void remember(struct dial *d, enum reason reason, const char *text)
{
    d->candidate_reason = reason;
    if (d->first_reason == REASON_NONE)
        d->first_reason = reason;
    size_t length = strlen(d->first_error);
    str_append(d->first_error, sizeof d->first_error, &length, "%s%s", length > 0 ? "; " : "",
               text);
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

static void next_candidate(struct dial *d)
{
    stats_upstream_tried(d->upstream->stats, d->candidate_reason);
    d->candidate++;
    if (d->candidate < d->order.candidates) {
        choose(d);
        return;
    }
    d->exhausted = true;
    end(d, d->first_reason, d->first_error, remedy_of(d->first_reason));
}

static void drop_socket(struct dial *d)
{
    if (d->fd >= 0 || d->transport != NULL)
        loop_io_remove(d->order.io);
    if (d->fd >= 0)
        sock_close(d->fd);
    d->fd = -1;
    transport_destroy(&d->transport);
}

/* This address did not answer: remember why, go to the next. */
static void address_failed(struct dial *d, enum reason reason, const char *why)
{
    char where[NET_TEXT_MAX], text[NET_TEXT_MAX + 256];
    net_addr_format(&d->address, where, sizeof where);
    snprintf(text, sizeof text, "%s: %s", where, why);
    remember(d, reason, text);
    drop_socket(d);
    next_address(d);
}

/* ---- choose and resolve ---- */

static void resolved(struct resolve_query *query)
{
    struct dial *d = query->context;
    d->asking = false;
    if (!query->ok) {
        remember(d, REASON_RESOLVE_FAILED, query->error.text);
        next_candidate(d);
        return;
    }
    memcpy(d->addresses, query->addresses, query->count * sizeof d->addresses[0]);
    d->address_count = query->count;
    next_address(d);
}

static void choose(struct dial *d)
{
    struct worker *w = d->order.worker;
    enter(d, DIAL_CHOOSE);
    d->upstream = &d->order.service->upstreams[d->candidate];
    const struct net_endpoint *to = &d->upstream->endpoint;
    d->candidate_deadline_ms = now_of(d) + config_of(d)->connect_timeout;
    d->address_next = 0;
    d->address_count = 1;
    if (to->scheme == NET_UNIX) {
        net_addr_from_path(&d->addresses[0], to->path);
        next_address(d);
        return;
    }
    if (net_addr_from_literal(&d->addresses[0], to->host, to->port)) {
        next_address(d);
        return;
    }
    enter(d, DIAL_RESOLVE);
    d->query.callback = resolved;
    d->query.context = d;
    d->asking = resolve_ask(w->group->resolver, w->loop, &d->query, to->host, to->port);
    if (!d->asking)
        no_memory(d, "no memory for a name lookup");
    else
        (void)deadline(d, d->candidate_deadline_ms);
}

static void stop_asking(struct dial *d)
{
    if (d->asking)
        resolve_cancel(d->order.worker->group->resolver, &d->query);
    d->asking = false;
}

static void resolve_deadline(struct dial *d)
{
    char after[32], text[NET_HOST_MAX + 96];
    stop_asking(d);
    str_format_duration(after, sizeof after, config_of(d)->connect_timeout);
    snprintf(text, sizeof text, "%s: no answer from the resolver within %s",
             d->upstream->endpoint.host, after);
    remember(d, REASON_RESOLVE_TIMEOUT, text);
    next_candidate(d);
}

/* ---- connect ---- */

/* reset: the upstream has reset the connection meanwhile, but what it sent can be read. */
static void connected(struct dial *d, bool reset)
{
    d->connect_us = clock_us() - d->phase_began_us;
    stats_observe(slot_of(d), STATS_CONNECT, d->connect_us);
    bool tls = d->upstream->endpoint.scheme == NET_TLS;
    sock_tune(d->fd);
    sock_user_timeout(d->fd, config_of(d)->tcp_user_timeout);
    struct worker *w = d->order.worker;
    d->transport = tls ? transport_tls_create(d->fd, d->order.service->upstream_tls, w->index,
                                              &d->upstream->peer, &w->scratch)
                       : transport_plain_create(d->fd, reset);
    if (d->transport == NULL) {
        no_memory(d, "no memory for the upstream connection");
        return;
    }
    d->fd = -1; /* the transport owns it */
    if (tls)
        handshake_begin(d);
    else
        end(d, REASON_NONE, "", NULL);
}

static void next_address(struct dial *d)
{
    int64_t now = now_of(d);
    if (d->address_next >= d->address_count ||
        (d->address_next > 0 && now >= d->candidate_deadline_ms)) {
        next_candidate(d);
        return;
    }
    size_t left = d->address_count - d->address_next;
    d->address = d->addresses[d->address_next++];
    d->attempts++;
    enter(d, DIAL_CONNECT);

    int why = 0;
    if (!sock_connect(&d->address, &d->fd, &why)) {
        d->fd = -1;
        if (why == EAGAIN && now + FULL_RETRY_MS < d->candidate_deadline_ms) {
            /* A unix listener's queue is full; connect(2) on it does not wait as TCP does. */
            d->address_next--;
            d->attempts--;
            (void)deadline(d, now + FULL_RETRY_MS);
            return;
        }
        address_failed(d, REASON_CONNECT_FAILED, strerror(why));
        return;
    }
    if (!loop_io_add(d->order.worker->loop, d->order.io, d->fd, LOOP_WRITE, d->order.on_io,
                     d->order.context, NULL)) {
        no_memory(d, "no memory for the upstream connection");
        return;
    }
    /* Each address gets its share of what is left of the candidate's time. */
    int64_t share = (d->candidate_deadline_ms - now) / (int64_t)left;
    if (share < ADDRESS_SHARE_MIN_MS)
        share = ADDRESS_SHARE_MIN_MS;
    int64_t until = now + share;
    (void)deadline(d, until < d->candidate_deadline_ms ? until : d->candidate_deadline_ms);
}

/* A plain upstream that took the connection, sent something and reset it (EPIPE: ended, then reset)
 * before we looked: the consumer must get what it sent. A refusal is ECONNREFUSED. */
static bool said_something(const struct dial *d, int why)
{
    char byte;
    return (why == ECONNRESET || why == EPIPE) && d->upstream->endpoint.scheme == NET_TCP &&
           recv(d->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

static void connect_event(struct dial *d, unsigned events)
{
    if (d->fd < 0)
        return;
    int why = sock_connect_result(d->fd, &d->address);
    if (said_something(d, why))
        connected(d, why == ECONNRESET);
    else if (why != 0)
        address_failed(d, REASON_CONNECT_FAILED, strerror(why));
    else if (events & LOOP_WRITE)
        connected(d, false);
    else /* hung up without an error: it was accepted and cut at once */
        address_failed(d, REASON_CONNECT_FAILED, strerror(ECONNRESET));
}

static void connect_deadline(struct dial *d)
{
    if (d->fd < 0)
        next_address(d); /* the same one again */
    else
        address_failed(d, REASON_CONNECT_TIMEOUT, "no answer in time");
}

/* ---- handshake ---- */

unsigned handshake_interest(const struct transport *t)
{
    return LOOP_HUP | (t->handshake_want & TP_WANT_READ ? LOOP_READ : 0) |
           (t->handshake_want & TP_WANT_WRITE ? LOOP_WRITE : 0);
}

static void handshake_failed(struct dial *d)
{
    const struct tls_failure *f = d->transport->failure;
    if (f == NULL) {
        no_memory(d, "no memory in the upstream handshake");
        return;
    }
    bool silent = f->fault == TLS_FAULT_SYSTEM || f->fault == TLS_FAULT_TRUNCATED;
    if (silent && (d->address_next < d->address_count || d->candidate + 1 < d->order.candidates)) {
        address_failed(d, REASON_UPSTREAM_HANDSHAKE_FAILED, f->reason);
        return;
    }
    enum reason reason = REASON_UPSTREAM_HANDSHAKE_FAILED;
    if (f->fault == TLS_FAULT_VERIFY)
        reason = f->revocation ? REASON_UPSTREAM_REVOKED : REASON_UPSTREAM_VERIFY_FAILED;
    else if (f->credential_alert)
        reason = REASON_UPSTREAM_REJECTED_CLIENT_CERT;
    end(d, reason, f->reason, f->remedy);
}

static void handshake_event(struct dial *d)
{
    struct transport *t = d->transport;
    switch (t->ops->handshake(t)) {
    case TP_OK:
        d->handshake_us = clock_us() - d->phase_began_us;
        stats_observe(slot_of(d), STATS_UPSTREAM_HANDSHAKE, d->handshake_us);
        stats_add(slot_of(d),
                  tls_session_resumed(t->ssl) ? STATS_UPSTREAM_RESUMED : STATS_UPSTREAM_FULL, 1);
        end(d, REASON_NONE, "", NULL);
        return;
    case TP_AGAIN:
        loop_io_set(d->order.io, handshake_interest(t));
        return;
    case TP_EOF:
    case TP_TRUNCATED:
    case TP_ERROR:
        break;
    }
    handshake_failed(d);
}

static void handshake_begin(struct dial *d)
{
    enter(d, DIAL_HANDSHAKE);
    if (deadline(d, now_of(d) + config_of(d)->handshake_timeout))
        handshake_event(d);
}

static void handshake_deadline(struct dial *d)
{
    char after[32], text[64];
    str_format_duration(after, sizeof after, config_of(d)->handshake_timeout);
    snprintf(text, sizeof text, "no TLS handshake within %s", after);
    address_failed(d, REASON_UPSTREAM_HANDSHAKE_TIMEOUT, text);
}

/* ---- dispatch ---- */

void dial_event(struct dial *d, unsigned events)
{
    if (d->is_over)
        return;
    if (d->phase == DIAL_CONNECT)
        connect_event(d, events);
    else if (d->phase == DIAL_HANDSHAKE)
        handshake_event(d);
}

static void on_timer(void *context)
{
    struct dial *d = context;
    switch (d->phase) {
    case DIAL_CHOOSE:
        break;
    case DIAL_RESOLVE:
        resolve_deadline(d);
        break;
    case DIAL_CONNECT:
        connect_deadline(d);
        break;
    case DIAL_HANDSHAKE:
        handshake_deadline(d);
        break;
    }
}

/* ---- life ---- */

struct dial *dial_create(const struct dial_order *order)
{
    struct dial *d = calloc(1, sizeof *d);
    if (d == NULL)
        return NULL;
    d->order = *order;
    d->fd = -1;
    d->connect_us = d->handshake_us = -1;
    timer_init(&d->timer, on_timer, d);
    return d;
}

void dial_start(struct dial *d)
{
    choose(d);
}

void dial_destroy(struct dial **dial)
{
    struct dial *d = *dial;
    *dial = NULL;
    if (d == NULL)
        return;
    timer_clear(d->order.worker->loop, &d->timer);
    stop_asking(d);
    drop_socket(d);
    free(d);
}
