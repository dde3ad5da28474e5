/* top_model: what `esclusa top` knows of the gateway: the last answers, and what they say beside
 * those before. Pure. A rate is what a counter gained, by the gateway's own clock; a counter that
 * went back, a service that is new and a gateway that was restarted have none. The caller owns the
 * model. */
#ifndef ESCLUSA_VIEW_TOP_MODEL_H
#define ESCLUSA_VIEW_TOP_MODEL_H

#include "histogram.h"
#include "status.h"

#define TOP_NONE (-1.0) /* nothing to say */

enum top_side { TOP_UPSTREAM, TOP_CONSUMER, TOP_SIDES };
enum top_health { TOP_UNKNOWN, TOP_OK, TOP_PART, TOP_DOWN };

/* What /metrics alone has, of one service. */
struct top_counters {
    char service[128];
    struct histogram handshakes[TOP_SIDES];
    double handshakes_total; /* both sides */
    double failures;
};

struct top_row {
    size_t service; /* which of status.services */
    enum top_health health;
    double accept_rate, handshake_rate, up_rate, down_rate, failure_rate; /* a second */
    double active, failures;
    /* Seconds: of the last interval in which there were handshakes, or since the start; both when
     * no bucket says more. */
    struct quantile p50[TOP_SIDES], p99[TOP_SIDES];
    int64_t end_s; /* the first of its certificates' ends; NUMBER_NONE */
    char end_of[340];
};

struct top_model {
    bool known;     /* there was an answer */
    bool restarted; /* between the answer before and this one */
    struct status status;
    struct top_counters *counters;
    size_t counter_count;
    struct top_row *rows; /* as many as services, in their order */
    struct top_row total; /* of all rows; its quantiles and service say nothing */
};

/* The answers of /status and /metrics. False: they cannot be used, the model is as it was, and err
 * says why. */
bool top_model_take(struct top_model *m, const char *status, const char *metrics,
                    struct error *err) WARN_UNUSED;
void top_model_fini(struct top_model *m);

/* NULL: there is none of that name any more. */
const struct top_row *top_model_row(const struct top_model *m, const char *service);

static inline const struct status_service *top_service(const struct top_model *m,
                                                       const struct top_row *row)
{
    return &m->status.services[row->service];
}

#endif
