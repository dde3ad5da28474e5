#include "stats.h"

#include <esclusa/clock.h>
#include <esclusa/str.h>

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MS  INT64_C(1000)
#define SEC (1000 * MS)

/* A connect takes a round trip, a handshake one or two and some work. */
static const int64_t short_bounds[STATS_BUCKETS] = {
    500,      1 * MS,   2500,     5 * MS,  10 * MS,   25 * MS, 50 * MS,
    100 * MS, 250 * MS, 500 * MS, 1 * SEC, 2500 * MS, 5 * SEC, 10 * SEC};
static const int64_t long_bounds[STATS_BUCKETS] = {
    10 * MS,  100 * MS,  500 * MS,  1 * SEC,    5 * SEC,     10 * SEC,    30 * SEC,
    60 * SEC, 300 * SEC, 900 * SEC, 3600 * SEC, 14400 * SEC, 43200 * SEC, 86400 * SEC};

const int64_t *stats_bounds(enum stats_histogram which)
{
    return which == STATS_DURATION ? long_bounds : short_bounds;
}

const char *phase_word(enum phase phase)
{
    static const char *const words[] = {
#define PHASE_WORD(name, word) [(name)] = (word),
        PHASE_LIST(PHASE_WORD)
#undef PHASE_WORD
    };
    return words[phase];
}

/* ---- the lists ---- */

struct stats *stats_create(unsigned workers)
{
    struct stats *stats = calloc(1, sizeof *stats);
    if (stats == NULL)
        return NULL;
    stats->workers = workers;
    pthread_mutex_init(&stats->mutex, NULL);
    return stats;
}

static void free_service(struct stats_service *s)
{
    while (s->upstreams != NULL) {
        struct stats_upstream *u = s->upstreams;
        s->upstreams = u->next;
        eject_fini(&u->eject);
        free(u->text);
        free(u);
    }
    gate_fini(&s->gate);
    free(s->name);
    free(s->slots);
    free(s);
}

void stats_destroy(struct stats **stats)
{
    if (*stats == NULL)
        return;
    while ((*stats)->services != NULL) {
        struct stats_service *s = (*stats)->services;
        (*stats)->services = s->next;
        free_service(s);
    }
    pthread_mutex_destroy(&(*stats)->mutex);
    free(*stats);
    *stats = NULL;
}

struct stats_service *stats_find(const struct stats *stats, const char *name)
{
    struct stats_service *s = stats->services;
    while (s != NULL && strcmp(s->name, name) != 0)
        s = s->next;
    return s;
}

/* At the end of the list, so that services are shown in the order they came. */
static struct stats_service *add_service(struct stats *stats, const char *name)
{
    struct stats_service **at = &stats->services;
    struct stats_service *s = calloc(1, sizeof *s);
    if (s == NULL)
        return NULL;
    gate_init(&s->gate);
    s->name = str_dup(name);
    s->slots = aligned_alloc(_Alignof(struct stats_slot), stats->workers * sizeof *s->slots);
    if (s->name == NULL || s->slots == NULL) {
        free_service(s);
        return NULL;
    }
    memset(s->slots, 0, stats->workers * sizeof *s->slots);
    while (*at != NULL)
        at = &(*at)->next;
    *at = s;
    return s;
}

static struct stats_upstream *upstream_of(struct stats_service *s, const char *text)
{
    struct stats_upstream **at = &s->upstreams;
    while (*at != NULL && strcmp((*at)->text, text) != 0)
        at = &(*at)->next;
    if (*at != NULL)
        return *at;
    struct stats_upstream *u = calloc(1, sizeof *u);
    if (u == NULL || (u->text = str_dup(text)) == NULL) {
        free(u);
        return NULL;
    }
    eject_init(&u->eject, (uint64_t)clock_us());
    *at = u;
    return u;
}

static bool attach(struct stats *stats, struct service *service)
{
    const char *name = service->config->name;
    struct stats_service *s = stats_find(stats, name);
    if (s == NULL && (s = add_service(stats, name)) == NULL)
        return false;
    service->stats = s;
    for (size_t i = 0; i < service->upstream_count; i++) {
        struct upstream *up = &service->upstreams[i];
        up->stats = upstream_of(s, up->text);
        if (up->stats == NULL)
            return false;
        up->peer.seen = &up->stats->seen;
    }
    return true;
}

bool stats_attach(struct stats *stats, struct snapshot *snapshot, struct error *err)
{
    bool done = true;
    pthread_mutex_lock(&stats->mutex);
    for (size_t i = 0; done && i < snapshot->service_count; i++)
        done = attach(stats, &snapshot->services[i]);
    pthread_mutex_unlock(&stats->mutex);
    return done || error_set(err, "no memory for statistics");
}

/* ---- counting ---- */

void stats_observe(struct stats_slot *slot, enum stats_histogram which, int64_t us)
{
    if (slot == NULL)
        return;
    const int64_t *bounds = stats_bounds(which);
    size_t i = 0;
    while (i < STATS_BUCKETS && us > bounds[i])
        i++;
    stats_bump(&slot->histograms[which].buckets[i], 1);
    stats_bump(&slot->histograms[which].sum_us, us > 0 ? (uint64_t)us : 0);
}

void stats_ended(struct stats_slot *slot, enum phase phase, enum reason reason, int64_t us)
{
    if (slot == NULL)
        return;
    stats_bump(&slot->ended[reason], 1);
    if (reason_level(reason) <= LOG_LEVEL_WARN)
        stats_bump(&slot->failed[phase][reason], 1);
    stats_observe(slot, STATS_DURATION, us);
}

/* Read before it is written: where all is well its cache line is shared by all workers. */
static void set_seconds(atomic_int_fast64_t *at, int64_t now)
{
    if (atomic_load_explicit(at, memory_order_relaxed) != now)
        atomic_store_explicit(at, now, memory_order_relaxed);
}

static void tried(struct stats_health *h, enum reason reason)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME_COARSE, &now);
    if (reason == REASON_NONE) {
        if (atomic_load_explicit(&h->failed_in_row, memory_order_relaxed) != 0)
            atomic_store_explicit(&h->failed_in_row, 0, memory_order_relaxed);
        set_seconds(&h->last_ok_s, now.tv_sec);
        return;
    }
    atomic_fetch_add_explicit(&h->failed_in_row, 1, memory_order_relaxed);
    atomic_store_explicit(&h->last_reason, (int)reason, memory_order_relaxed);
    set_seconds(&h->last_failed_s, now.tv_sec);
}

/* Our own fault, or a consumer's: whoever may connect could make the gateway look unready. */
static bool says_nothing(enum reason reason)
{
    return reason == REASON_NO_MEMORY || reason == REASON_SPIN_GUARD ||
           reason == REASON_CONSUMER_PROTOCOL_ERROR;
}

void stats_upstream_tried(struct stats_upstream *u, enum reason reason)
{
    if (u == NULL || says_nothing(reason))
        return;
    tried(&u->health, reason);
    if (reason != REASON_NONE)
        atomic_fetch_add_explicit(&u->failed[reason], 1, memory_order_relaxed);
}

void stats_service_tried(struct stats_service *s, enum reason reason)
{
    if (s != NULL && !says_nothing(reason))
        tried(&s->health, reason);
}

/* ---- reading ---- */

static uint64_t get(const atomic_uint_fast64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

uint64_t stats_counter(const struct stats *stats, const struct stats_service *s,
                       enum stats_counter which)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < stats->workers; i++)
        sum += get(&s->slots[i].counters[which]);
    return sum;
}

uint64_t stats_ended_by(const struct stats *stats, const struct stats_service *s,
                        enum reason reason)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < stats->workers; i++)
        sum += get(&s->slots[i].ended[reason]);
    return sum;
}

uint64_t stats_failed_by(const struct stats *stats, const struct stats_service *s, enum phase phase,
                         enum reason reason)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < stats->workers; i++)
        sum += get(&s->slots[i].failed[phase][reason]);
    return sum;
}

uint64_t stats_ended_all(const struct stats *stats, const struct stats_service *s)
{
    uint64_t sum = 0;
    for (int reason = 0; reason < REASON_COUNT; reason++)
        sum += stats_ended_by(stats, s, (enum reason)reason);
    return sum;
}

uint64_t stats_active(const struct stats *stats, const struct stats_service *s)
{
    uint64_t ended = stats_ended_all(stats, s); /* first: never more than were accepted */
    uint64_t accepted = stats_counter(stats, s, STATS_ACCEPTED);
    return accepted > ended ? accepted - ended : 0;
}

void stats_histogram(const struct stats *stats, const struct stats_service *s,
                     enum stats_histogram which, uint64_t *buckets_r, uint64_t *sum_us_r)
{
    memset(buckets_r, 0, (STATS_BUCKETS + 1) * sizeof *buckets_r);
    *sum_us_r = 0;
    for (unsigned i = 0; i < stats->workers; i++) {
        const struct stats_histogram_slot *h = &s->slots[i].histograms[which];
        for (size_t k = 0; k <= STATS_BUCKETS; k++)
            buckets_r[k] += get(&h->buckets[k]);
        *sum_us_r += get(&h->sum_us);
    }
}

bool stats_is_usable(const struct stats_health *h, int64_t now_s)
{
    return atomic_load(&h->failed_in_row) < STATS_FAILED_IN_ROW ||
           now_s - atomic_load(&h->last_failed_s) > STATS_FAILED_FOR_S;
}

bool stats_is_again(const struct service *service, size_t place)
{
    size_t i = 0;
    while (service->upstreams[i].stats != service->upstreams[place].stats)
        i++;
    return i < place;
}

bool stats_passed_over(const struct stats_upstream *u, int64_t now_ms)
{
    return eject_state(&u->eject, now_ms) == EJECT_OUT ||
           atomic_load(&u->check.state) == CHECK_DOWN;
}
