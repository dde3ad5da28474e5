/* The life of a session: the table of its states, and the one way out. */
#include "session.h"
#include "failures.h"

#include <esclusa/clock.h>
#include <esclusa/net.h>
#include <esclusa/str.h>

#include <stdlib.h>
#include <string.h>

struct state_row {
    enum phase phase;
    void (*enter)(struct session *s);
    void (*event)(struct session *s, enum relay_side side, unsigned events);
    void (*deadline)(struct session *s);
};

static void accepted_enter(struct session *s);
static void down_handshake_enter(struct session *s);
static void down_handshake_event(struct session *s, enum relay_side side, unsigned events);
static void down_handshake_deadline(struct session *s);

static const struct state_row states[SESSION_STATES] = {
    [SESSION_ACCEPTED] = {PHASE_ACCEPTED, accepted_enter, NULL, NULL},
    [SESSION_PROXY_HEADER] = {PHASE_PROXY_HEADER, proxy_header_enter, proxy_header_event,
                              proxy_header_deadline},
    [SESSION_DOWN_HANDSHAKE] = {PHASE_CONSUMER_HANDSHAKE, down_handshake_enter,
                                down_handshake_event, down_handshake_deadline},
    [SESSION_DIAL] = {PHASE_CHOOSE, connect_begin, connect_event, NULL}, /* the dial says more */
    [SESSION_RELAY] = {PHASE_RELAY, relay_begin, relay_on_event, relay_deadline},
    [SESSION_LINGER] = {PHASE_LINGER, linger_begin, linger_event, linger_tick},
    [SESSION_DEAD] = {PHASE_DEAD, NULL, NULL, NULL},
};

enum phase session_phase(const struct session *s)
{
    return s->dial != NULL ? dial_phase_of(s->dial) : states[s->state].phase;
}

/* ---- dispatch ---- */

/* Changes with all that an event gets done. */
static uint64_t got_done(const struct session *s)
{
    uint64_t sum = (uint64_t)s->state + relay_bytes(&s->relay);
    for (int i = 0; i < RELAY_SIDES; i++) {
        const struct transport *t = s->transport[i];
        sum += t == NULL ? 0 : t->came + t->went;
    }
    return sum;
}

static void spins(struct session *s)
{
    if (s->state == SESSION_LINGER)
        linger_spins(s);
    else
        session_fail(s, REASON_SPIN_GUARD, SPIN_REMEDY, "woken %d times without getting anywhere",
                     SPIN_LIMIT);
}

static void on_io(struct session *s, enum relay_side side, unsigned events)
{
    if (states[s->state].event == NULL)
        return;
    /* An attempt looks after itself. */
    const bool dialing = s->state == SESSION_DIAL && side == RELAY_UP;
    if (!dialing && spin_woken(&s->spin, got_done(s)))
        spins(s);
    else
        states[s->state].event(s, side, events);
}

static void on_down(void *context, unsigned events)
{
    on_io(context, RELAY_DOWN, events);
}

void session_on_up(void *context, unsigned events)
{
    on_io(context, RELAY_UP, events);
}

static void on_timer(void *context)
{
    struct session *s = context;
    if (states[s->state].deadline != NULL)
        states[s->state].deadline(s);
}

bool session_watch(struct session *s, enum relay_side side, int fd, unsigned interest)
{
    return loop_io_add(s->worker->loop, &s->io[side], fd, interest,
                       side == RELAY_DOWN ? on_down : session_on_up, s, NULL);
}

/* Whatever became of the consumer's handshake: the next one may begin. */
static void count_handshake_over(struct session *s)
{
    if (s->handshaking)
        worker_handshake_over(s->worker->group, s->gate);
    s->handshaking = false;
}

void session_enter(struct session *s, enum session_state state)
{
    s->state = state;
    if (state > SESSION_DOWN_HANDSHAKE)
        count_handshake_over(s);
    timer_clear(s->worker->loop, &s->timer);
    if (states[state].enter != NULL)
        states[state].enter(s);
}

void session_deadline(struct session *s, int64_t at_ms)
{
    if (!timer_set(s->worker->loop, &s->timer, at_ms))
        session_fail(s, REASON_NO_MEMORY, NULL, "no memory for a timer");
}

/* ---- beginning ---- */

static void lose(struct worker *w, int fd, const struct net_addr *peer,
                 const struct listening *from, bool admitted, bool handshaking)
{
    struct gate *gate = gate_of(from->service);
    sock_reset(fd);
    if (handshaking)
        worker_handshake_over(w->group, gate);
    if (gate != NULL && admitted)
        gate_dismiss(gate, from->service->config, peer);
    if (gate != NULL)
        gate_leave(gate);
    worker_lost(w);
}

/* NULL: no memory, and everything is given back. */
static struct session *make(struct worker *w, int fd, const struct net_addr *peer,
                            const struct listening *from, bool admitted, bool handshaking)
{
    struct session *s = calloc(1, sizeof *s);
    if (s == NULL) {
        lose(w, fd, peer, from, admitted, handshaking);
        return NULL;
    }
    s->handshaking = handshaking;
    s->admitted = admitted;
    s->worker = w;
    s->snapshot = snapshot_ref(from->set->snapshot);
    s->service = from->service;
    s->gate = gate_of(s->service);
    s->stats = stats_slot(s->service, w->index);
    stats_add(s->stats, STATS_ACCEPTED, 1);
    s->at = from->at;
    s->id = atomic_fetch_add_explicit(&w->group->next_id, 1, memory_order_relaxed);
    s->consumer = *peer;
    s->began_us = clock_us();
    s->began_wall_us = clock_wall_us();
    s->connect_us = s->handshake_us = -1;
    timer_init(&s->timer, on_timer, s);
    worker_adopt(w, s);
    return s;
}

/* False: no memory, and it has failed. */
static bool open_down(struct session *s, int fd, bool tls)
{
    struct worker *w = s->worker;
    sock_user_timeout(fd, s->service->config->listen_tcp_user_timeout);
    struct transport *t =
        tls ? transport_tls_create(fd, s->service->downstream_tls, w->index, NULL, &w->scratch)
            : transport_plain_create(fd, false);
    s->transport[RELAY_DOWN] = t;
    if (t == NULL)
        sock_reset(fd);
    if (t != NULL && session_watch(s, RELAY_DOWN, fd, tls ? LOOP_READ : LOOP_HUP))
        return true;
    session_fail(s, REASON_NO_MEMORY, NULL, "no memory for a new session");
    return false;
}

void session_begin(struct worker *w, int fd, const struct net_addr *peer,
                   const struct listening *from)
{
    const bool tls = from->at->endpoint.scheme == NET_TLS;
    /* Through a proxy it is admitted when it is known who it is. */
    const bool own = from->service->config->accept_proxy == ACCEPT_PROXY_OFF;
    struct session *s = make(w, fd, peer, from, own, tls);
    if (s != NULL && open_down(s, fd, tls))
        session_enter(s, SESSION_ACCEPTED);
}

void session_refuse(struct worker *w, int fd, const struct net_addr *peer,
                    const struct listening *from, const struct denial *why)
{
    struct session *s = make(w, fd, peer, from, false, false);
    if (s != NULL && open_down(s, fd, false))
        session_fail(s, REASON_CONSUMER_DENIED, why->remedy, "%s", why->error);
}

static void accepted_enter(struct session *s)
{
    bool tls = s->at->endpoint.scheme == NET_TLS;
    if (s->service->config->accept_proxy != ACCEPT_PROXY_OFF)
        session_enter(s, SESSION_PROXY_HEADER);
    else
        session_enter(s, tls ? SESSION_DOWN_HANDSHAKE : SESSION_DIAL);
}

/* ---- the consumer's TLS handshake ---- */

static void down_handshake_enter(struct session *s)
{
    session_deadline(s, loop_now(s->worker->loop) + s->service->config->handshake_timeout);
    if (s->state == SESSION_DOWN_HANDSHAKE)
        down_handshake_event(s, RELAY_DOWN, LOOP_READ);
}

static void down_handshake_event(struct session *s, enum relay_side side, unsigned events)
{
    (void)side;
    struct transport *t = s->transport[RELAY_DOWN];
    struct worker *w = s->worker;
    const uint64_t turn = loop_turns(w->loop);
    if (!ration_left(&w->ration, turn)) {
        loop_io_pend(&s->io[RELAY_DOWN], events);
        spin_put_off(&s->spin);
        return;
    }
    const int64_t began_us = clock_us();
    enum tp_status status = t->ops->handshake(t);
    ration_take(&w->ration, turn, clock_us() - began_us);
    switch (status) {
    case TP_OK:
        stats_observe(s->stats, STATS_CONSUMER_HANDSHAKE, clock_us() - s->began_us);
        stats_add(s->stats,
                  tls_session_resumed(t->ssl) ? STATS_CONSUMER_RESUMED : STATS_CONSUMER_FULL, 1);
        loop_io_set(&s->io[RELAY_DOWN], LOOP_HUP);
        session_enter(s, SESSION_DIAL);
        return;
    case TP_AGAIN:
        loop_io_set(&s->io[RELAY_DOWN], handshake_interest(t));
        return;
    case TP_EOF:
    case TP_TRUNCATED:
    case TP_ERROR:
        break;
    }
    const struct tls_failure *f = t->failure;
    enum reason reason = REASON_CONSUMER_HANDSHAKE_FAILED;
    /* One that was told why, or said why, may have left by now all the same. */
    const bool silent =
        f == NULL || f->fault == TLS_FAULT_SYSTEM || f->fault == TLS_FAULT_TRUNCATED;
    if (f != NULL && f->fault == TLS_FAULT_VERIFY)
        reason = f->revocation ? REASON_CONSUMER_REVOKED : REASON_CONSUMER_VERIFY_FAILED;
    else if (silent && consumer_left_silently(s))
        reason = REASON_PROBE;
    session_fail(s, reason, f != NULL ? f->remedy : NULL, "%s",
                 f != NULL ? f->reason : "no memory");
}

static void down_handshake_deadline(struct session *s)
{
    char after[32];
    str_format_duration(after, sizeof after, s->service->config->handshake_timeout);
    session_fail(s, REASON_CONSUMER_HANDSHAKE_TIMEOUT,
                 "the consumer must speak TLS on this listener", "no TLS handshake within %s",
                 after);
}

/* ---- the way out ---- */

static void free_deferred(struct loop_deferred *deferred)
{
    struct session *s = LOOP_OWNER(deferred, struct session, deferred);
    transport_destroy(&s->transport[RELAY_DOWN]);
    transport_destroy(&s->transport[RELAY_UP]);
    buf_fini(&s->early);
    translate_end(&s->translate);
    proxied_free(&s->proxied);
    free(s->failure);
    snapshot_unref(&s->snapshot);
    free(s);
}

/* Both sides are closed, or given up: out of the loop now, freed after the batch. */
void session_bury(struct session *s)
{
    if (s->state == SESSION_DEAD)
        return;
    s->state = SESSION_DEAD;
    timer_clear(s->worker->loop, &s->timer);
    loop_io_remove(&s->io[RELAY_DOWN]);
    loop_io_remove(&s->io[RELAY_UP]);
    if (s->relaying)
        relay_fini(&s->relay);
    if (s->gate != NULL && s->admitted)
        gate_dismiss(s->gate, s->service->config, &s->consumer);
    if (s->gate != NULL)
        gate_leave(s->gate);
    candidate_leave(&s->counted);
    struct worker *w = s->worker;
    s->deferred.callback = free_deferred;
    loop_defer(w->loop, &s->deferred);
    worker_release(w, s);
}

void session_close(struct session *s, enum reason reason)
{
    if (s->state == SESSION_LINGER || s->state == SESSION_DEAD)
        return;
    s->reason = reason;
    stats_ended(s->stats, s->failure != NULL ? s->failure->phase : session_phase(s), reason,
                clock_us() - s->began_us);
    connect_note(s);
    session_note_failure(s);
    session_log(s);
    dial_destroy(&s->dial);
    session_enter(s, SESSION_LINGER);
}

void session_fail(struct session *s, enum reason reason, const char *remedy, const char *format,
                  ...)
{
    if (s->state == SESSION_LINGER || s->state == SESSION_DEAD)
        return;
    if (s->failure == NULL && (s->failure = calloc(1, sizeof *s->failure)) != NULL) {
        va_list args;
        va_start(args, format);
        vsnprintf(s->failure->error, sizeof s->failure->error, format, args);
        va_end(args);
        s->failure->phase = session_phase(s);
        s->failure->handshake[RELAY_DOWN] = s->state == SESSION_DOWN_HANDSHAKE;
        s->failure->handshake[RELAY_UP] = s->dial != NULL && s->dial->phase == DIAL_HANDSHAKE;
        str_copy(s->failure->remedy, sizeof s->failure->remedy, remedy != NULL ? remedy : "");
    }
    session_close(s, reason);
}
