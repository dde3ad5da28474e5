/* histogram: buckets of a Prometheus histogram and the quantiles that they tell. Pure. */
#ifndef ESCLUSA_VIEW_HISTOGRAM_H
#define ESCLUSA_VIEW_HISTOGRAM_H

#include <stdbool.h>
#include <stddef.h>

#define HISTOGRAM_BUCKETS_MAX 40

struct histogram {
    size_t count;
    double
        bounds[HISTOGRAM_BUCKETS_MAX]; /* rising; the last one of a whole histogram is infinite */
    double counts[HISTOGRAM_BUCKETS_MAX]; /* of all up to the bound */
};

struct quantile {
    double value; /* < 0: nothing was observed */
    bool beyond;  /* beyond the last finite bound, which is the value */
};

/* A bucket, in the order of the text; one that does not rise, or not from 0, is passed over. */
void histogram_add(struct histogram *h, double bound, double count);

/* How many were observed. */
double histogram_total(const struct histogram *h);

/* What now has beyond what it had before, which may be NULL. False: nothing can be said, for a
 * count went back or the buckets are others, so that it has begun anew. */
bool histogram_since(const struct histogram *now, const struct histogram *before,
                     struct histogram *difference_r);

/* q: 0 to 1. Within a bucket they are taken to lie evenly, as Prometheus does. */
struct quantile histogram_quantile(const struct histogram *h, double q);

#endif
