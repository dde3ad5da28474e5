/* Accepting: every worker waits on every listening descriptor (EPOLLEXCLUSIVE), takes what comes,
 * and hands a connection to the least loaded worker when it carries more itself. */
#include "consumer.h"
#include "gate.h"
#include "rate.h"
#include "session.h"

#include <esclusa/clock.h>
#include <esclusa/log.h>
#include <esclusa/net.h>

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#define ACCEPT_BATCH       16   /* a turn: others have events too */
#define ACCEPT_LAST        4096 /* taken from the queue when the listener is left */
#define LIMIT_REST_MS      100  /* out of descriptors: try again then */
#define OVER_REST_MS       50   /* over a limit of the configuration */
#define HANDSHAKE_REST_MS  10   /* at the cap of handshakes, which end soon */
#define LIMIT_LOG_EVERY_MS 10000

struct acceptor {
    struct acceptor *next;
    struct loop_deferred gone; /* freed after the batch: an event for it may be in there */
    struct loop_io io;
    struct timer rest;
    struct worker *worker;
    const struct listening *from;
    int64_t logged_ms; /* when the limit was last logged */
};

/* An accepted descriptor on its way to another worker. */
struct handover {
    struct loop_message message;
    struct worker *to;
    struct listen_set *set; /* a reference, for from */
    const struct listening *from;
    int fd;
    struct net_addr peer;
};

static void receive(struct loop_message *message)
{
    struct handover *h = LOOP_OWNER(message, struct handover, message);
    session_begin(h->to, h->fd, &h->peer, h->from);
    worker_check_killed(h->to);
    listen_set_unref(&h->set);
    free(h);
}

static struct worker *least_loaded(struct worker *self)
{
    struct worker_group *group = self->group;
    struct worker *best = self;
    unsigned own = atomic_load_explicit(&self->load, memory_order_relaxed);
    unsigned least = own;
    for (unsigned i = 0; i < group->count; i++) {
        unsigned load = atomic_load_explicit(&group->workers[i].load, memory_order_relaxed);
        if (load < least) {
            least = load;
            best = &group->workers[i];
        }
    }
    return own > least + 1 ? best : self; /* one more is not worth a thread's wake-up */
}

static void place(struct acceptor *a, int fd, const struct net_addr *peer)
{
    struct worker *to = a->worker->draining ? a->worker : least_loaded(a->worker);
    atomic_fetch_add_explicit(&to->load, 1, memory_order_relaxed);
    struct handover *h = to == a->worker ? NULL : calloc(1, sizeof *h);
    if (h == NULL && to != a->worker) {
        atomic_fetch_sub_explicit(&to->load, 1, memory_order_relaxed);
        to = a->worker;
        atomic_fetch_add_explicit(&to->load, 1, memory_order_relaxed);
    }
    if (h == NULL) {
        session_begin(to, fd, peer, a->from);
        return;
    }
    *h = (struct handover){
        .to = to, .set = listen_set_ref(a->from->set), .from = a->from, .fd = fd, .peer = *peer};
    h->message.callback = receive;
    loop_post(to->loop, &h->message);
}

static bool queue_is_empty(const struct acceptor *a)
{
    struct pollfd queue = {.fd = a->from->fd, .events = POLLIN};
    return poll(&queue, 1, 0) == 0;
}

/* The queue keeps the consumers meanwhile. */
static void rest(struct acceptor *a, int64_t for_ms)
{
    if (timer_set(a->worker->loop, &a->rest, loop_now(a->worker->loop) + for_ms))
        loop_io_set(&a->io, LOOP_NONE);
}

/* Who waits for it is counted; that is told of by a line of its own. */
static void count_wait(const struct acceptor *a, enum gate_limit limit)
{
    struct gate *gate = gate_of(a->from->service);
    if (gate != NULL)
        gate_count_over(gate, limit);
}

/* Out of descriptors or memory. Nothing to rest from when it was the last of the queue. */
static void rest_at_limit(struct acceptor *a, int why)
{
    if (queue_is_empty(a))
        return;
    int64_t now = loop_now(a->worker->loop);
    if (why == EMFILE || why == ENFILE)
        count_wait(a, GATE_FILES);
    rest(a, LIMIT_REST_MS);
    if (a->logged_ms != 0 && now - a->logged_ms < LIMIT_LOG_EVERY_MS)
        return;
    a->logged_ms = now;
    struct log_line line;
    log_begin(&line, LOG_LEVEL_WARN, "accept_limit");
    log_text(&line, "listen", a->from->at->text);
    log_text(&line, "error", strerror(why));
    log_text(&line, "remedy",
             "consumers wait in the kernel's queue; raise the limit of open files "
             "(ulimit -n, LimitNOFILE=)");
    log_end(&line);
}

/* As many handshakes are in progress as may be. Nothing to rest from, or to tell, when it was the
 * last of the queue that made it so. */
static void rest_at_handshakes(struct acceptor *a, enum gate_limit limit, unsigned most)
{
    struct worker_group *group = a->worker->group;
    if (queue_is_empty(a))
        return;
    int64_t now = loop_now(a->worker->loop);
    count_wait(a, limit);
    rest(a, HANDSHAKE_REST_MS);
    if (!rate_once(&group->handshakes_logged_ms, LIMIT_LOG_EVERY_MS, now))
        return; /* or another worker says it */
    struct log_line line;
    log_begin(&line, LOG_LEVEL_WARN, "handshake_limit");
    log_text(&line, "listen", a->from->at->text);
    log_number(&line, "max_handshakes", most);
    log_text(&line, "remedy",
             "consumers wait in the kernel's queue until others' TLS handshakes end; raise "
             "max_handshakes if these are wanted, or lower handshake_timeout if they are not");
    log_end(&line);
}

static void rested(void *context)
{
    struct acceptor *a = context;
    loop_io_set(&a->io, LOOP_READ);
}

/* ---- limits ---- */

/* What one that is being accepted takes up. */
struct place {
    struct gate *gate; /* NULL: no limits, as in tests */
    bool tls;
    bool entered;   /* the gate */
    bool connected; /* it is counted among the connections */
};

static bool resets(const struct acceptor *a)
{
    return a->from->service->config->over_limit == OVER_LIMIT_RESET;
}

/* A place among the handshakes. leaving: it must be taken now or is lost with the listener, so the
 * caps do not hold. */
static bool reserve_handshake(struct acceptor *a, struct gate *gate, bool leaving)
{
    struct worker_group *group = a->worker->group;
    const struct service_config *c = a->from->service->config;
    unsigned most = atomic_load_explicit(&group->max_handshakes, memory_order_relaxed);
    bool of_all = atomic_fetch_add(&group->handshakes, 1) < most || leaving;
    if (of_all && (gate == NULL || gate_handshake(gate, leaving ? NULL : c)))
        return true;
    atomic_fetch_sub(&group->handshakes, 1);
    if (of_all)
        rest_at_handshakes(a, GATE_SERVICE_HANDSHAKES, (unsigned)c->max_service_handshakes);
    else
        rest_at_handshakes(a, GATE_HANDSHAKES, most);
    return false;
}

static void leave_handshake(struct worker_group *group, const struct place *p)
{
    if (p->tls)
        worker_handshake_over(group, p->gate);
}

static void leave_place(struct worker_group *group, const struct place *p)
{
    leave_handshake(group, p);
    if (p->entered)
        gate_leave(p->gate);
    if (p->connected)
        atomic_fetch_sub(&group->connections, 1);
    atomic_fetch_sub(&group->sessions, 1);
}

static void tell_over(const struct acceptor *a, const struct gate *gate, enum gate_limit limit,
                      uint64_t since, bool reset)
{
    struct log_line line;
    log_begin(&line, LOG_LEVEL_WARN, "connection_limit");
    log_text(&line, "service", a->from->service->config->name);
    log_text(&line, "listen", a->from->at->text);
    log_text(&line, "limit", gate_word(limit));
    log_number(&line, "value", gate_set_to(limit, a->from->set->snapshot, a->from->service));
    log_number(&line, "connections", atomic_load(&gate->inside));
    log_number(&line, "times", (int64_t)since);
    log_text(&line, "remedy",
             reset
                 ? "consumers over it are reset; raise it if they are wanted"
                 : "consumers over it wait in the kernel's queue; raise it if they are wanted, or "
                   "set over_limit = \"reset\" so that they need not wait");
    log_end(&line);
}

static void note_over(struct acceptor *a, struct gate *gate, enum gate_limit limit, bool reset)
{
    uint64_t since = 0;
    if (gate_over(gate, limit, loop_now(a->worker->loop), &since))
        tell_over(a, gate, limit, since, reset);
}

/* They wait; nothing to rest from when it was the last of the queue. */
static void rest_over(struct acceptor *a, struct gate *gate, enum gate_limit limit, int64_t wait_us)
{
    if (queue_is_empty(a))
        return;
    rest(a, limit == GATE_RATE ? wait_us / 1000 + 1 : OVER_REST_MS);
    note_over(a, gate, limit, false);
}

/* It has been accepted, and is one too many. */
static void turn_away(struct acceptor *a, struct gate *gate, enum gate_limit limit, int fd)
{
    struct stats_slot *slot = stats_slot(a->from->service, a->worker->index);
    sock_reset(fd);
    stats_add(slot, STATS_ACCEPTED, 1);
    stats_ended(slot, PHASE_ACCEPTED, REASON_OVER_LIMIT, 0);
    note_over(a, gate, limit, true);
}

/* Before the accept: a place among the sessions, so that each finds its two descriptors, and, where
 * those over a limit wait, in the gate. *full_r: out of descriptors. Another worker may reserve for
 * the same one at the same time, or for none: then one waits a moment too long, no more. */
static enum gate_limit reserve(struct acceptor *a, struct place *p, bool leaving, bool *full_r,
                               int64_t *wait_us_r)
{
    struct worker_group *group = a->worker->group;
    const unsigned before = atomic_fetch_add(&group->sessions, 1);
    *full_r = before >= atomic_load(&group->max_by_descriptors) ||
              (atomic_load(&group->lanes) > 0 && !worker_group_fits(group));
    if (p->gate == NULL || (resets(a) && !leaving) || *full_r)
        return GATE_NONE;
    if (!leaving && before >= atomic_load(&group->max_sessions))
        return GATE_PROCESS;
    enum gate_limit over = GATE_NONE;
    if (leaving)
        gate_push(p->gate);
    else
        over = gate_enter(p->gate, a->from->service->config, clock_us(), wait_us_r);
    p->entered = over == GATE_NONE;
    return over;
}

/* After the accept, where those over a limit are reset: what counts are connections that there are.
 */
static enum gate_limit settle(const struct acceptor *a, struct place *p)
{
    struct worker_group *group = a->worker->group;
    const unsigned before = atomic_fetch_add(&group->connections, 1);
    int64_t unused = 0;
    p->connected = true;
    if (p->gate == NULL || p->entered)
        return GATE_NONE;
    if (before >= atomic_load(&group->max_sessions))
        return GATE_PROCESS;
    const enum gate_limit over = gate_enter(p->gate, a->from->service->config, clock_us(), &unused);
    p->entered = over == GATE_NONE;
    return over;
}

/* Who it is: it may not connect at all, or not one more time. True: it goes on to its session. */
static bool let_in(struct acceptor *a, const struct place *p, int fd, const struct net_addr *peer)
{
    const struct service *service = a->from->service;
    struct denial denial;
    if (consumer_is_denied(service, fd, peer, &denial)) {
        leave_handshake(a->worker->group, p);
        atomic_fetch_add_explicit(&a->worker->load, 1, memory_order_relaxed);
        session_refuse(a->worker, fd, peer, a->from, &denial);
        return false;
    }
    const bool proxied = service->config->accept_proxy != ACCEPT_PROXY_OFF;
    if (p->gate == NULL || proxied || gate_admit(p->gate, service->config, peer))
        return true;
    leave_place(a->worker->group, p);
    turn_away(a, p->gate, GATE_CONSUMER, fd);
    return false;
}

static void accepted(struct acceptor *a, struct place *p, int fd, const struct net_addr *peer)
{
    const enum gate_limit over = settle(a, p);
    if (over != GATE_NONE) {
        leave_place(a->worker->group, p);
        turn_away(a, p->gate, over, fd);
    } else if (let_in(a, p, fd, peer)) {
        place(a, fd, peer);
    }
}

/* True: go on. */
static bool take_one(struct acceptor *a, bool leaving)
{
    struct worker_group *group = a->worker->group;
    struct place p = {.gate = gate_of(a->from->service),
                      .tls = a->from->at->endpoint.scheme == NET_TLS};
    if (p.tls && !reserve_handshake(a, p.gate, leaving))
        return false;
    int fd = -1, why = EMFILE;
    int64_t wait_us = 0;
    bool full = false;
    struct net_addr peer;
    const enum gate_limit over = reserve(a, &p, leaving, &full, &wait_us);
    enum accept_status status = ACCEPT_LIMIT;
    if (over == GATE_NONE && !full)
        status = listener_accept(a->from->fd, &fd, &peer, &why);
    if (status == ACCEPT_OK) {
        accepted(a, &p, fd, &peer);
        return true;
    }
    if (p.entered && !leaving)
        gate_refund(p.gate, a->from->service->config);
    leave_place(group, &p);
    if (over != GATE_NONE)
        rest_over(a, p.gate, over, wait_us);
    else if (status == ACCEPT_LIMIT || status == ACCEPT_BROKEN)
        rest_at_limit(a, why);
    return status == ACCEPT_RETRY;
}

static void take(struct acceptor *a, int most, bool leaving)
{
    int taken = 0;
    while (taken < most && take_one(a, leaving))
        taken++;
}

static void on_event(void *context, unsigned events)
{
    (void)events;
    take(context, ACCEPT_BATCH, false);
}

/* ---- the list ---- */

static void free_gone(struct loop_deferred *gone)
{
    free(LOOP_OWNER(gone, struct acceptor, gone));
}

static void close_one(struct acceptor *a)
{
    timer_clear(a->worker->loop, &a->rest);
    loop_io_remove(&a->io);
    a->gone.callback = free_gone;
    loop_defer(a->worker->loop, &a->gone);
}

static bool open_one(struct worker *w, const struct listening *from, struct error *err)
{
    struct acceptor *a = calloc(1, sizeof *a);
    if (a == NULL)
        return error_set(err, "no memory for a listener");
    a->worker = w;
    a->from = from;
    timer_init(&a->rest, rested, a);
    if (!loop_io_add_exclusive(w->loop, &a->io, from->fd, on_event, a, err)) {
        free(a);
        return false;
    }
    a->next = w->acceptors;
    w->acceptors = a;
    return true;
}

static bool accepts_from(const struct worker *w, int fd)
{
    for (const struct acceptor *a = w->acceptors; a != NULL; a = a->next) {
        if (a->from->fd == fd)
            return true;
    }
    return false;
}

bool acceptors_move(struct worker *w, struct listen_set *set, struct error *err)
{
    for (struct acceptor **at = &w->acceptors; *at != NULL;) {
        struct acceptor *a = *at;
        const struct listening *same = listen_set_find(set, a->from->fd);
        if (same != NULL) {
            a->from = same;
            at = &a->next;
            continue;
        }
        take(a, ACCEPT_LAST, true);
        *at = a->next;
        close_one(a);
    }
    bool all = true;
    for (size_t i = 0; i < set->count; i++) {
        if (!accepts_from(w, set->items[i].fd))
            all = open_one(w, &set->items[i], err) && all;
    }
    struct listen_set *old = w->set;
    w->set = listen_set_ref(set);
    listen_set_unref(&old);
    return all;
}

void acceptors_leave(struct worker *w)
{
    for (struct acceptor *a = w->acceptors; a != NULL; a = a->next)
        take(a, ACCEPT_LAST, true);
    acceptors_close(w);
}

void acceptors_close(struct worker *w)
{
    while (w->acceptors != NULL) {
        struct acceptor *a = w->acceptors;
        w->acceptors = a->next;
        close_one(a);
    }
    listen_set_unref(&w->set);
}
