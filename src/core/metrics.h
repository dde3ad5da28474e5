/* metrics: what the files that make /metrics share. Private to core; the admin's thread.
 *
 * A metric is a row of the table in admin_metrics.c: its name, type and help, and the function that
 * emits its samples. */
#ifndef ESCLUSA_CORE_METRICS_H
#define ESCLUSA_CORE_METRICS_H

#include "admin.h"

struct metrics {
    struct gateway *g;
    struct text *out;
    struct snapshot *s;
    struct reload_facts reload;
    const struct stats_service **shown; /* services that are configured or have sessions */
    size_t shown_count;
    int64_t now_s;
};

struct metric_row {
    const char *name, *type, *help;
    void (*emit)(struct metrics *m, const struct metric_row *row);
    int which;          /* what emit() is to take */
    const char *labels; /* and further labels of it */
};

/* labels: "" or from metrics_labels_of(). */
void metrics_sample(struct metrics *m, const char *name, const char *labels, uint64_t value);
void metrics_sample_time(struct metrics *m, const char *name, const char *labels, int64_t us);
/* The labels of a service and one upstream of it (NULL: none), escaped, with more of them behind;
 * in t, which starts zeroed and is the caller's to free. */
const char *metrics_labels_of(struct text *t, const char *service, const char *upstream,
                              const char *more);

/* metrics_tls.c */
void metrics_reports(struct metrics *m, const struct metric_row *row);
enum metrics_of_loaded { METRICS_NOT_AFTER, METRICS_EXPIRED };
void metrics_loaded(struct metrics *m, const struct metric_row *row);
void metrics_crls(struct metrics *m, const struct metric_row *row);

/* metrics_upstreams.c: of each upstream that is configured */
enum metrics_of_upstream {
    UPSTREAM_USABLE,
    UPSTREAM_CONNECTIONS,
    UPSTREAM_EJECTED,
    UPSTREAM_EJECTIONS,
    UPSTREAM_CHECK_UP, /* left out while it is not known */
    UPSTREAM_CHECKS_GOOD,
    UPSTREAM_CHECKS_FAILED,
    UPSTREAM_ALARMS,
    UPSTREAM_LEAF, /* both are left out before it has shown one */
    UPSTREAM_CHAIN
};
void metrics_upstream(struct metrics *m, const struct metric_row *row);
void metrics_upstream_failures(struct metrics *m, const struct metric_row *row);

/* admin_names.c */
enum metrics_of_names {
    NAMES_LOOKUPS,
    NAMES_KEPT,
    NAMES_STALE,
    NAMES_WAITED,
    NAMES_NEGATIVE,
    NAMES_KNOWN
};
void metrics_names(struct metrics *m, const struct metric_row *row);
void metrics_names_failed(struct metrics *m, const struct metric_row *row);

#endif
