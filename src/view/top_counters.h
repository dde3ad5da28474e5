/* top_counters: what /metrics has beside /status, service by service. Pure. */
#ifndef ESCLUSA_VIEW_TOP_COUNTERS_H
#define ESCLUSA_VIEW_TOP_COUNTERS_H

#include "top_model.h"

/* The caller frees *counters_r; *started_r: when the gateway started, < 0: it does not say. */
bool top_counters_read(const char *metrics, struct top_counters **counters_r, size_t *count_r,
                       double *started_r, struct error *err) WARN_UNUSED;

/* NULL: not there. */
const struct top_counters *top_counters_of(const struct top_counters *counters, size_t count,
                                           const char *service);

#endif
