#include "listing.h"

#include "heartbeat.h"
#include "session.h"

#include <esclusa/clock.h>

#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ---- on the worker ---- */

static void copy(struct listed *c, const struct session *s)
{
    const struct dial *d = s->dial;
    memset(c, 0, sizeof *c);
    c->id = s->id;
    c->worker = s->worker->index;
    c->phase = session_phase(s);
    c->snapshot = snapshot_ref(s->snapshot);
    c->service = s->service;
    c->at = s->at;
    c->upstream = d != NULL ? d->upstream : s->upstream;
    c->consumer = s->consumer;
    if (s->proxied != NULL)
        c->peer = s->proxied->peer;
    c->address = d != NULL ? d->address : s->upstream_address;
    c->age_us = clock_us() - s->began_us;
    c->idle_us = -1;
    c->warm = s->warm;
    c->half_closed = s->half_closed;
    if (!s->relaying)
        return;
    c->idle_us = (loop_now(s->worker->loop) - s->active_ms) * 1000;
    c->bytes_up = s->relay.from[RELAY_DOWN].bytes;
    c->bytes_down = s->relay.from[RELAY_UP].bytes;
    c->tls = transport_tls_info(s->transport[RELAY_UP], &c->info);
}

static void answered(struct listing_part *p)
{
    struct listing *l = p->listing;
    p->walking = false;
    pthread_mutex_lock(&l->mutex);
    if (--l->waiting == 0)
        pthread_cond_signal(&l->done);
    pthread_mutex_unlock(&l->mutex);
}

/* The newest session is the first of the list: ids fall along it. */
static void walk(struct loop_message *message)
{
    struct listing_part *p = LOOP_OWNER(message, struct listing_part, message);
    const struct listing *l = p->listing;
    if (!p->walking)
        p->next = p->worker->sessions;
    p->walking = true;
    for (int i = 0; i < LISTING_TURN && p->next != NULL && p->count < l->limit; i++) {
        const struct session *s = p->next;
        p->next = s->next;
        if (s->id < l->below)
            copy(&p->items[p->count++], s);
    }
    if (p->next != NULL && p->count < l->limit)
        loop_post(p->worker->loop, &p->message);
    else
        answered(p);
}

void listing_forget(struct listing_part *p, const struct session *s)
{
    if (p->walking && p->next == s)
        p->next = s->next;
}

void listing_part_init(struct listing_part *p, struct worker *w)
{
    *p = (struct listing_part){.worker = w};
    p->message.callback = walk;
}

/* ---- whoever asks ---- */

void listing_init(struct listing *l, struct worker_group *group)
{
    memset(l, 0, sizeof *l);
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_mutex_init(&l->mutex, NULL);
    pthread_cond_init(&l->done, &attributes);
    pthread_condattr_destroy(&attributes);
    l->group = group;
}

void listing_free(struct listed *items, size_t count)
{
    for (size_t i = 0; i < count; i++)
        snapshot_unref(&items[i].snapshot);
    free(items);
}

/* What is left of the one before. */
static void clear_parts(struct listing *l)
{
    for (unsigned i = 0; i < l->workers; i++) {
        struct listing_part *p = &l->group->workers[i].listing;
        listing_free(p->items, p->count);
        p->items = NULL;
        p->count = 0;
    }
    l->workers = 0;
}

void listing_fini(struct listing *l)
{
    if (l->group == NULL)
        return;
    clear_parts(l);
    pthread_cond_destroy(&l->done);
    pthread_mutex_destroy(&l->mutex);
    l->group = NULL;
}

/* False: no memory, and nobody is asked. */
static bool ask(struct listing *l, unsigned workers)
{
    l->workers = workers;
    for (unsigned i = 0; i < workers; i++) {
        struct listing_part *p = &l->group->workers[i].listing;
        p->listing = l;
        p->items = calloc(l->limit, sizeof *p->items);
        if (p->items == NULL)
            return false;
    }
    l->waiting = workers;
    for (unsigned i = 0; i < workers; i++)
        loop_post(l->group->workers[i].loop, &l->group->workers[i].listing.message);
    return true;
}

/* True: all have answered. A worker that has ended has no sessions, and nothing to say. */
static bool wait_for_all(struct listing *l)
{
    struct timespec until;
    bool all = true;
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += LISTING_WAIT_MS / 1000;
    pthread_mutex_lock(&l->mutex);
    while (l->waiting > 0 && all)
        all = pthread_cond_timedwait(&l->done, &l->mutex, &until) == 0;
    all = l->waiting == 0;
    pthread_mutex_unlock(&l->mutex);
    return all;
}

static int newest_first(const void *a, const void *b)
{
    uint64_t first = ((const struct listed *)a)->id, second = ((const struct listed *)b)->id;
    return first < second ? 1 : first > second ? -1 : 0;
}

/* The newest of what all have copied; the rest is dropped with the parts. */
static bool merge(struct listing *l, struct listed **items_r, size_t *count_r)
{
    size_t total = 0;
    for (unsigned i = 0; i < l->workers; i++)
        total += l->group->workers[i].listing.count;
    struct listed *all = calloc(total > 0 ? total : 1, sizeof *all);
    if (all == NULL)
        return false;
    size_t count = 0;
    for (unsigned i = 0; i < l->workers; i++) {
        struct listing_part *p = &l->group->workers[i].listing;
        if (p->count > 0)
            memcpy(&all[count], p->items, p->count * sizeof *all);
        count += p->count;
        p->count = 0; /* the references have moved */
    }
    qsort(all, count, sizeof *all, newest_first);
    while (count > l->limit)
        snapshot_unref(&all[--count].snapshot);
    *items_r = all;
    *count_r = count;
    return true;
}

enum listing_status listing_take(struct listing *l, unsigned workers, uint64_t below, size_t limit,
                                 struct listed **items_r, size_t *count_r)
{
    *items_r = NULL;
    *count_r = 0;
    if (!wait_for_all(l)) /* the one before */
        return LISTING_LATE;
    clear_parts(l);
    l->below = below;
    l->limit = limit;
    if (!ask(l, workers)) {
        clear_parts(l);
        return LISTING_NO_MEMORY;
    }
    if (!wait_for_all(l))
        return LISTING_LATE;
    bool merged = merge(l, items_r, count_r);
    clear_parts(l);
    return merged ? LISTING_OK : LISTING_NO_MEMORY;
}
