#include "histogram.h"

#include <math.h>
#include <string.h>

void histogram_add(struct histogram *h, double bound, double count)
{
    const size_t at = h->count;
    if (at == HISTOGRAM_BUCKETS_MAX || !(bound > 0) || !isfinite(count) || count < 0 ||
        (at > 0 && (bound <= h->bounds[at - 1] || count < h->counts[at - 1])))
        return;
    h->bounds[at] = bound;
    h->counts[at] = count;
    h->count++;
}

double histogram_total(const struct histogram *h)
{
    return h->count > 0 ? h->counts[h->count - 1] : 0;
}

/* They are the numbers that were read, not computed ones. */
static bool same(double a, double b)
{
    return a <= b && a >= b;
}

bool histogram_since(const struct histogram *now, const struct histogram *before,
                     struct histogram *difference_r)
{
    *difference_r = *now;
    if (before == NULL || before->count == 0)
        return true;
    if (before->count != now->count)
        return false;
    for (size_t i = 0; i < now->count; i++) {
        if (!same(now->bounds[i], before->bounds[i]) || now->counts[i] < before->counts[i])
            return false;
        difference_r->counts[i] = now->counts[i] - before->counts[i];
    }
    return true;
}

struct quantile histogram_quantile(const struct histogram *h, double q)
{
    struct quantile found = {.value = -1};
    const double rank = q * histogram_total(h);
    double below = 0, from = 0;
    for (size_t i = 0; i < h->count && histogram_total(h) > 0; i++) {
        const double here = h->counts[i] - below;
        if (here > 0 && h->counts[i] >= rank) {
            found.beyond = isinf(h->bounds[i]) != 0;
            found.value =
                found.beyond ? from : from + (h->bounds[i] - from) * (rank - below) / here;
            return found;
        }
        below = h->counts[i] > below ? h->counts[i] : below;
        from = isinf(h->bounds[i]) ? from : h->bounds[i];
    }
    return found;
}
