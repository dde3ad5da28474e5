/* metrics_text: reads the Prometheus text format, version 0.0.4, sample by sample. Pure. A line
 * that is no sample is passed over: one that is read wrong would be worse than one that is missing.
 */
#ifndef ESCLUSA_VIEW_METRICS_TEXT_H
#define ESCLUSA_VIEW_METRICS_TEXT_H

#include <stdbool.h>
#include <stddef.h>

struct metric_sample { /* points into the text */
    const char *name, *labels;
    size_t name_length, labels_length; /* labels: what is between the braces */
    double value;
};

/* The next one at or behind *at, which is moved behind its line; false: there is none left. */
bool metrics_next(const char **at, struct metric_sample *sample);

bool metrics_is(const struct metric_sample *sample, const char *name);

/* The value of a label, clean (view_clean) and cut at the size; false: it has none of that name,
 * and dst is empty. */
bool metrics_label(const struct metric_sample *sample, const char *name, char *dst, size_t size);

#endif
