#include "top_counters.h"

#include "metrics_text.h"

#include <esclusa/str.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define PREFIX    "esclusa_"
#define COUNT_MAX 1e20 /* beyond any counter of 64 bits: no sum of them is infinite */

struct reader {
    struct top_counters *items;
    size_t count, room, last; /* last: samples of a service stand together */
    bool failed;              /* no memory */
    double started;
};

const struct top_counters *top_counters_of(const struct top_counters *counters, size_t count,
                                           const char *service)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(counters[i].service, service) == 0)
            return &counters[i];
    }
    return NULL;
}

/* That of the service, made where it is new; NULL: no memory, or too many. */
static struct top_counters *place(struct reader *r, const char *service)
{
    if (r->last < r->count && strcmp(r->items[r->last].service, service) == 0)
        return &r->items[r->last];
    for (r->last = 0; r->last < r->count; r->last++) {
        if (strcmp(r->items[r->last].service, service) == 0)
            return &r->items[r->last];
    }
    if (r->count == r->room) {
        const size_t room = r->room == 0 ? 16 : r->room * 2;
        struct top_counters *items =
            room > 2 * (size_t)STATUS_SERVICES_MAX ? NULL : realloc(r->items, room * sizeof *items);
        r->failed = items == NULL;
        if (r->failed)
            return NULL;
        r->items = items;
        r->room = room;
    }
    struct top_counters *made = &r->items[r->count++];
    memset(made, 0, sizeof *made);
    (void)str_copy(made->service, sizeof made->service, service);
    return made;
}

static double bound_of(const struct metric_sample *s)
{
    char text[32];
    return metrics_label(s, "le", text, sizeof text) ? strtod(text, NULL) : NAN;
}

static void take(struct reader *r, const struct metric_sample *s)
{
    char service[sizeof r->items->service], side[16];
    const bool buckets = metrics_is(s, PREFIX "handshake_duration_seconds_bucket");
    const bool failures = metrics_is(s, PREFIX "session_failures_total");
    const bool handshakes = metrics_is(s, PREFIX "handshakes_total");
    if (metrics_is(s, PREFIX "start_time_seconds"))
        r->started = s->value;
    if ((!buckets && !failures && !handshakes) || !(s->value >= 0 && s->value <= COUNT_MAX) ||
        !metrics_label(s, "service", service, sizeof service))
        return;
    struct top_counters *c = place(r, service);
    if (c == NULL)
        return;
    if (failures)
        c->failures += s->value;
    if (handshakes)
        c->handshakes_total += s->value;
    if (buckets && metrics_label(s, "side", side, sizeof side))
        histogram_add(&c->handshakes[strcmp(side, "consumer") == 0 ? TOP_CONSUMER : TOP_UPSTREAM],
                      bound_of(s), s->value);
}

bool top_counters_read(const char *metrics, struct top_counters **counters_r, size_t *count_r,
                       double *started_r, struct error *err)
{
    struct reader r = {.started = -1};
    struct metric_sample sample;
    while (!r.failed && metrics_next(&metrics, &sample))
        take(&r, &sample);
    if (r.failed) {
        free(r.items);
        return error_set(err, "no memory, or too many services in /metrics");
    }
    *counters_r = r.items;
    *count_r = r.count;
    *started_r = r.started;
    return true;
}
