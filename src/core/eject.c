#include "eject.h"

#include <esclusa/random.h>

#define ROUNDS_MAX 16

void eject_init(struct eject *e, uint64_t seed)
{
    pthread_mutex_init(&e->mutex, NULL);
    e->random = seed;
}

void eject_fini(struct eject *e)
{
    pthread_mutex_destroy(&e->mutex);
}

enum eject_state eject_state(const struct eject *e, int64_t now_ms)
{
    const int64_t due = atomic_load(&e->due_ms);
    if (due == 0)
        return EJECT_IN;
    return now_ms < due || atomic_load(&e->trying) ? EJECT_OUT : EJECT_DUE;
}

bool eject_may_try(struct eject *e, int64_t now_ms, bool *trying_r)
{
    bool nobody = false;
    *trying_r = false;
    switch (eject_state(e, now_ms)) {
    case EJECT_IN:
        return true;
    case EJECT_OUT:
        return false;
    case EJECT_DUE:
        *trying_r = atomic_compare_exchange_strong(&e->trying, &nobody, true);
        return *trying_r;
    }
    return false;
}

void eject_undecided(struct eject *e, bool trying)
{
    if (trying)
        atomic_store(&e->trying, false);
}

bool eject_answered(struct eject *e, int64_t began_ms, int64_t now_ms, bool trying)
{
    if (atomic_load(&e->missed) == 0 && atomic_load(&e->due_ms) == 0) { /* as ever */
        eject_undecided(e, trying);
        return false;
    }
    bool back = false;
    pthread_mutex_lock(&e->mutex);
    const bool out = atomic_load(&e->due_ms) != 0;
    if (!out || trying || began_ms >= atomic_load(&e->since_ms)) {
        back = out;
        atomic_store(&e->missed, 0);
        if (back) {
            e->back_ms = now_ms;
            atomic_store(&e->due_ms, 0);
        }
    }
    eject_undecided(e, trying);
    pthread_mutex_unlock(&e->mutex);
    return back;
}

/* Twice as long each time in a row; one that stayed in for as long as it had been out, twice over,
 * begins anew. Give or take a fifth, so that gateways do not all come back at once. */
static int64_t eject_now(struct eject *e, const struct eject_rules *rules, int64_t now_ms)
{
    if (e->round > 0 && atomic_load(&e->due_ms) == 0 && now_ms - e->back_ms > 2 * e->last_ms)
        e->round = 0;
    int64_t ms = rules->least_ms;
    for (unsigned i = 0; i < e->round && ms < rules->max_ms; i++)
        ms *= 2;
    if (ms > rules->max_ms)
        ms = rules->max_ms;
    if (e->round < ROUNDS_MAX)
        e->round++;
    const int64_t fifth = ms / 5;
    ms += (int64_t)(random_next(&e->random) % (uint64_t)(2 * fifth + 1)) - fifth;
    e->last_ms = ms > 0 ? ms : 1;
    atomic_store(&e->since_ms, now_ms);
    atomic_store(&e->due_ms, now_ms + e->last_ms);
    atomic_fetch_add(&e->times, 1);
    return e->last_ms;
}

int64_t eject_missed(struct eject *e, const struct eject_rules *rules, int64_t began_ms,
                     int64_t now_ms, bool trying)
{
    int64_t ms = 0;
    pthread_mutex_lock(&e->mutex);
    const bool out = atomic_load(&e->due_ms) != 0;
    if (out) {
        if (trying && rules->after > 0)
            ms = eject_now(e, rules, now_ms);
        else if (rules->after == 0) /* a reload has switched it off */
            atomic_store(&e->due_ms, 0);
    } else if (began_ms >= e->back_ms) {
        const unsigned missed = atomic_fetch_add(&e->missed, 1) + 1;
        if (rules->after > 0 && missed >= (uint64_t)rules->after)
            ms = eject_now(e, rules, now_ms);
    }
    eject_undecided(e, trying);
    pthread_mutex_unlock(&e->mutex);
    return ms;
}
