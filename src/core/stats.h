/* stats: what the gateway counts. Private to core.
 *
 * - Of each service there is a slot a worker, on cache lines of its own, that only this worker
 *   writes, without a lock and without a locked instruction: a counter is read, added to and
 *   written back. Whoever reads adds the slots up, and may see one counter a moment older than
 *   another.
 * - They are kept by the service's name, and by the upstream's address within it, until the process
 *   ends: a reload finds them again. A service that is gone is shown while it has sessions.
 * - A further counter of a service is one row of STATS_COUNTERS: the metric is made of it. What is
 *   not counted here is a row in admin_metrics.c.
 *
 * The slots and upstreams that a snapshot's services point to live longer than any snapshot. */
#ifndef ESCLUSA_CORE_STATS_H
#define ESCLUSA_CORE_STATS_H

#include "eject.h"
#include "gate.h"
#include "phase.h"

#include <esclusa/config.h>
#include <esclusa/reason.h>
#include <esclusa/relay.h>

#include <pthread.h>
#include <stdatomic.h>

/* X(enum name, metric, type, further labels, meaning); rows of one metric stand together. */
#define STATS_COUNTERS(X)                                                                          \
    X(STATS_ACCEPTED, "esclusa_sessions_accepted_total", "counter", "", "Consumers accepted.")     \
    X(STATS_BYTES_UP, "esclusa_bytes_total", "counter", "direction=\"up\"",                        \
      "Payload bytes, live sessions included.")                                                    \
    X(STATS_BYTES_DOWN, "esclusa_bytes_total", "counter", "direction=\"down\"", "")                \
    X(STATS_CONSUMER_FULL, "esclusa_handshakes_total", "counter",                                  \
      "side=\"consumer\",kind=\"full\"", "TLS handshakes that were good.")                         \
    X(STATS_CONSUMER_RESUMED, "esclusa_handshakes_total", "counter",                               \
      "side=\"consumer\",kind=\"resumed\"", "")                                                    \
    X(STATS_UPSTREAM_FULL, "esclusa_handshakes_total", "counter",                                  \
      "side=\"upstream\",kind=\"full\"", "")                                                       \
    X(STATS_UPSTREAM_RESUMED, "esclusa_handshakes_total", "counter",                               \
      "side=\"upstream\",kind=\"resumed\"", "")                                                    \
    X(STATS_WARM_READY, "esclusa_warm_connections", "gauge", "",                                   \
      "Connections that wait, verified, in the warm pool.")                                        \
    X(STATS_WARM_HIT, "esclusa_warm_taken_total", "counter", "result=\"hit\"",                     \
      "Consumers served from the warm pool, or not.")                                              \
    X(STATS_WARM_MISS, "esclusa_warm_taken_total", "counter", "result=\"miss\"", "")               \
    X(STATS_WARM_CLOSED, "esclusa_warm_discarded_total", "counter", "cause=\"closed\"",            \
      "Connections taken out of the warm pool unused.")                                            \
    X(STATS_WARM_AGED, "esclusa_warm_discarded_total", "counter", "cause=\"aged\"", "")            \
    X(STATS_WARM_CONFIG, "esclusa_warm_discarded_total", "counter", "cause=\"config\"", "")        \
    X(STATS_WARM_SPIN, "esclusa_warm_discarded_total", "counter", "cause=\"spin_guard\"", "")      \
    X(STATS_WARM_OUTRANKED, "esclusa_warm_discarded_total", "counter", "cause=\"outranked\"", "")  \
    X(STATS_WARM_FAILED, "esclusa_warm_failures_total", "counter", "",                             \
      "Attempts to make a warm connection that failed.")                                           \
    X(STATS_LINGER_STUCK, "esclusa_lingers_cut_total", "counter", "cause=\"stuck\"",               \
      "Connections of ended sessions that were closed though the peer had not taken all.")         \
    X(STATS_LINGER_TIMEOUT, "esclusa_lingers_cut_total", "counter", "cause=\"linger_timeout\"",    \
      "")                                                                                          \
    X(STATS_LINGER_SPIN, "esclusa_lingers_cut_total", "counter", "cause=\"spin_guard\"", "")

enum stats_counter {
#define STATS_ENUM(name, metric, type, labels, help) name,
    STATS_COUNTERS(STATS_ENUM)
#undef STATS_ENUM
        STATS_COUNTER_COUNT
};

enum stats_histogram {
    STATS_CONNECT,
    STATS_CONSUMER_HANDSHAKE,
    STATS_UPSTREAM_HANDSHAKE,
    STATS_DURATION,
    STATS_HISTOGRAM_COUNT
};

#define STATS_BUCKETS 14 /* and one for what is above the last */
/* The upper bounds of its buckets, microseconds, ascending. */
const int64_t *stats_bounds(enum stats_histogram which);

struct stats_histogram_slot {
    atomic_uint_fast64_t buckets[STATS_BUCKETS + 1];
    atomic_uint_fast64_t sum_us;
};

/* One service on one worker. */
struct stats_slot {
    _Alignas(64) atomic_uint_fast64_t counters[STATS_COUNTER_COUNT];
    atomic_uint_fast64_t ended[REASON_COUNT];
    atomic_uint_fast64_t failed[PHASE_COUNT][REASON_COUNT];
    struct stats_histogram_slot histograms[STATS_HISTOGRAM_COUNT];
};

/* How the last attempts went. Written by any worker, once an attempt. */
struct stats_health {
    atomic_uint failed_in_row;
    atomic_int_fast64_t last_ok_s, last_failed_s; /* seconds since the epoch; 0: never */
    atomic_int last_reason;                       /* enum reason */
};
/* So many failed attempts in a row, the last of them within so many seconds, make unusable. */
#define STATS_FAILED_IN_ROW 3
#define STATS_FAILED_FOR_S  60

/* What active checks found, see probe.h; written by the one worker that makes them. */
enum check_state { CHECK_UNKNOWN, CHECK_UP, CHECK_DOWN };
struct stats_check {
    atomic_int state;    /* enum check_state */
    atomic_uint against; /* checks in a row that say otherwise */
    atomic_uint_fast64_t good, failed;
};

struct stats_upstream {
    struct stats_upstream *next;
    char *text;
    struct stats_health health;
    struct eject eject;
    struct stats_check check;
    atomic_uint connections;           /* see candidate_enter() */
    atomic_uint_fast64_t alarms;       /* certificates that did not verify and were passed over */
    atomic_int_fast64_t alarm_told_ms; /* rate.h */
    atomic_uint_fast64_t last_good;    /* eyeballs_mark() of an address; 0: none */
    struct tls_seen seen;
    atomic_uint_fast64_t failed[REASON_COUNT];
};

/* Lines about sessions that failed for one reason. */
struct stats_lines {
    atomic_int_fast64_t due_us;    /* rate.h */
    atomic_uint_fast64_t left_out; /* since the last line */
};

struct stats_service {
    struct stats_service *next;
    char *name;
    struct stats_health health; /* over all candidates */
    struct stats_upstream *upstreams;
    struct stats_slot *slots;   /* one a worker */
    struct gate gate;           /* it outlives reloads, too */
    atomic_uint_fast64_t turns; /* of its upstreams, see balance.h */
    struct stats_lines lines[REASON_COUNT];
};

struct stats {
    unsigned workers;
    pthread_mutex_t mutex; /* for the lists: the main thread adds, others read; never a worker */
    struct stats_service *services;
};

/* Main thread. NULL: no memory. */
struct stats *stats_create(unsigned workers);
void stats_destroy(struct stats **stats); /* after the last snapshot that was attached */
/* Main thread, before others see the snapshot: its services and upstreams are given where to
 * count. */
bool stats_attach(struct stats *stats, struct snapshot *snapshot, struct error *err) WARN_UNUSED;

/* ---- counting: the worker that the slot is of ---- */

/* NULL where the service was not attached, as in tests; then nothing is counted below. */
static inline struct stats_slot *stats_slot(const struct service *service, unsigned worker)
{
    return service->stats == NULL ? NULL : &service->stats->slots[worker];
}

/* The limits of a service; NULL as above, and then there are none. */
static inline struct gate *gate_of(const struct service *service)
{
    return service->stats == NULL ? NULL : &service->stats->gate;
}

static inline void stats_bump(atomic_uint_fast64_t *counter, uint64_t by)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + by,
                          memory_order_relaxed);
}

static inline void stats_add(struct stats_slot *slot, enum stats_counter which, uint64_t by)
{
    if (slot != NULL)
        stats_bump(&slot->counters[which], by);
}

static inline void stats_subtract(struct stats_slot *slot, enum stats_counter which)
{
    stats_add(slot, which, UINT64_MAX);
}

void stats_observe(struct stats_slot *slot, enum stats_histogram which, int64_t us);
/* A session has ended; one whose reason is a warning or an error also by its phase. */
void stats_ended(struct stats_slot *slot, enum phase phase, enum reason reason, int64_t us);

/* An attempt with this upstream (all its addresses), or with all candidates of the service, came to
 * an end. REASON_NONE: it was good. What is our own fault (no memory, a spin) or the consumer's
 * says nothing of them. NULL: nothing is noted. */
void stats_upstream_tried(struct stats_upstream *u, enum reason reason);
void stats_service_tried(struct stats_service *s, enum reason reason);

/* ---- reading: any thread; those that walk a list: with the mutex held ---- */

uint64_t stats_counter(const struct stats *stats, const struct stats_service *s,
                       enum stats_counter which);
uint64_t stats_ended_by(const struct stats *stats, const struct stats_service *s,
                        enum reason reason);
uint64_t stats_failed_by(const struct stats *stats, const struct stats_service *s, enum phase phase,
                         enum reason reason);
/* Sessions that ended; those that have not. */
uint64_t stats_ended_all(const struct stats *stats, const struct stats_service *s);
uint64_t stats_active(const struct stats *stats, const struct stats_service *s);
/* buckets_r: STATS_BUCKETS + 1, not cumulated. */
void stats_histogram(const struct stats *stats, const struct stats_service *s,
                     enum stats_histogram which, uint64_t *buckets_r, uint64_t *sum_us_r);
bool stats_is_usable(const struct stats_health *h, int64_t now_s);
/* It is ejected, or down by its checks: consumers get others. now_ms: clock_ms(). */
bool stats_passed_over(const struct stats_upstream *u, int64_t now_ms);
/* The upstream at that place stands before it, too: what is kept of them is one. */
bool stats_is_again(const struct service *service, size_t place);
/* NULL: none of that name. */
struct stats_service *stats_find(const struct stats *stats, const char *name);

#endif
