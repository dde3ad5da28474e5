/* What /metrics says of each upstream. */
#include "metrics.h"
#include "stats.h"

#include <esclusa/clock.h>
#include <esclusa/text.h>

#include <stdio.h>

/* False: there is none yet. */
static bool value_of(const struct metrics *m, const struct stats_upstream *u,
                     enum metrics_of_upstream which, uint64_t *value_r)
{
    const int64_t now = clock_ms();
    switch (which) {
    case UPSTREAM_USABLE:
        *value_r = stats_is_usable(&u->health, m->now_s) && !stats_passed_over(u, now);
        return true;
    case UPSTREAM_CONNECTIONS:
        *value_r = atomic_load(&u->connections);
        return true;
    case UPSTREAM_EJECTED:
        *value_r = eject_state(&u->eject, now) != EJECT_IN;
        return true;
    case UPSTREAM_EJECTIONS:
        *value_r = atomic_load(&u->eject.times);
        return true;
    case UPSTREAM_CHECK_UP:
        *value_r = atomic_load(&u->check.state) == CHECK_UP;
        return atomic_load(&u->check.state) != CHECK_UNKNOWN;
    case UPSTREAM_CHECKS_GOOD:
        *value_r = atomic_load(&u->check.good);
        return true;
    case UPSTREAM_CHECKS_FAILED:
        *value_r = atomic_load(&u->check.failed);
        return true;
    case UPSTREAM_ALARMS:
        *value_r = atomic_load(&u->alarms);
        return true;
    case UPSTREAM_LEAF:
        *value_r = (uint64_t)atomic_load(&u->seen.leaf_not_after_s);
        return atomic_load(&u->seen.seen_s) != 0;
    case UPSTREAM_CHAIN:
        *value_r = (uint64_t)atomic_load(&u->seen.chain_not_after_s);
        return atomic_load(&u->seen.seen_s) != 0;
    }
    return false;
}

void metrics_upstream(struct metrics *m, const struct metric_row *row)
{
    const enum metrics_of_upstream which = (enum metrics_of_upstream)row->which;
    struct text t = {.data = NULL};
    for (size_t i = 0; i < m->s->service_count; i++) {
        const struct service *s = &m->s->services[i];
        for (size_t k = 0; k < s->upstream_count; k++) {
            const struct stats_upstream *u = s->upstreams[k].stats;
            uint64_t value = 0;
            if (stats_is_again(s, k) || !value_of(m, u, which, &value))
                continue;
            const char *labels = metrics_labels_of(&t, s->config->name, u->text, row->labels);
            if (which == UPSTREAM_LEAF || which == UPSTREAM_CHAIN)
                metrics_sample_time(m, row->name, labels, 1000000 * (int64_t)value);
            else
                metrics_sample(m, row->name, labels, value);
        }
    }
    text_fini(&t);
}

void metrics_upstream_failures(struct metrics *m, const struct metric_row *row)
{
    struct text t = {.data = NULL};
    for (size_t i = 0; i < m->s->service_count; i++) {
        const struct service *s = &m->s->services[i];
        for (size_t k = 0; k < s->upstream_count; k++) {
            const struct stats_upstream *u = s->upstreams[k].stats;
            for (int reason = 0; reason < REASON_COUNT && !stats_is_again(s, k); reason++) {
                uint64_t value = atomic_load(&u->failed[reason]);
                char more[64];
                if (value == 0)
                    continue;
                (void)snprintf(more, sizeof more, "reason=\"%s\"",
                               reason_word((enum reason)reason));
                metrics_sample(m, row->name, metrics_labels_of(&t, s->config->name, u->text, more),
                               value);
            }
        }
    }
    text_fini(&t);
}
