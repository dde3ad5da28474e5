/* The pools: dialing ahead, watching what waits, handing out. */
#include "warm.h"

#include "dial.h"
#include "spin.h"
#include "stats.h"
#include "warm_pace.h"
#include "worker.h"

#include <esclusa/clock.h>
#include <esclusa/log.h>
#include <esclusa/net.h>

#include <stdlib.h>

#define REFILL_AFTER_MS 2   /* the consumer who was just served goes first */
#define LIMIT_REST_MS   250 /* no descriptor may be had: look again then */

struct warm_entry {
    struct warm_entry *newer, *older;
    struct warm_pool *pool;
    struct loop_io io;
    struct spin spin;
    struct loop_deferred gone;
    struct dial *dial; /* while it is being made */
    struct transport *transport;
    const struct upstream *upstream;
    struct stats_upstream *counted;
    struct net_addr address;
    struct buf early;
    int64_t ready_ms;
};

struct warm_list {
    struct warm_entry *newest, *oldest;
    unsigned count;
};

struct warm_pool {
    struct worker *worker;
    const struct service *service; /* NULL: off */
    struct warm_pace pace;
    struct warm_list ready, dialing;
    struct timer timer;
    int64_t look_ms; /* when it fires; CLOCK_NEVER: it is not set */
    struct warm_counts counts;
};

/* ---- lists ---- */

static void add(struct warm_list *list, struct warm_entry *e)
{
    e->newer = NULL;
    e->older = list->newest;
    if (list->newest != NULL)
        list->newest->newer = e;
    else
        list->oldest = e;
    list->newest = e;
    list->count++;
}

static void take_out(struct warm_list *list, struct warm_entry *e)
{
    if (e->newer != NULL)
        e->newer->older = e->older;
    else
        list->newest = e->older;
    if (e->older != NULL)
        e->older->newer = e->newer;
    else
        list->oldest = e->newer;
    list->count--;
}

/* ---- entries ---- */

static void free_gone(struct loop_deferred *gone)
{
    free(LOOP_OWNER(gone, struct warm_entry, gone));
}

static void count(const struct warm_pool *p, enum stats_counter which)
{
    stats_add(stats_slot(p->service, p->worker->index), which, 1);
}

/* Freed after the batch: an event for it may be in there. */
static void bury(struct warm_entry *e, struct warm_list *list)
{
    struct worker *w = e->pool->worker;
    take_out(list, e);
    if (list == &e->pool->ready)
        stats_subtract(stats_slot(e->pool->service, w->index), STATS_WARM_READY);
    dial_destroy(&e->dial);
    candidate_leave(&e->counted);
    loop_io_remove(&e->io);
    transport_destroy(&e->transport);
    buf_fini(&e->early);
    atomic_fetch_sub(&w->group->warm, 1);
    e->gone.callback = free_gone;
    loop_defer(w->loop, &e->gone);
}

/* One that is still good: the upstream is told that we end it. */
static void retire(struct warm_entry *e)
{
    (void)e->transport->ops->shut_write(e->transport);
    bury(e, &e->pool->ready);
}

static void begin_line(struct log_line *line, enum log_level level, const char *event,
                       const struct warm_pool *p)
{
    log_begin(line, level, event);
    log_text(line, "service", p->service->config->name);
    log_number(line, "worker", p->worker->index);
}

/* ---- when to look ---- */

static void look_at(struct warm_pool *p, int64_t at_ms)
{
    p->look_ms = at_ms;
    if (at_ms == CLOCK_NEVER)
        timer_clear(p->worker->loop, &p->timer);
    else if (!timer_set(p->worker->loop, &p->timer, at_ms))
        p->look_ms = CLOCK_NEVER; /* no memory: when something happens */
}

static void look_within(struct warm_pool *p, int64_t ms)
{
    int64_t at_ms = loop_now(p->worker->loop) + ms;
    if (at_ms < p->look_ms)
        look_at(p, at_ms);
}

/* ---- while it waits ---- */

static void log_early_closer(const struct warm_pool *p, const struct upstream *upstream,
                             enum warm_verdict verdict)
{
    struct log_line line;
    if (verdict == WARM_AS_EVER)
        return;
    begin_line(&line, LOG_LEVEL_WARN, "warm_short_lived", p);
    log_text(&line, "upstream", upstream->text);
    log_text(&line, "error", "the upstream closes idle connections soon");
    if (verdict == WARM_SHORT)
        log_number(&line, "kept_ms", p->pace.limit_ms);
    else
        log_number(&line, "rests_ms", p->pace.not_before_ms - loop_now(p->worker->loop));
    log_text(&line, "remedy",
             verdict == WARM_SHORT
                 ? "lower warm_max_idle to below the upstream's own idle timeout"
                 : "set warm_min to 0 if the upstream always does: a warm pool cannot help there");
    log_end(&line);
}

static void closed(struct warm_entry *e)
{
    struct warm_pool *p = e->pool;
    int64_t now = loop_now(p->worker->loop);
    int64_t age = now - e->ready_ms;
    const struct upstream *upstream = e->upstream;
    bury(e, &p->ready);
    p->counts.closed++;
    count(p, STATS_WARM_CLOSED);
    log_early_closer(p, upstream, warm_pace_closed(&p->pace, now, age));
    look_within(p, REFILL_AFTER_MS);
}

/* Takes what has come: messages of TLS's own, what the upstream says first. False: it has ended. */
static bool still_good(struct warm_entry *e)
{
    struct transport *t = e->transport;
    uint8_t *bytes = e->pool->worker->scratch.plain;
    while (buf_length(&e->early) < WARM_EARLY_MAX) {
        size_t length = 0;
        bool drained = true;
        switch (t->ops->read(t, bytes, TP_READ_MIN, &length, &drained)) {
        case TP_OK:
            if (!buf_append(&e->early, bytes, length))
                return false;
            if (drained && !t->ops->has_buffered(t))
                return true;
            break;
        case TP_AGAIN:
            return true;
        case TP_EOF:
        case TP_TRUNCATED:
        case TP_ERROR:
            return false;
        }
    }
    loop_io_set(&e->io, LOOP_HUP); /* the consumer is to read the rest */
    return true;
}

/* ---- dialing ---- */

static void log_failing(const struct warm_pool *p, const struct dial *d)
{
    struct log_line line;
    begin_line(&line, LOG_LEVEL_WARN, "warm_failing", p);
    log_text(&line, "upstream", d->upstream == NULL ? NULL : d->upstream->text);
    log_text(&line, "reason", reason_word(d->reason));
    log_text(&line, "error", d->error);
    log_text(&line, "remedy", d->remedy);
    log_end(&line);
}

static void dial_failed(struct warm_entry *e)
{
    struct warm_pool *p = e->pool;
    p->counts.failed++;
    count(p, STATS_WARM_FAILED);
    if (warm_pace_failed(&p->pace, loop_now(p->worker->loop)))
        log_failing(p, e->dial);
    bury(e, &p->dialing);
}

static void dial_over(void *context)
{
    struct warm_entry *e = context;
    struct warm_pool *p = e->pool;
    look_within(p, 0);
    if (!dial_ok(e->dial)) {
        dial_failed(e);
        return;
    }
    e->transport = e->dial->transport;
    e->dial->transport = NULL;
    e->early = e->dial->early;
    buf_init(&e->dial->early);
    e->address = e->dial->address;
    e->upstream = e->dial->upstream;
    e->counted = e->dial->counted;
    e->dial->counted = NULL;
    dial_destroy(&e->dial);
    e->ready_ms = loop_now(p->worker->loop);
    sock_keep_alive(e->transport->fd, &p->service->connect_sock);
    take_out(&p->dialing, e);
    add(&p->ready, e);
    count(p, STATS_WARM_READY);
    if (warm_pace_connected(&p->pace)) {
        struct log_line line;
        begin_line(&line, LOG_LEVEL_INFO, "warm_ok", p);
        log_end(&line);
    }
    loop_io_set(&e->io, LOOP_READ);
    if (!still_good(e)) /* it may have said something with its handshake */
        closed(e);
}

static void spins(struct warm_entry *e)
{
    struct warm_pool *p = e->pool;
    struct log_line line;
    begin_line(&line, LOG_LEVEL_ERROR, "spin_guard", p);
    log_text(&line, "error",
             "a warm connection was woken again and again without getting anywhere");
    log_text(&line, "remedy", SPIN_REMEDY);
    log_end(&line);
    count(p, STATS_WARM_SPIN);
    closed(e);
}

static void on_io(void *context, unsigned events)
{
    struct warm_entry *e = context;
    if (e->dial != NULL) {
        dial_event(e->dial, events);
        return;
    }
    if (spin_woken(&e->spin, e->transport->came + e->transport->went)) {
        spins(e);
        return;
    }
    bool gone = (events & LOOP_HUP) && buf_length(&e->early) >= WARM_EARLY_MAX;
    if (gone || !still_good(e))
        closed(e);
}

/* A descriptor, if no consumer may come to need it. */
static bool reserve(struct worker_group *group)
{
    unsigned warm = atomic_fetch_add(&group->warm, 1) + 1;
    if (warm <= atomic_load(&group->max_warm) && worker_group_fits(group))
        return true;
    atomic_fetch_sub(&group->warm, 1);
    return false;
}

/* False: not now. */
static bool start_one(struct warm_pool *p)
{
    struct worker_group *group = p->worker->group;
    if (!reserve(group))
        return false;
    struct warm_entry *e = calloc(1, sizeof *e);
    const struct dial_order order = {
        .worker = p->worker,
        .service = p->service,
        .io = e == NULL ? NULL : &e->io,
        .on_io = on_io,
        .over = dial_over,
        .context = e,
    };
    struct dial *d = e == NULL ? NULL : dial_create(&order);
    if (d == NULL) {
        atomic_fetch_sub(&group->warm, 1);
        free(e);
        return false;
    }
    e->pool = p;
    e->dial = d;
    buf_init(&e->early);
    add(&p->dialing, e);
    warm_pace_began(&p->pace);
    dial_start(d);
    return true;
}

/* ---- looking ---- */

static void age(struct warm_pool *p, int64_t now)
{
    struct warm_entry *e;
    while ((e = p->ready.oldest) != NULL && now - e->ready_ms >= p->pace.limit_ms) {
        warm_pace_lived(&p->pace, now - e->ready_ms);
        p->counts.aged++;
        count(p, STATS_WARM_AGED);
        retire(e);
    }
}

static void look(void *context)
{
    struct warm_pool *p = context;
    int64_t now = loop_now(p->worker->loop);
    p->look_ms = CLOCK_NEVER;
    age(p, now);
    struct warm_turn turn;
    for (;;) {
        unsigned have = p->ready.count + p->dialing.count;
        turn = warm_pace_turn(&p->pace, now, have, p->dialing.count);
        if (turn.dials == 0)
            break;
        if (!start_one(p)) {
            turn.look_ms = now + LIMIT_REST_MS;
            break;
        }
    }
    int64_t next = turn.look_ms;
    if (p->ready.oldest != NULL && p->ready.oldest->ready_ms + p->pace.limit_ms < next)
        next = p->ready.oldest->ready_ms + p->pace.limit_ms;
    look_at(p, next);
}

/* ---- handing out ---- */

/* NULL: the service has none. */
static struct warm_pool *pool_of(const struct warm *w, size_t service)
{
    if (w->pools == NULL || service >= w->snapshot->service_count)
        return NULL;
    struct warm_pool *p = &w->pools[service];
    return p->service != NULL ? p : NULL;
}

static void hand_out(struct warm_entry *e, struct warm_taken *taken_r)
{
    struct warm_pool *p = e->pool;
    *taken_r = (struct warm_taken){.transport = e->transport,
                                   .upstream = e->upstream,
                                   .counted = e->counted,
                                   .address = e->address,
                                   .early = e->early};
    e->transport = NULL;
    e->counted = NULL;
    buf_init(&e->early);
    warm_pace_lived(&p->pace, loop_now(p->worker->loop) - e->ready_ms);
    bury(e, &p->ready);
}

bool warm_take(struct warm *w, const struct snapshot *snapshot, const struct service *service,
               struct warm_taken *taken_r)
{
    if (snapshot != w->snapshot) /* it verifies by other rules, perhaps */
        return false;
    struct warm_pool *p = pool_of(w, (size_t)(service - snapshot->services));
    if (p == NULL)
        return false;
    warm_pace_asked(&p->pace, loop_now(w->worker->loop));
    look_within(p, REFILL_AFTER_MS);
    struct warm_entry *e;
    while ((e = p->ready.newest) != NULL) { /* the likeliest to be still open */
        if (candidate_outranked(service, e->upstream, loop_now(w->worker->loop))) {
            p->counts.outranked++;
            count(p, STATS_WARM_OUTRANKED);
            retire(e);
            continue;
        }
        if (still_good(e)) {
            p->counts.hits++;
            count(p, STATS_WARM_HIT);
            hand_out(e, taken_r);
            return true;
        }
        closed(e);
    }
    p->counts.misses++;
    count(p, STATS_WARM_MISS);
    return false;
}

bool warm_counts(const struct warm *w, size_t service, struct warm_counts *counts_r)
{
    const struct warm_pool *p = pool_of(w, service);
    if (p != NULL)
        *counts_r = p->counts;
    return p != NULL;
}

/* ---- life ---- */

static unsigned most_of(const struct service_config *c)
{
    return (unsigned)(c->warm_max > 0 ? c->warm_max : c->warm_min);
}

unsigned warm_wanted(const struct snapshot *snapshot)
{
    unsigned sum = 0;
    for (size_t i = 0; i < snapshot->service_count; i++) {
        const struct service_config *c = snapshot->services[i].config;
        for (unsigned k = 0; c->warm_min > 0 && k < snapshot->workers; k++)
            sum += warm_share(most_of(c), snapshot->workers, k);
    }
    return sum;
}

static void set_up(struct warm_pool *p, struct worker *worker, const struct snapshot *snapshot,
                   const struct service *service)
{
    const struct service_config *c = service->config;
    p->worker = worker;
    p->look_ms = CLOCK_NEVER;
    timer_init(&p->timer, look, p);
    if (c->warm_min == 0)
        return;
    p->service = service;
    unsigned least = warm_share((unsigned)c->warm_min, snapshot->workers, worker->index);
    unsigned most = warm_share(most_of(c), snapshot->workers, worker->index);
    warm_pace_init(&p->pace, least, most, c->warm_max_idle,
                   (uint32_t)(clock_us() * 2654435761U + worker->index));
    look_within(p, 0);
}

static void log_counts(const struct warm_pool *p)
{
    const struct warm_counts *c = &p->counts;
    struct log_line line;
    if (c->hits + c->misses + c->closed + c->aged + c->config + c->outranked + c->failed == 0)
        return;
    begin_line(&line, LOG_LEVEL_INFO, "warm", p);
    log_number(&line, "hits", (int64_t)c->hits);
    log_number(&line, "misses", (int64_t)c->misses);
    log_number(&line, "closed", (int64_t)c->closed);
    log_number(&line, "aged", (int64_t)c->aged);
    log_number(&line, "config", (int64_t)c->config);
    log_number(&line, "outranked", (int64_t)c->outranked);
    log_number(&line, "failed", (int64_t)c->failed);
    log_end(&line);
}

static void empty(struct warm_pool *p)
{
    look_at(p, CLOCK_NEVER);
    while (p->dialing.newest != NULL)
        bury(p->dialing.newest, &p->dialing);
    while (p->ready.newest != NULL) {
        p->counts.config++;
        count(p, STATS_WARM_CONFIG);
        retire(p->ready.newest);
    }
    log_counts(p);
}

void warm_init(struct warm *w, struct worker *worker)
{
    *w = (struct warm){.worker = worker};
}

void warm_stop(struct warm *w)
{
    for (size_t i = 0; w->pools != NULL && i < w->snapshot->service_count; i++) {
        if (w->pools[i].service != NULL)
            empty(&w->pools[i]);
    }
    free(w->pools);
    w->pools = NULL;
    snapshot_unref(&w->snapshot);
}

bool warm_move(struct warm *w, struct snapshot *snapshot)
{
    if (w->snapshot == snapshot)
        return true;
    warm_stop(w);
    w->pools = calloc(snapshot->service_count, sizeof *w->pools);
    if (w->pools == NULL)
        return false;
    w->snapshot = snapshot_ref(snapshot);
    for (size_t i = 0; i < snapshot->service_count; i++)
        set_up(&w->pools[i], w->worker, snapshot, &snapshot->services[i]);
    return true;
}
