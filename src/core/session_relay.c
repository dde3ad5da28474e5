/* A session that relays: events to the pumps, the pumps' wishes to the loop, idle timers, and what
 * the relay's end means in words. */
#include "session.h"

#include <esclusa/clock.h>
#include <esclusa/net.h>
#include <esclusa/str.h>

#include <errno.h>
#include <string.h>

#define TURN_BUDGET       ((size_t)256 * 1024) /* bytes a direction before others get their turn */
#define AT_REST_MS        1000                 /* without a byte, when a drain ends */
#define LIFETIME_GRACE_MS 30000 /* how long a session at its end may take until it rests */
#define LIFETIME_LOOK_MS  500
#define BLOCKED_LOOKS     16 /* in an idle timeout, while a reader holds a direction up */
#define SETTLED_MS        30000 /* a session that lives that long gets keepalive upstream: most do not */

static bool is_tls12(const struct session *s)
{
    struct tls_info info;
    return transport_tls_info(s->transport[RELAY_UP], &info) &&
           strcmp(info.version, "TLSv1.2") == 0;
}

static int64_t quiet_limit(const struct session *s)
{
    /* A side that hung up while what it sent waits for the other will never be heard of again. */
    bool hung_up = s->relay.hung_up[RELAY_DOWN] || s->relay.hung_up[RELAY_UP];
    return s->half_closed || hung_up ? s->service->config->half_closed_timeout
                                     : s->service->config->idle_timeout;
}

/* When a session that begins to relay now gets keepalive towards its upstream. What is to be quick
 * is not kept waiting. */
static int64_t settles(const struct session *s)
{
    const int64_t idle = s->service->connect_sock.keepalive_idle;
    return s->active_ms + (idle > 0 && idle / 2 < SETTLED_MS ? idle / 2 : SETTLED_MS);
}

/* The session's timer: at_ms, or what is due before that in any case. */
static void due_at(struct session *s, int64_t at_ms)
{
    session_deadline(s, least(at_ms, least(s->ends_ms, s->settles_ms)));
}

/* Not all that began together end together. */
static int64_t lifetime_end(const struct session *s, int64_t now)
{
    const int64_t most = s->service->config->max_lifetime;
    return most == 0 ? CLOCK_NEVER
                     : now + most - (int64_t)(s->id * 7919 % (uint64_t)(most / 10 + 1));
}

static bool has_alert(const struct tls_failure *f)
{
    return f != NULL && f->fault != TLS_FAULT_SYSTEM && f->fault != TLS_FAULT_TRUNCATED;
}

/* A server that answers our close_notify by closing, a consumer that has its answer and resets: the
 * stream was cut, so it is treated as one, but it is no reason to wake anybody. */
static bool cut_after_end(const struct session *s)
{
    const struct relay *r = &s->relay;
    enum relay_side first = r->cause_side == RELAY_UP ? RELAY_DOWN : RELAY_UP;
    return s->half_closed && r->from[first].state == PUMP_DONE &&
           r->from[r->cause_side].bytes == s->half_close_bytes[r->cause_side] &&
           !has_alert(s->transport[r->cause_side]->failure);
}

/* tcp(7): the kernel has given it up; what the network said of it last (ip(7)) is told instead. */
static bool is_lost(const struct transport *t)
{
    const int why = t->failure != NULL ? t->failure->sys_errno : t->sys_errno;
    return why == ETIMEDOUT || why == EHOSTUNREACH || why == ENETUNREACH || why == EHOSTDOWN;
}

/* The relay's cause and side, as the log says it. */
static enum reason reason_of(const struct session *s)
{
    const struct relay *r = &s->relay;
    bool nothing = relay_bytes(r) == 0;
    if (r->cause == RELAY_CAUSE_CLEAN)
        return nothing && s->consumer_ended_first ? REASON_PROBE : REASON_DONE;
    bool up = r->cause_side == RELAY_UP;
    if (cut_after_end(s))
        return REASON_CUT_AFTER_END;
    if (!up && nothing && !has_alert(s->transport[RELAY_DOWN]->failure))
        return REASON_PROBE;
    if (r->cause == RELAY_CAUSE_TRUNCATED)
        return up ? REASON_UPSTREAM_TRUNCATED : REASON_CONSUMER_TRUNCATED;
    const struct tls_failure *f = s->transport[r->cause_side]->failure;
    if (up && f != NULL && f->credential_alert && r->from[RELAY_UP].bytes == 0)
        return REASON_UPSTREAM_REJECTED_CLIENT_CERT; /* TLS 1.3 tells only after the handshake */
    if (has_alert(f))
        return up ? REASON_UPSTREAM_TLS_ERROR : REASON_CONSUMER_TLS_ERROR;
    if (is_lost(s->transport[r->cause_side]))
        return up ? REASON_UPSTREAM_LOST : REASON_CONSUMER_LOST;
    return up ? REASON_UPSTREAM_RESET : REASON_CONSUMER_RESET;
}

static void relay_over(struct session *s)
{
    enum reason reason = reason_of(s);
    if (s->relay.cause == RELAY_CAUSE_CLEAN) {
        session_close(s, reason);
        return;
    }
    const struct transport *t = s->transport[s->relay.cause_side];
    if (t->failure != NULL)
        session_fail(s, reason, t->failure->remedy, "%s", t->failure->reason);
    else
        session_fail(s, reason, NULL, "%s",
                     t->sys_errno != 0 ? strerror(t->sys_errno) : "connection lost");
}

static void set_interest(struct session *s, enum relay_side side)
{
    unsigned want = relay_want(&s->relay, side);
    unsigned interest = relay_wants_hang_up(&s->relay, side) ? LOOP_HUP : LOOP_NONE;
    if (want & TP_WANT_READ)
        interest |= LOOP_READ;
    if (want & TP_WANT_WRITE)
        interest |= LOOP_WRITE;
    loop_io_set(&s->io[side], interest);
}

/* ---- readers that do not read ---- */

/* A slow reader empties the kernel's send queue long before we can write again: that is progress
 * too. So while a direction waits for its reader it is looked how much the reader has acknowledged,
 * often enough that one who stopped is missed when it is due. */
static bool is_blocked(const struct session *s)
{
    for (int i = 0; i < RELAY_SIDES; i++) {
        const struct pump *p = &s->relay.from[i];
        if (p->state == PUMP_RUNNING && p->wait == PUMP_WAIT_WRITE)
            return true;
    }
    return false;
}

/* True: more than when it was looked last. */
static bool look_at_queues(struct session *s)
{
    bool moved = false;
    for (int i = 0; i < RELAY_SIDES; i++) {
        const struct transport *t = s->transport[i];
        const uint64_t acked = t->went - sock_unsent(t->fd);
        moved = moved || acked != s->acked_seen[i];
        s->acked_seen[i] = acked;
    }
    return moved;
}

/* The session's timer: at_ms, or before that to look at the queues. */
static void look_again(struct session *s, int64_t now, int64_t at_ms)
{
    const int64_t soon = now + quiet_limit(s) / BLOCKED_LOOKS + 1;
    s->watched = is_blocked(s);
    due_at(s, s->watched && soon < at_ms ? soon : at_ms);
}

/* Once until the timer fires: no call a byte. */
static void watch_if_blocked(struct session *s, int64_t now)
{
    if (s->watched || !is_blocked(s))
        return;
    (void)look_at_queues(s);
    look_again(s, now, s->active_ms + quiet_limit(s));
}

static void run(struct session *s)
{
    bool goes_on = relay_run(&s->relay, &s->worker->scratch, TURN_BUDGET);
    int64_t now = loop_now(s->worker->loop);
    for (int i = 0; i < RELAY_SIDES; i++) {
        if (s->relay.from[i].bytes == s->bytes_seen[i])
            continue;
        stats_add(s->stats, i == RELAY_DOWN ? STATS_BYTES_UP : STATS_BYTES_DOWN,
                  s->relay.from[i].bytes - s->bytes_seen[i]);
        s->bytes_seen[i] = s->relay.from[i].bytes;
        s->last_moved = (enum relay_side)i;
        s->moved_ms[i] = s->active_ms = now; /* the timer looks when it fires: no call a byte */
    }
    if (!goes_on) {
        relay_over(s);
        return;
    }
    if (relay_half_closed(&s->relay) != s->half_closed) {
        s->half_closed = !s->half_closed;
        s->consumer_ended_first = s->relay.from[RELAY_DOWN].source_end != TP_OK;
        s->half_close_bytes[RELAY_DOWN] = s->relay.from[RELAY_DOWN].bytes;
        s->half_close_bytes[RELAY_UP] = s->relay.from[RELAY_UP].bytes;
        s->active_ms = now;
        look_again(s, now, now + quiet_limit(s));
    }
    watch_if_blocked(s, now);
    if (s->state != SESSION_RELAY)
        return;
    set_interest(s, RELAY_DOWN);
    set_interest(s, RELAY_UP);
    if (relay_wants_turn(&s->relay))
        loop_io_pend(&s->io[RELAY_DOWN], 0);
}

static bool begin_translation(struct session *s)
{
    return translate_begin(&s->translate, (enum dialogue_protocol)s->service->config->starttls,
                           &s->relay, s->dial == NULL ? NULL : &s->dial->held);
}

void relay_begin(struct session *s)
{
    int64_t half_close = s->service->config->half_close;
    bool fin = s->service->config->missing_close_notify == CUT_FIN;
    struct relay_policy policy = {
        .truncated_is_end = {[RELAY_DOWN] = fin, [RELAY_UP] = fin},
        .hold_end = {[RELAY_DOWN] = half_close == HALF_CLOSE_OFF ||
                                    (half_close == HALF_CLOSE_TLS13 && is_tls12(s))},
    };
    relay_init(&s->relay, s->transport[RELAY_DOWN], s->transport[RELAY_UP], &policy);
    s->relaying = true;
    if (!buf_empty(&s->early))
        relay_preload(&s->relay, RELAY_UP, &s->early);
    bool translated = begin_translation(s);
    dial_destroy(&s->dial);
    if (!translated) {
        session_fail(s, REASON_NO_MEMORY, NULL, "no memory for the session");
        return;
    }
    s->active_ms = loop_now(s->worker->loop);
    s->moved_ms[RELAY_DOWN] = s->moved_ms[RELAY_UP] = s->active_ms;
    s->last_moved = RELAY_UP; /* nothing has been asked yet */
    s->ends_ms = lifetime_end(s, s->active_ms);
    s->settles_ms = settles(s);
    due_at(s, s->active_ms + quiet_limit(s));
    if (s->state == SESSION_RELAY)
        run(s);
}

void relay_on_event(struct session *s, enum relay_side side, unsigned events)
{
    unsigned told = 0;
    if (events & LOOP_READ)
        told |= RELAY_READABLE;
    if (events & LOOP_WRITE)
        told |= RELAY_WRITABLE;
    if (events & LOOP_HUP)
        told |= RELAY_HUNG_UP;
    relay_event(&s->relay, side, told);
    run(s);
    if ((events & LOOP_HUP) && s->state == SESSION_RELAY) /* the shorter limit holds from now on */
        look_again(s, loop_now(s->worker->loop), loop_now(s->worker->loop) + quiet_limit(s));
}

static bool lifetime_over(struct session *s, int64_t now);

void relay_deadline(struct session *s)
{
    int64_t now = loop_now(s->worker->loop);
    if (now >= s->settles_ms) {
        sock_keep_alive(s->transport[RELAY_UP]->fd, &s->service->connect_sock);
        s->settles_ms = CLOCK_NEVER;
    }
    if (s->watched && look_at_queues(s))
        s->active_ms = now;
    if (lifetime_over(s, now))
        return;
    int64_t due = s->active_ms + quiet_limit(s);
    if (now < due) {
        look_again(s, now, due);
        return;
    }
    char after[32];
    str_format_duration(after, sizeof after, quiet_limit(s));
    if (s->half_closed)
        session_fail(s, REASON_HALF_CLOSED_TIMEOUT,
                     "raise --half-closed-timeout if answers take longer than that",
                     "one direction has ended, no byte the other way for %s", after);
    else
        session_fail(s, REASON_IDLE_TIMEOUT, "raise --idle-timeout if such silence is normal",
                     "no byte either way for %s", after);
}

/* ---- drain ---- */

/* Ends a direction that is at rest with close_notify or FIN. At rest: no byte for a while, none on
 * its way, and the last word was the upstream's, so that no question is half asked and no answer
 * half given or still due. Anything else is left unended, so that the side is reset: a clean end
 * would make a part look whole. */
static void end_if_at_rest(struct session *s, enum relay_side from)
{
    struct pump *p = &s->relay.from[from];
    bool quiet = loop_now(s->worker->loop) - s->moved_ms[from] >= AT_REST_MS;
    bool idle = p->state == PUMP_RUNNING && p->source_end == TP_OK && buf_empty(&p->held) &&
                p->wait == PUMP_WAIT_READ;
    if (quiet && idle && s->last_moved == RELAY_UP && !p->source->ops->mid_record(p->source) &&
        p->destination->ops->shut_write(p->destination) == TP_OK)
        p->state = PUMP_DONE;
}

/* At the end of its lifetime a session is looked at until it rests, for a while. */
static bool lifetime_over(struct session *s, int64_t now)
{
    if (now < s->ends_ms)
        return false;
    if (s->lifetime_cut_ms == 0)
        s->lifetime_cut_ms = now + LIFETIME_GRACE_MS;
    end_if_at_rest(s, RELAY_DOWN);
    end_if_at_rest(s, RELAY_UP);
    const bool rests =
        s->relay.from[RELAY_DOWN].state == PUMP_DONE && s->relay.from[RELAY_UP].state == PUMP_DONE;
    if (!rests && now < s->lifetime_cut_ms) {
        s->ends_ms = now + LIFETIME_LOOK_MS;
        session_deadline(s, s->ends_ms);
        return true;
    }
    session_fail(s, REASON_LIFETIME, "raise max_lifetime if sessions are to live longer",
                 rests ? "ended at rest" : "cut: it did not rest within its last half minute");
    return true;
}

void session_drain_close(struct session *s)
{
    if (s->state == SESSION_RELAY) {
        end_if_at_rest(s, RELAY_DOWN);
        end_if_at_rest(s, RELAY_UP);
    }
    session_fail(s, REASON_DRAIN_DEADLINE, "raise --drain-timeout if sessions need longer",
                 "the gateway is stopping");
}
