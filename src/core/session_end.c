/* The end of a session, so that what was delivered stays delivered:
 *
 * - A side that was told a clean end: our direction is shut, what it still sends is read and
 * dropped for a while, then it is closed. Closing with unread input would send a RST, and a RST
 * destroys what the peer has not read yet (RFC 9293 3.10.7, RFC 2525 2.17).
 * - A side that must not see a clean end is reset, but only when the kernel has nothing left to
 *   send: SO_LINGER 0 throws away the send queue. */
#include "session.h"

#include <esclusa/log.h>
#include <esclusa/net.h>

#include <inttypes.h>
#include <string.h>
#include <sys/socket.h>

#define LINGER_QUIET_MS    2000  /* how long a peer may take to end its direction */
#define LINGER_STUCK_MS    30000 /* how long a full send queue may stay as it is */
#define TIMEOUT_PART       20    /* of the timeout that ended it: no longer than that */
#define LINGER_STEP_MIN_MS 2
#define LINGER_STEP_MAX_MS 100

static void close_side(struct session *s, enum relay_side side, bool reset)
{
    struct linger_side *l = &s->linger[side];
    if (!l->open)
        return;
    l->open = false;
    loop_io_remove(&s->io[side]);
    int fd = transport_release_fd(s->transport[side]);
    if (reset)
        sock_reset(fd);
    else
        sock_close(fd);
}

/* Closed before the peer had taken all. */
static void cut_side(struct session *s, enum relay_side side, enum stats_counter cause, bool reset)
{
    stats_add(s->stats, cause, 1);
    close_side(s, side, reset);
}

static void bury_if_over(struct session *s)
{
    if (!s->linger[RELAY_DOWN].open && !s->linger[RELAY_UP].open)
        session_bury(s);
}

/* There was no alert then. */
static bool handshake_timed_out(const struct session *s)
{
    return s->reason == REASON_CONSUMER_HANDSHAKE_TIMEOUT ||
           s->reason == REASON_UPSTREAM_HANDSHAKE_TIMEOUT;
}

/* How a session that never relayed, or was ended early, leaves a side. */
static enum relay_close how_to_close(const struct session *s, enum relay_side side)
{
    if (s->relaying)
        return relay_how_to_close(&s->relay, side);
    /* Our alert must not be overtaken by a reset. A consumer that only waited is reset: an empty
     * clean end would look like an answer. */
    bool handshake = s->failure != NULL && !handshake_timed_out(s) &&
                     s->transport[side]->ssl != NULL && s->failure->handshake[side];
    return handshake ? RELAY_CLOSE_CLEAN : RELAY_CLOSE_RESET;
}

static bool has_ended(const struct session *s, enum relay_side side)
{
    return s->relaying && s->relay.from[side].source_end == TP_EOF &&
           s->transport[side]->ssl == NULL;
}

/* The timeout that has ended the session; 0: another reason. */
static int64_t timed_out_after(const struct session *s)
{
    if (s->reason == REASON_IDLE_TIMEOUT)
        return s->service->config->idle_timeout;
    return s->reason == REASON_HALF_CLOSED_TIMEOUT ? s->service->config->half_closed_timeout : 0;
}

/* That side was waited for all that time, and took nothing: no need to wait again. */
static bool stood_still(const struct session *s, enum relay_side side)
{
    const struct pump *p = &s->relay.from[side == RELAY_DOWN ? RELAY_UP : RELAY_DOWN];
    return timed_out_after(s) > 0 && p->state == PUMP_RUNNING && p->wait == PUMP_WAIT_WRITE;
}

static void side_begin(struct session *s, enum relay_side side)
{
    struct linger_side *l = &s->linger[side];
    struct transport *t = s->transport[side];
    if (t == NULL || t->fd < 0)
        return;
    l->open = true;
    l->how = how_to_close(s, side);
    l->moved_ms = loop_now(s->worker->loop);
    if (l->how == RELAY_CLOSE_CLEAN) {
        if (has_ended(s, side) || shutdown(t->fd, SHUT_WR) != 0)
            close_side(s, side, false);
        else
            loop_io_set(&s->io[side], LOOP_READ);
        return;
    }
    l->unsent = s->relaying ? sock_unsent(t->fd) : 0;
    /* A unix peer reads what was sent after our close, and cannot be reset anyway. */
    const struct net_addr *peer = side == RELAY_DOWN ? session_peer(s) : &s->upstream_address;
    if (l->unsent == 0 || peer->u.sa.sa_family == AF_UNIX)
        close_side(s, side, true);
    else if (stood_still(s, side))
        cut_side(s, side, STATS_LINGER_STUCK, true);
    else
        loop_io_set(&s->io[side], LOOP_HUP);
}

/* The timer, and what to look at then. */
static void next_look(struct session *s, int64_t step_ms)
{
    s->linger_step_ms = least(step_ms, LINGER_STEP_MAX_MS);
    session_deadline(s, least(loop_now(s->worker->loop) + s->linger_step_ms, s->linger_ends_ms));
}

void linger_begin(struct session *s)
{
    const int64_t part = timed_out_after(s) / TIMEOUT_PART;
    s->linger_quiet_ms = part > 0 ? least(part, LINGER_QUIET_MS) : LINGER_QUIET_MS;
    s->linger_stuck_ms = part > 0 ? least(part, LINGER_STUCK_MS) : LINGER_STUCK_MS;
    s->linger_ends_ms = loop_now(s->worker->loop) + s->service->config->linger_timeout;
    side_begin(s, RELAY_DOWN);
    side_begin(s, RELAY_UP);
    if (s->relaying)
        relay_fini(&s->relay); /* what it holds goes nowhere any more */
    bury_if_over(s);
    if (s->state == SESSION_LINGER)
        next_look(s, LINGER_STEP_MIN_MS);
}

void linger_event(struct session *s, enum relay_side side, unsigned events)
{
    struct linger_side *l = &s->linger[side];
    if (!l->open)
        return;
    if (l->how == RELAY_CLOSE_RESET) {
        if (events & LOOP_HUP)
            close_side(s, side, true);
    } else {
        switch (sock_drain(s->transport[side]->fd, &s->transport[side]->came)) {
        case SOCK_DRAIN_MORE:
        case SOCK_DRAIN_AGAIN:
            break;
        case SOCK_DRAIN_EOF:
        case SOCK_DRAIN_ERROR:
            close_side(s, side, false);
            break;
        }
    }
    bury_if_over(s);
}

/* No event tells that a send queue has become empty: look, at growing intervals. */
static void look(struct session *s, enum relay_side side)
{
    struct linger_side *l = &s->linger[side];
    if (!l->open)
        return;
    int64_t now = loop_now(s->worker->loop);
    size_t unsent = sock_unsent(s->transport[side]->fd);
    if (unsent != l->unsent) {
        l->unsent = unsent;
        l->moved_ms = now;
    }
    const int64_t quiet = now - l->moved_ms;
    const bool over = now >= s->linger_ends_ms;
    const bool reset = l->how == RELAY_CLOSE_RESET;
    if (unsent == 0) {
        if (reset || over || quiet >= s->linger_quiet_ms)
            close_side(s, side, reset);
    } else if (over) { /* not even by the kernel is it to go on */
        cut_side(s, side, STATS_LINGER_TIMEOUT, true);
    } else if (quiet >= s->linger_stuck_ms) {
        cut_side(s, side, STATS_LINGER_STUCK, reset);
    }
}

void linger_tick(struct session *s)
{
    look(s, RELAY_DOWN);
    look(s, RELAY_UP);
    bury_if_over(s);
    if (s->state != SESSION_LINGER)
        return;
    next_look(s, 2 * s->linger_step_ms);
}

/* The line of the session is written already. */
void linger_spins(struct session *s)
{
    stats_add(s->stats, STATS_LINGER_SPIN, 1);
    log_message(LOG_LEVEL_ERROR, "spin_guard", "session %" PRIu64 " at its end: %s", s->id,
                SPIN_REMEDY);
    close_side(s, RELAY_DOWN, true);
    close_side(s, RELAY_UP, true);
    bury_if_over(s);
}

void session_kill(struct session *s)
{
    session_close(s, REASON_SHUTDOWN);
    close_side(s, RELAY_DOWN, true);
    close_side(s, RELAY_UP, true);
    if (s->state == SESSION_LINGER)
        session_bury(s);
}
