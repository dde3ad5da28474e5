/* One address: connect, [what is said before TLS,] shake hands and verify. */
#include "attempt.h"

#include "hello.h"
#include "stats.h"

#include <esclusa/clock.h>
#include <esclusa/str.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define FULL_RETRY_MS 20

/* After each call that may end the attempt nothing of it is touched. */

static const struct service_config *config_of(const struct attempt *a)
{
    return a->order.service->config;
}

static struct stats_slot *slot_of(const struct attempt *a)
{
    return stats_slot(a->order.service, a->order.worker->index);
}

static int64_t now_of(const struct attempt *a)
{
    return loop_now(a->order.worker->loop);
}

/* ---- the end ---- */

static void fail(struct attempt *a, enum attempt_outcome outcome, enum reason reason,
                 const char *error, const char *remedy)
{
    timer_clear(a->order.worker->loop, &a->timer);
    a->outcome = outcome;
    a->reason = reason;
    a->error = error;
    a->remedy = remedy;
}

static void fail_ours(struct attempt *a, const char *what)
{
    fail(a, ATTEMPT_OURS, REASON_NO_MEMORY, what, NULL);
}

static void unanswered(struct attempt *a, enum reason reason, const char *why)
{
    fail(a, ATTEMPT_UNANSWERED, reason, why, NULL);
}

static void tell(struct attempt *a)
{
    a->order.over(a->order.context, a);
}

static void good(struct attempt *a)
{
    timer_clear(a->order.worker->loop, &a->timer);
    a->outcome = ATTEMPT_GOOD;
    tell(a);
}

/* False: no memory, and it has failed. */
static bool deadline(struct attempt *a, int64_t at_ms)
{
    if (timer_set(a->order.worker->loop, &a->timer, at_ms))
        return true;
    fail_ours(a, "no memory for a timer");
    return false;
}

/* ---- handshake ---- */

static unsigned interest_of(unsigned want)
{
    return LOOP_HUP | (want & TP_WANT_READ ? LOOP_READ : 0) |
           (want & TP_WANT_WRITE ? LOOP_WRITE : 0);
}

unsigned handshake_interest(const struct transport *t)
{
    return interest_of(t->handshake_want);
}

static void handshake_failed(struct attempt *a)
{
    const struct tls_failure *f = a->transport->failure;
    if (f == NULL) {
        fail_ours(a, "no memory in the upstream handshake");
        return;
    }
    bool silent = f->fault == TLS_FAULT_SYSTEM || f->fault == TLS_FAULT_TRUNCATED;
    enum reason reason = REASON_UPSTREAM_HANDSHAKE_FAILED;
    if (f->fault == TLS_FAULT_VERIFY)
        reason = f->revocation ? REASON_UPSTREAM_REVOKED : REASON_UPSTREAM_VERIFY_FAILED;
    else if (f->credential_alert)
        reason = REASON_UPSTREAM_REJECTED_CLIENT_CERT;
    fail(a, silent ? ATTEMPT_UNANSWERED : ATTEMPT_WRONG, reason, f->reason, f->remedy);
}

static void handshake_event(struct attempt *a)
{
    struct transport *t = a->transport;
    switch (t->ops->handshake(t)) {
    case TP_OK:
        a->handshake_us = clock_us() - a->began_us;
        stats_observe(slot_of(a), STATS_UPSTREAM_HANDSHAKE, a->handshake_us);
        stats_add(slot_of(a),
                  tls_session_resumed(t->ssl) ? STATS_UPSTREAM_RESUMED : STATS_UPSTREAM_FULL, 1);
        good(a);
        return;
    case TP_AGAIN:
        loop_io_set(a->io, handshake_interest(t));
        return;
    case TP_EOF:
    case TP_TRUNCATED:
    case TP_ERROR:
        break;
    }
    handshake_failed(a);
    tell(a);
}

static void handshake_begin(struct attempt *a)
{
    a->stage = ATTEMPT_HANDSHAKE;
    a->began_us = clock_us();
    a->order.connected(a->order.context, a);
    if (deadline(a, now_of(a) + config_of(a)->handshake_timeout))
        handshake_event(a);
    else
        tell(a);
}

static void handshake_deadline(struct attempt *a)
{
    char after[32];
    str_format_duration(after, sizeof after, config_of(a)->handshake_timeout);
    snprintf(a->text, sizeof a->text, "no TLS handshake within %s", after);
    unanswered(a, REASON_UPSTREAM_HANDSHAKE_TIMEOUT, a->text);
}

/* ---- over the connection ---- */

/* The transport that the consumer's bytes will take, over fd: it is the transport's now. */
static void secure(struct attempt *a, bool reset)
{
    const struct upstream *up = a->order.upstream;
    struct worker *w = a->order.worker;
    bool tls = up->endpoint.scheme == NET_TLS;
    a->transport = tls ? transport_tls_create(a->fd, a->order.service->upstream_tls, w->index,
                                              &up->peer, &w->scratch)
                       : transport_plain_create(a->fd, reset);
    if (a->transport == NULL) {
        fail_ours(a, "no memory for the upstream connection");
        tell(a);
        return;
    }
    a->fd = -1;
    if (tls)
        handshake_begin(a);
    else
        good(a);
}

/* The same over what the prelude has left. */
static void secure_over(struct attempt *a)
{
    const struct upstream *up = a->order.upstream;
    struct worker *w = a->order.worker;
    struct transport *under = a->prelude->transport;
    if (up->endpoint.scheme != NET_TLS) {
        a->prelude->transport = NULL;
        a->transport = under;
        good(a);
    } else if (under->ssl == NULL) {
        a->fd = transport_release_fd(under);
        transport_destroy(&a->prelude->transport);
        secure(a, false);
    } else {
        a->transport = transport_tls_over(under, a->order.service->upstream_tls, w->index,
                                          &up->peer, &w->scratch);
        if (a->transport != NULL) {
            a->prelude->transport = NULL;
            handshake_begin(a);
            return;
        }
        fail_ours(a, "no memory for the upstream connection");
        tell(a);
    }
}

/* ---- what is said before TLS ---- */

static void prelude_failed(struct attempt *a)
{
    const struct prelude *p = a->prelude;
    enum attempt_outcome outcome = p->silent ? ATTEMPT_UNANSWERED : ATTEMPT_WRONG;
    fail(a, p->reason == REASON_NO_MEMORY ? ATTEMPT_OURS : outcome, p->reason, p->error, p->remedy);
    tell(a);
}

static void note_phase(struct attempt *a)
{
    enum phase now = prelude_phase(a->prelude);
    if (a->prelude_phase == now)
        return;
    a->prelude_phase = now;
    a->order.connected(a->order.context, a);
}

static void prelude_go_on(struct attempt *a, enum prelude_status status)
{
    struct prelude *p = a->prelude;
    if (status != PRELUDE_DONE)
        note_phase(a);
    switch (status) {
    case PRELUDE_AGAIN:
    case PRELUDE_CONSUMER:
        loop_io_set(a->io, interest_of(prelude_want(p)));
        if (status == PRELUDE_CONSUMER && !a->asked && a->order.ask != NULL) {
            a->asked = true;
            a->early = p->early;
            buf_init(&p->early);
            a->order.ask(a->order.context, a);
        }
        return;
    case PRELUDE_FAILED:
        prelude_failed(a);
        return;
    case PRELUDE_DONE:
        break;
    }
    timer_clear(a->order.worker->loop, &a->timer);
    if (a->order.connect_only) {
        good(a);
        return;
    }
    a->early = p->early;
    a->held = p->held;
    buf_init(&p->early);
    buf_init(&p->held);
    secure_over(a);
}

static void prelude_begin(struct attempt *a)
{
    a->stage = ATTEMPT_PRELUDE;
    a->began_us = clock_us();
    a->prelude = prelude_create(a->order.worker, a->order.service, a->order.upstream, a->fd);
    a->fd = -1;
    if (a->prelude != NULL)
        a->prelude->hello = a->order.hello;
    if (a->prelude == NULL)
        fail_ours(a, "no memory for what comes before TLS");
    else if (deadline(a, now_of(a) + config_of(a)->handshake_timeout)) {
        prelude_go_on(a, prelude_run(a->prelude));
        return;
    }
    tell(a);
}

static void prelude_deadline(struct attempt *a)
{
    char after[32];
    str_format_duration(after, sizeof after, config_of(a)->handshake_timeout);
    prelude_too_late(a->prelude, after);
    prelude_failed(a);
}

void attempt_consumer(struct attempt *a, const void *bytes, size_t length)
{
    if (attempt_wants_consumer(a))
        prelude_go_on(a, prelude_consumer(a->prelude, bytes, length));
}

bool attempt_wants_consumer(const struct attempt *a)
{
    return a->asked && a->outcome == ATTEMPT_RUNS && a->stage == ATTEMPT_PRELUDE &&
           prelude_wants_consumer(a->prelude);
}

/* ---- connect ---- */

/* reset: the upstream has reset the connection meanwhile, but what it sent can be read. */
static void connected(struct attempt *a, bool reset)
{
    a->connect_us = clock_us() - a->began_us;
    stats_observe(slot_of(a), STATS_CONNECT, a->connect_us);
    sock_tune(a->fd);
    sock_user_timeout(a->fd, config_of(a)->tcp_user_timeout);
    /* Beyond a proxy it is the prelude that says it. */
    const bool direct = a->order.service->proxy == NULL;
    const int why = direct ? hello_send(a->fd, config_of(a), a->order.hello) : 0;
    if (why != 0 && !reset) {
        unanswered(a, REASON_CONNECT_FAILED, strerror(why));
        tell(a);
    } else if (direct && a->order.connect_only) {
        good(a);
    } else if (prelude_needed(a->order.service)) {
        prelude_begin(a);
    } else {
        secure(a, reset);
    }
}

/* A plain upstream that took the connection, sent something and reset it (EPIPE: ended, then reset)
 * before we looked: the consumer must get what it sent. A refusal is ECONNREFUSED. */
static bool said_something(const struct attempt *a, int why)
{
    char byte;
    return (why == ECONNRESET || why == EPIPE) && a->order.upstream->endpoint.scheme == NET_TCP &&
           a->order.service->proxy == NULL && recv(a->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

static void connect_event(struct attempt *a, unsigned events)
{
    int why = sock_connect_result(a->fd, &a->order.address);
    if (said_something(a, why)) {
        connected(a, why == ECONNRESET);
        return;
    }
    if (why == 0 && (events & LOOP_WRITE)) {
        connected(a, false);
        return;
    }
    /* hung up without an error: it was accepted and cut at once */
    unanswered(a, REASON_CONNECT_FAILED, strerror(why == 0 ? ECONNRESET : why));
    tell(a);
}

static void on_own_io(void *context, unsigned events)
{
    attempt_event(context, events);
}

/* False: it has failed. */
static bool watch(struct attempt *a)
{
    bool own = a->io == &a->own_io;
    if (!loop_io_add(a->order.worker->loop, a->io, a->fd, LOOP_WRITE,
                     own ? on_own_io : a->order.on_io, own ? a : a->order.io_context, NULL)) {
        sock_close(a->fd);
        a->fd = -1;
        fail_ours(a, "no memory for the upstream connection");
        return false;
    }
    return deadline(a, a->order.connect_until_ms);
}

/* Asked of the very address that is connected, so that no second look-up comes in between. */
static bool is_forbidden(struct attempt *a)
{
    const struct service *service = a->order.service;
    const struct service_config *c = service->config;
    if (!c->forbid_private_upstreams ||
        net_cidr_list_has(service->allow_upstreams, c->allow_upstreams.count, &a->order.address))
        return false;
    const char *what = net_addr_not_public(&a->order.address);
    if (what == NULL)
        return false;
    snprintf(a->text, sizeof a->text, "the address is %s: forbidden", what);
    a->blameless = true;
    unanswered(a, REASON_UPSTREAM_FORBIDDEN, a->text);
    return true;
}

/* What this process or machine has run out of, whatever the address. */
static bool is_ours(int why)
{
    return why == EMFILE || why == ENFILE || why == ENOBUFS || why == ENOMEM;
}

bool attempt_start(struct attempt *a)
{
    int why = 0;
    if (is_forbidden(a))
        return false;
    a->began_us = clock_us();
    struct sock_refusal refused;
    if (sock_connect_as(&a->order.address, &a->order.service->connect_sock, &a->fd, &why, &refused))
        return watch(a);
    a->fd = -1;
    if (why == EAGAIN && now_of(a) + FULL_RETRY_MS < a->order.connect_until_ms)
        /* A unix listener's queue is full; connect(2) on it does not wait as TCP does. */
        return deadline(a, now_of(a) + FULL_RETRY_MS);
    snprintf(a->text, sizeof a->text, "%s%s%s", refused.name, refused.name[0] != '\0' ? ": " : "",
             strerror(why));
    if (is_ours(why)) {
        fail_ours(a, a->text);
        return false;
    }
    /* A setting that cannot be had, or no port that is free. */
    a->blameless = refused.name[0] != '\0' || why == EADDRNOTAVAIL || why == EADDRINUSE;
    unanswered(a, REASON_CONNECT_FAILED, a->text);
    return false;
}

static void connect_deadline(struct attempt *a)
{
    if (a->fd < 0) { /* the same one again */
        if (!attempt_start(a))
            tell(a);
        return;
    }
    unanswered(a, REASON_CONNECT_TIMEOUT, "no answer in time");
    tell(a);
}

/* ---- dispatch ---- */

/* Changes with all that it gets done. */
static uint64_t moved(const struct attempt *a)
{
    const struct transport *t = a->transport;
    if (t == NULL && a->prelude != NULL)
        t = a->prelude->transport;
    return t == NULL ? 0 : t->came + t->went;
}

void attempt_event(struct attempt *a, unsigned events)
{
    if (a->outcome != ATTEMPT_RUNS)
        return;
    if (spin_woken(&a->spin, moved(a))) {
        fail(a, ATTEMPT_OURS, REASON_SPIN_GUARD, "woken again and again without getting anywhere",
             SPIN_REMEDY);
        tell(a);
    } else if (a->stage == ATTEMPT_HANDSHAKE)
        handshake_event(a);
    else if (a->stage == ATTEMPT_PRELUDE)
        prelude_go_on(a, prelude_run(a->prelude));
    else if (a->fd >= 0)
        connect_event(a, events);
}

static void on_timer(void *context)
{
    struct attempt *a = context;
    if (a->stage == ATTEMPT_CONNECT) {
        connect_deadline(a);
        return;
    }
    if (a->stage == ATTEMPT_PRELUDE) {
        prelude_deadline(a);
        return;
    }
    handshake_deadline(a);
    tell(a);
}

/* ---- life ---- */

struct attempt *attempt_create(const struct attempt_order *order)
{
    struct attempt *a = calloc(1, sizeof *a);
    if (a == NULL)
        return NULL;
    a->order = *order;
    a->io = order->io != NULL ? order->io : &a->own_io;
    a->fd = -1;
    a->connect_us = a->handshake_us = -1;
    timer_init(&a->timer, on_timer, a);
    return a;
}

bool attempt_settle(struct attempt *a, struct loop_io *io,
                    void (*on_io)(void *context, unsigned events), void *context)
{
    if (a->io == io)
        return true;
    unsigned interest = a->io->interest;
    loop_io_remove(a->io);
    a->io = io;
    return loop_io_add(a->order.worker->loop, io, a->transport->fd, interest, on_io, context, NULL);
}

static void free_gone(struct loop_deferred *gone)
{
    free(LOOP_OWNER(gone, struct attempt, gone));
}

void attempt_destroy(struct attempt **attempt)
{
    struct attempt *a = *attempt;
    *attempt = NULL;
    if (a == NULL)
        return;
    timer_clear(a->order.worker->loop, &a->timer);
    bool under = a->prelude != NULL && a->prelude->transport != NULL;
    if (a->fd >= 0 || a->transport != NULL || under)
        loop_io_remove(a->io);
    if (a->fd >= 0)
        sock_close(a->fd);
    transport_destroy(&a->transport);
    prelude_destroy(&a->prelude);
    buf_fini(&a->early);
    buf_fini(&a->held);
    /* An event for its own io may be in this batch. */
    a->gone.callback = free_gone;
    loop_defer(a->order.worker->loop, &a->gone);
}
