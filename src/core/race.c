/* Which address next, and when. */
#include "race.h"

#include "eyeballs.h"
#include "worker.h"

#define ADDRESS_SHARE_MIN_MS 2000 /* no address gets less, however many share the time */
#define LANE_RETRY_MS        100  /* no descriptor for one more beside those that run */
#define LANES_PART           8    /* of the descriptors; the first of each race is the session's */

static void launch(struct race *r);

/* After each call that may end the race nothing of it is touched: it may be gone. */

static int64_t now_of(const struct race *r)
{
    return loop_now(r->order.worker->loop);
}

/* ---- descriptors ---- */

/* One beside those that run, if no consumer may come to need it. */
static bool take_lane(const struct race *r)
{
    struct worker_group *group = r->order.worker->group;
    const unsigned lanes = atomic_fetch_add(&group->lanes, 1) + 1;
    if (lanes <= group->descriptors / LANES_PART && worker_group_fits(group))
        return true;
    atomic_fetch_sub(&group->lanes, 1);
    return false;
}

static void give_lane(const struct race *r)
{
    atomic_fetch_sub(&r->order.worker->group->lanes, 1);
}

/* ---- attempts ---- */

static void drop(struct race *r, struct attempt *a)
{
    struct attempt **at = &r->running;
    while (*at != a)
        at = &(*at)->next;
    *at = a->next;
    if (--r->lanes > 0)
        give_lane(r);
    if (r->ahead == a)
        r->ahead = NULL;
    attempt_destroy(&a);
}

/* All but `keep`. Their addresses can be tried again: as many places before `next` are free, since
 * each of them was taken from there. */
static void drop_others(struct race *r, const struct attempt *keep)
{
    for (struct attempt *a = r->running, *next; a != NULL; a = next) {
        next = a->next;
        if (a == keep)
            continue;
        r->addresses[--r->next] = a->order.address;
        drop(r, a);
    }
}

static void settle(struct race *r, struct attempt *a)
{
    timer_clear(r->order.worker->loop, &r->timer);
    drop_others(r, a);
    if (a->transport != NULL &&
        !attempt_settle(a, r->order.io, r->order.on_io, r->order.io_context))
        r->order.no_memory(r->order.context);
    else
        r->order.settled(r->order.context, a);
}

/* False: no memory, and the race is over. */
static bool look_at(struct race *r, int64_t at_ms)
{
    if (timer_set(r->order.worker->loop, &r->timer, at_ms))
        return true;
    r->order.no_memory(r->order.context);
    return false;
}

/* ---- what attempts tell ---- */

static bool is_decided(const struct race *r)
{
    return r->asked || (r->ahead != NULL && !r->order.verified);
}

static void connected(void *context, struct attempt *a)
{
    struct race *r = context;
    if (r->ahead == NULL) {
        r->ahead = a;
        r->ahead_since_ms = now_of(r);
    }
    if (is_decided(r)) {
        timer_clear(r->order.worker->loop, &r->timer);
        drop_others(r, a);
    }
    r->order.connected(r->order.context, a);
}

static void ask(void *context, struct attempt *a)
{
    struct race *r = context;
    r->asked = true;
    timer_clear(r->order.worker->loop, &r->timer);
    drop_others(r, a);
    r->order.ask(r->order.context, a);
}

static bool is_last(const struct race *r)
{
    return r->order.last && r->next >= r->count && r->lanes == 1;
}

static bool lets_the_next(struct race *r, const struct attempt *a)
{
    if (r->asked)
        return false;
    /* What the last one says of its handshake is worth more than that nobody answered. */
    const bool cut = a->transport != NULL && a->transport->failure != NULL;
    if (a->outcome == ATTEMPT_UNANSWERED)
        return !(cut && is_last(r));
    return a->outcome == ATTEMPT_WRONG && r->order.may_pass(r->order.context, a);
}

static void failed(struct race *r, struct attempt *a)
{
    const int64_t now = now_of(r), least = now + ADDRESS_SHARE_MIN_MS;
    /* What it took after it was connected is not taken from those who have still to connect; where
     * several are at once, the next one has its least share all the same. */
    if (r->ahead == a && !r->order.verified)
        r->order.until_ms += now - r->ahead_since_ms;
    else if (a->stage != ATTEMPT_CONNECT && r->order.until_ms < least)
        r->order.until_ms = least;
    r->order.unanswered(r->order.context, a);
    drop(r, a);
}

static void over(void *context, struct attempt *a)
{
    struct race *r = context;
    if (a->outcome == ATTEMPT_OURS && r->lanes > 1) {
        drop(r, a); /* the others may still do */
        launch(r);
        return;
    }
    if (a->outcome == ATTEMPT_GOOD || !lets_the_next(r, a)) {
        settle(r, a);
        return;
    }
    failed(r, a);
    launch(r);
}

/* ---- the next one ---- */

/* NULL: no memory. */
static struct attempt *new_attempt(struct race *r, const struct net_addr *address)
{
    bool taken = false;
    for (const struct attempt *a = r->running; a != NULL; a = a->next)
        taken = taken || a->io == r->order.io;
    /* As many lanes as there are share the time; none waits past the end. */
    const int64_t now = now_of(r), left = r->order.until_ms - now;
    int64_t share = left * RACE_LANES / (int64_t)(r->count - r->next + 1);
    if (share < ADDRESS_SHARE_MIN_MS)
        share = ADDRESS_SHARE_MIN_MS;
    const struct attempt_order order = {.worker = r->order.worker,
                                        .service = r->order.service,
                                        .upstream = r->order.upstream,
                                        .address = *address,
                                        .hello = r->order.hello,
                                        .connect_only = r->order.connect_only,
                                        .connect_until_ms = now + (share < left ? share : left),
                                        .io = taken ? NULL : r->order.io,
                                        .on_io = r->order.on_io,
                                        .io_context = r->order.io_context,
                                        .connected = connected,
                                        .over = over,
                                        .ask = r->order.ask == NULL ? NULL : ask,
                                        .context = r};
    struct attempt *a = attempt_create(&order);
    if (a == NULL)
        return NULL;
    a->next = r->running;
    r->running = a;
    r->lanes++;
    r->order.began(r->order.context);
    return a;
}

static bool may_launch(const struct race *r)
{
    return r->next < r->count && r->lanes < RACE_LANES && !is_decided(r) &&
           (r->next == 0 || now_of(r) < r->order.until_ms);
}

enum launched { LAUNCHED, LAUNCH_FAILED /* the next one */, LAUNCH_WAITS, LAUNCH_OVER };

static enum launched launch_one(struct race *r)
{
    if (r->lanes > 0 && !take_lane(r))
        return LAUNCH_WAITS;
    struct attempt *a = new_attempt(r, &r->addresses[r->next]);
    if (a == NULL) {
        if (r->lanes > 0) {
            give_lane(r);
            return LAUNCH_WAITS;
        }
        r->order.no_memory(r->order.context);
        return LAUNCH_OVER;
    }
    r->next++;
    if (attempt_start(a))
        return LAUNCHED;
    if (a->outcome == ATTEMPT_OURS && r->lanes > 1) {
        r->next--;
        drop(r, a);
        return LAUNCH_WAITS;
    }
    if (!lets_the_next(r, a)) {
        settle(r, a);
        return LAUNCH_OVER;
    }
    failed(r, a);
    return LAUNCH_FAILED;
}

/* The next address, unless all lanes are taken or one has won; and when to do so again. */
static void launch(struct race *r)
{
    enum launched how = LAUNCH_FAILED;
    while (how == LAUNCH_FAILED && may_launch(r))
        how = launch_one(r);
    if (how == LAUNCH_OVER)
        return;
    if (r->running == NULL) {
        timer_clear(r->order.worker->loop, &r->timer);
        r->order.lost(r->order.context);
        return;
    }
    if (how != LAUNCH_WAITS && !may_launch(r)) { /* before one of those that run has ended */
        timer_clear(r->order.worker->loop, &r->timer);
        return;
    }
    const int64_t now = now_of(r);
    const int64_t delay =
        how == LAUNCH_WAITS
            ? LANE_RETRY_MS
            : eyeballs_delay(r->order.delay_ms, r->order.until_ms - now, r->count - r->next);
    (void)look_at(r, now + delay);
}

static void on_timer(void *context)
{
    launch(context);
}

/* ---- dispatch and life ---- */

void race_start(struct race *r, const struct race_order *order)
{
    r->order = *order;
    r->next = 0;
    timer_init(&r->timer, on_timer, r);
    launch(r);
}

void race_fini(struct race *r, struct loop *loop)
{
    if (r->order.worker == NULL) /* it has not begun */
        return;
    timer_clear(loop, &r->timer);
    while (r->running != NULL)
        drop(r, r->running);
}

void race_event(struct race *r, unsigned events)
{
    for (struct attempt *a = r->running; a != NULL; a = a->next) {
        if (a->io == r->order.io) {
            attempt_event(a, events);
            return;
        }
    }
}

/* The one that asked runs alone. */
bool race_wants_consumer(const struct race *r)
{
    return r->asked && r->running != NULL && attempt_wants_consumer(r->running);
}

void race_consumer(struct race *r, const void *bytes, size_t length)
{
    if (race_wants_consumer(r))
        attempt_consumer(r->running, bytes, length);
}
