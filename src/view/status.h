/* status: what /status says, as far as it is shown; model_status.c reads it. As in model.h: what is
 * missing is empty, NUMBER_NONE or < 0, texts are clean, lists are cut at their bounds. */
#ifndef ESCLUSA_VIEW_STATUS_H
#define ESCLUSA_VIEW_STATUS_H

#include <esclusa/error.h>

#include <stddef.h>
#include <stdint.h>

#define STATUS_SERVICES_MAX     4096
#define STATUS_UPSTREAMS_MAX    256
#define STATUS_CERTIFICATES_MAX 1024

struct status_upstream {
    char address[300], state[16], last_reason[60], dns_state[16], check[16];
    bool tls, usable, backup;
    int64_t weight, connections, ejected_for_ms, ejections;
    int64_t failures_in_row, last_ok_s, last_failure_s; /* seconds since 1970, as the next */
    int64_t leaf_end_s, chain_end_s;                    /* of what it showed last */
    size_t dns_addresses;
};

struct status_certificate {
    char side[16], setting[48], use[16], subject[512]; /* use "crl": a revocation list */
    int64_t end_s;
};

struct status_service {
    char name[128], listeners[300], verify_upstream[16], trust_upstream[200];
    bool required, usable;
    struct status_upstream *upstreams;
    struct status_certificate *certificates;
    size_t upstream_count, certificate_count;
    int64_t active, accepted, bytes_up, bytes_down;
    int64_t warm_ready, warm_hits, warm_misses;
    int64_t connections, max_connections;
};

struct status {
    char version[40], state[16], not_ready[300], reload_error[500];
    bool ready, healthy, reload_ok;
    size_t not_ready_count; /* not_ready is the first of these causes */
    int64_t pid, generation, active, max_sessions;
    double time_seconds, started_seconds, uptime_seconds, loop_lag_seconds; /* the largest */
    size_t workers;
    struct status_service *services;
    size_t service_count;
};

bool model_status(struct status *s, const char *json, struct error *err) WARN_UNUSED;
void model_status_free(struct status *s);

#endif
