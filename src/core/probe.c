#include "probe.h"

#include "candidates.h"
#include "dial.h"
#include "stats.h"
#include "worker.h"

#include <esclusa/log.h>
#include <esclusa/random.h>

#include <stdlib.h>

struct probe_target {
    struct worker *worker;
    const struct service *service;
    const struct upstream *upstream;
    struct dial *dial;  /* NULL: between checks */
    struct loop_io *io; /* of its own memory: an event may be under way when it is given up */
    struct timer timer;
};

struct probe_io {
    struct loop_io io;
    struct loop_deferred gone;
};

static const struct service_config *config_of(const struct probe_target *t)
{
    return t->service->config;
}

/* ---- what came of it ---- */

static void tell(const struct probe_target *t, enum check_state now, const struct dial *d)
{
    struct log_line line;
    const bool down = now == CHECK_DOWN;
    log_begin(&line, down ? LOG_LEVEL_WARN : LOG_LEVEL_INFO,
              down ? "upstream_check_down" : "upstream_check_up");
    log_text(&line, "service", config_of(t)->name);
    log_text(&line, "upstream", t->upstream->text);
    if (down) {
        log_text(&line, "reason", reason_word(d->reason));
        log_text(&line, "error", d->error);
        log_text(&line, "remedy", d->remedy);
    }
    log_end(&line);
}

static void count(const struct probe_target *t, bool good, const struct dial *d)
{
    struct stats_check *c = &t->upstream->stats->check;
    const enum check_state was = (enum check_state)atomic_load(&c->state);
    const enum check_state says = good ? CHECK_UP : CHECK_DOWN;
    const int64_t needed = good ? config_of(t)->check_rise : config_of(t)->check_fall;
    atomic_fetch_add(good ? &c->good : &c->failed, 1);
    if (was == says) {
        atomic_store(&c->against, 0);
        return;
    }
    /* The first word of one that is not known is taken if it is good. */
    if (atomic_fetch_add(&c->against, 1) + 1 < (uint64_t)needed && !(good && was == CHECK_UNKNOWN))
        return;
    atomic_store(&c->against, 0);
    atomic_store(&c->state, (int)says);
    if (was == CHECK_DOWN || says == CHECK_DOWN)
        tell(t, says, d);
}

static void judge(const struct probe_target *t, const struct dial *d)
{
    const bool refused =
        d->reason == REASON_UPSTREAM_VERIFY_FAILED || d->reason == REASON_UPSTREAM_REVOKED;
    /* No descriptor, port or memory here: it says nothing of the upstream. */
    if (d->outcome == ATTEMPT_OURS && d->reason != REASON_UPSTREAM_FORBIDDEN)
        return;
    if (refused)
        candidate_alarm(t->service, t->upstream, &d->address, d->reason, d->error, d->remedy);
    count(t, d->reason == REASON_NONE || refused, d);
}

/* ---- one check ---- */

static void free_io(struct loop_deferred *gone)
{
    free(LOOP_OWNER(gone, struct probe_io, gone));
}

static void give_up(struct probe_target *t)
{
    if (t->dial == NULL)
        return;
    if (dial_ok(t->dial) && t->dial->transport != NULL) /* it is told that we end it */
        (void)t->dial->transport->ops->shut_write(t->dial->transport);
    dial_destroy(&t->dial);
    struct probe_io *own = LOOP_OWNER(t->io, struct probe_io, io);
    own->gone.callback = free_io;
    loop_defer(t->worker->loop, &own->gone);
    t->io = NULL;
}

static void again(struct probe_target *t, int64_t ms)
{
    /* Without memory for it there is no next check; the state stays as it is. */
    (void)!timer_set(t->worker->loop, &t->timer, loop_now(t->worker->loop) + ms);
}

static void over(void *context)
{
    struct probe_target *t = context;
    judge(t, t->dial);
    give_up(t);
}

static void on_io(void *context, unsigned events)
{
    struct probe_target *t = context;
    dial_event(t->dial, events);
}

static void check(void *context)
{
    struct probe_target *t = context;
    again(t, config_of(t)->check_interval);
    if (t->dial != NULL)
        return; /* the last one has not ended: its own deadlines see to that */
    struct probe_io *own = calloc(1, sizeof *own);
    const struct dial_order order = {
        .worker = t->worker,
        .service = t->service,
        .only = t->upstream,
        .connect_only = config_of(t)->check == CHECK_TCP,
        .io = own == NULL ? NULL : &own->io,
        .on_io = on_io,
        .over = over,
        .context = t,
    };
    t->dial = own == NULL ? NULL : dial_create(&order);
    if (t->dial == NULL) {
        free(own);
        return;
    }
    t->io = &own->io;
    dial_start(t->dial);
}

/* ---- life ---- */

void probe_init(struct probe *p, struct worker *worker)
{
    *p = (struct probe){.worker = worker};
}

void probe_stop(struct probe *p)
{
    for (size_t i = 0; i < p->count; i++) {
        timer_clear(p->worker->loop, &p->targets[i].timer);
        give_up(&p->targets[i]);
    }
    free(p->targets);
    p->targets = NULL;
    p->count = 0;
    snapshot_unref(&p->snapshot);
}

/* Whether this worker has to do with it: as the n-th of all upstreams. */
static bool is_ours(const struct probe *p, const struct snapshot *snapshot, size_t n)
{
    return n % snapshot->workers == p->worker->index;
}

static void begin(struct probe *p, const struct service *service, const struct upstream *u)
{
    struct probe_target *t = &p->targets[p->count++];
    const uint64_t interval = (uint64_t)service->config->check_interval;
    *t = (struct probe_target){.worker = p->worker, .service = service, .upstream = u};
    timer_init(&t->timer, check, t);
    /* One that is not known yet is asked at once. */
    const bool known = atomic_load(&u->stats->check.state) != CHECK_UNKNOWN;
    again(t, known ? (int64_t)(random_next(&p->worker->random) % interval) : 0);
}

static void forget(struct stats_upstream *u)
{
    atomic_store(&u->check.against, 0);
    atomic_store(&u->check.state, CHECK_UNKNOWN);
}

bool probe_move(struct probe *p, struct snapshot *snapshot)
{
    size_t all = 0, n = 0;
    if (p->snapshot == snapshot)
        return true;
    probe_stop(p);
    for (size_t i = 0; i < snapshot->service_count; i++)
        all += snapshot->services[i].upstream_count;
    p->targets = calloc(all > 0 ? all : 1, sizeof *p->targets);
    if (p->targets == NULL)
        return false;
    p->snapshot = snapshot_ref(snapshot);
    for (size_t i = 0; i < snapshot->service_count; i++) {
        const struct service *service = &snapshot->services[i];
        for (size_t k = 0; k < service->upstream_count; k++, n++) {
            const struct upstream *u = &service->upstreams[k];
            if (u->stats == NULL || stats_is_again(service, k))
                continue;
            if (service->config->check != CHECK_OFF && is_ours(p, snapshot, n))
                begin(p, service, u);
            else if (service->config->check == CHECK_OFF)
                forget(u->stats); /* each worker: one that has yet to move may still find it down */
        }
    }
    return true;
}
