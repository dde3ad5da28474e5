#include "heartbeat.h"

#include <esclusa/clock.h>

#include <stdlib.h>
#include <string.h>

/* On the loop's thread. */
static void tick(struct loop_message *message)
{
    struct heartbeat_loop *l = LOOP_OWNER(message, struct heartbeat_loop, message);
    int64_t now_us = clock_us();
    atomic_store(&l->last_lag_us, now_us - atomic_load(&l->posted_us));
    if (atomic_load(&l->ticked_ms) != CLOCK_NEVER)
        atomic_store(&l->ticked_ms, now_us / 1000);
    atomic_store(&l->on_its_way, false); /* last: it may be posted again */
}

static void beat(void *context)
{
    struct heartbeat *h = context;
    atomic_store(&h->main_ticked_ms, clock_ms());
    struct loop *found =
        h->find != NULL && h->loops[h->count].loop == NULL ? h->find(h->find_context) : NULL;
    if (found != NULL)
        heartbeat_watch(h, h->count, found);
    for (unsigned i = 0; i <= h->count; i++) {
        struct heartbeat_loop *l = &h->loops[i];
        if (l->loop == NULL || atomic_load(&l->on_its_way) ||
            atomic_load(&l->ticked_ms) == CLOCK_NEVER)
            continue;
        atomic_store(&l->posted_us, clock_us());
        atomic_store(&l->on_its_way, true);
        loop_post(l->loop, &l->message);
    }
    /* Its place in the heap is still allocated. */
    bool set = timer_set(h->main, &h->timer, loop_now(h->main) + HEARTBEAT_EVERY_MS);
    (void)set;
}

bool heartbeat_init(struct heartbeat *h, struct loop *main, unsigned workers)
{
    memset(h, 0, sizeof *h);
    h->main = main;
    timer_init(&h->timer, beat, h);
    atomic_init(&h->main_ticked_ms, clock_ms());
    h->count = workers;
    h->loops = aligned_alloc(_Alignof(struct heartbeat_loop), (workers + 1) * sizeof *h->loops);
    if (h->loops == NULL)
        return false;
    memset(h->loops, 0, (workers + 1) * sizeof *h->loops);
    for (unsigned i = 0; i <= workers; i++) {
        h->loops[i].message.callback = tick;
        atomic_init(&h->loops[i].ticked_ms, CLOCK_NEVER);
    }
    return true;
}

void heartbeat_watch(struct heartbeat *h, unsigned worker, struct loop *loop)
{
    h->loops[worker].loop = loop;
    atomic_store(&h->loops[worker].ticked_ms, clock_ms());
}

void heartbeat_find(struct heartbeat *h, struct loop *(*find)(void *context), void *context)
{
    h->find = find;
    h->find_context = context;
}

bool heartbeat_start(struct heartbeat *h)
{
    atomic_store(&h->main_ticked_ms, clock_ms());
    return timer_set(h->main, &h->timer, clock_ms());
}

void heartbeat_fini(struct heartbeat *h)
{
    if (h->main != NULL)
        timer_clear(h->main, &h->timer);
    free(h->loops);
    h->loops = NULL;
    h->count = 0;
}

void heartbeat_left(struct heartbeat *h, unsigned worker)
{
    atomic_store(&h->loops[worker].ticked_ms, CLOCK_NEVER);
}

int64_t heartbeat_age_ms(const struct heartbeat *h)
{
    int64_t oldest = atomic_load(&h->main_ticked_ms);
    for (unsigned i = 0; i <= h->count; i++) {
        int64_t ticked = atomic_load(&h->loops[i].ticked_ms);
        if (ticked < oldest)
            oldest = ticked;
    }
    int64_t age = clock_ms() - oldest;
    return age > 0 ? age : 0;
}

int64_t heartbeat_lag_us(const struct heartbeat *h, unsigned worker)
{
    const struct heartbeat_loop *l = &h->loops[worker];
    int64_t lag = atomic_load(&l->last_lag_us);
    if (atomic_load(&l->ticked_ms) == CLOCK_NEVER)
        return 0;
    int64_t so_far = atomic_load(&l->on_its_way) ? clock_us() - atomic_load(&l->posted_us) : 0;
    return so_far > lag ? so_far : lag;
}
