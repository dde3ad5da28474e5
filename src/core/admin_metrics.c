/* /metrics: the Prometheus text format, version 0.0.4. A metric is a row: of STATS_COUNTERS, where
 * a service's counter is all there is to it, or of the table below. Label values are closed lists
 * of words, numbers of workers, and names that the operator gave: never what a peer sends. */
#include "admin.h"
#include "metrics.h"

#include <esclusa/clock.h>
#include <esclusa/log.h>

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ---- samples ---- */

void metrics_sample(struct metrics *m, const char *name, const char *labels, uint64_t value)
{
    const bool any = labels[0] != '\0';
    text_add(m->out, "%s%s%s%s %" PRIu64 "\n", name, any ? "{" : "", labels, any ? "}" : "", value);
}

void metrics_sample_time(struct metrics *m, const char *name, const char *labels, int64_t us)
{
    const bool any = labels[0] != '\0';
    text_add(m->out, "%s%s%s%s %" PRId64 ".%06" PRId64 "\n", name, any ? "{" : "", labels,
             any ? "}" : "", us / 1000000, us % 1000000);
}

/* The value of a label: an upstream's text may be any path. */
static void add_label(struct text *t, const char *name, const char *value)
{
    text_add(t, "%s%s=\"", t->length > 0 ? "," : "", name);
    for (; *value != '\0'; value++) {
        unsigned char c = (unsigned char)*value;
        if (c == '\\' || c == '"')
            text_put(t, "\\", 1);
        if (c < 0x20 || c >= 0x7f) /* valid UTF-8 is wanted */
            text_add(t, "\\\\x%02x", c);
        else
            text_put(t, value, 1);
    }
    text_put(t, "\"", 1);
}

/* The labels of a service and one upstream of it (NULL: none), with more of them behind. */
const char *metrics_labels_of(struct text *t, const char *service, const char *upstream,
                              const char *more)
{
    text_fini(t);
    if (service != NULL)
        add_label(t, "service", service);
    if (upstream != NULL)
        add_label(t, "upstream", upstream);
    if (more[0] != '\0')
        text_add(t, "%s%s", t->length > 0 ? "," : "", more);
    return t->data != NULL ? t->data : "";
}

/* ---- one value ---- */

enum one {
    ONE_BUILD,
    ONE_START,
    ONE_STATE,
    ONE_READY,
    ONE_HEARTBEAT,
    ONE_GENERATION,
    ONE_RELOAD_OK,
    ONE_RELOAD_TIME,
    ONE_RELOAD_FAILURES,
    ONE_LOG_DROPPED,
    ONE_FAILURES_DROPPED,
    ONE_SESSIONS_MAX,
    ONE_HANDSHAKES,
    ONE_HANDSHAKES_MAX,
    ONE_DESCRIPTORS,
    ONE_DESCRIPTORS_MAX
};

static void emit_build(struct metrics *m, const struct metric_row *row)
{
    struct text labels = {.data = NULL};
    add_label(&labels, "version", ESCLUSA_VERSION);
    add_label(&labels, "openssl", tls_library_version());
    metrics_sample(m, row->name, labels.data != NULL ? labels.data : "", 1);
    text_fini(&labels);
}

static void emit_state(struct metrics *m, const struct metric_row *row)
{
    enum gateway_state state = atomic_load(&m->g->state);
    metrics_sample(m, row->name, "state=\"starting\"", state == GATEWAY_STARTING);
    metrics_sample(m, row->name, "state=\"ready\"", state == GATEWAY_READY);
    metrics_sample(m, row->name, "state=\"draining\"", state == GATEWAY_DRAINING);
}

static uint64_t is_ready(const struct metrics *m)
{
    struct text why = {.data = NULL};
    bool ready = admin_ready(m->g, m->s, &why);
    text_fini(&why);
    return ready;
}

static uint64_t value_of(const struct metrics *m, enum one which)
{
    const struct worker_group *group = &m->g->group;
    switch (which) {
    case ONE_READY:
        return is_ready(m);
    case ONE_GENERATION:
        return m->reload.generation;
    case ONE_RELOAD_OK:
        return m->reload.ok;
    case ONE_RELOAD_FAILURES:
        return m->reload.failures;
    case ONE_LOG_DROPPED:
        return log_lines_dropped();
    case ONE_FAILURES_DROPPED:
        return failures_dropped(m->g->failures);
    case ONE_SESSIONS_MAX:
        return atomic_load(&group->max_sessions);
    case ONE_HANDSHAKES:
        return atomic_load(&group->handshakes);
    case ONE_HANDSHAKES_MAX:
        return atomic_load(&group->max_handshakes);
    case ONE_DESCRIPTORS:
        return 2 * (uint64_t)atomic_load(&group->sessions) + atomic_load(&group->warm);
    case ONE_DESCRIPTORS_MAX:
        return group->descriptors;
    case ONE_BUILD:
    case ONE_START:
    case ONE_STATE:
    case ONE_HEARTBEAT:
    case ONE_RELOAD_TIME:
        break;
    }
    return 0;
}

static void emit_one(struct metrics *m, const struct metric_row *row)
{
    metrics_sample(m, row->name, "", value_of(m, (enum one)row->which));
}

static void emit_time(struct metrics *m, const struct metric_row *row)
{
    int64_t us = row->which == ONE_START       ? m->g->facts.started_us
                 : row->which == ONE_HEARTBEAT ? heartbeat_age_ms(&m->g->heartbeat) * 1000
                                               : m->reload.ended_us;
    metrics_sample_time(m, row->name, "", us);
}

/* ---- one a worker ---- */

static void emit_worker(struct metrics *m, const struct metric_row *row)
{
    for (unsigned i = 0; i < admin_workers(m->g); i++) {
        char labels[32];
        (void)snprintf(labels, sizeof labels, "worker=\"%u\"", i);
        if (row->which == 0)
            metrics_sample(m, row->name, labels, atomic_load(&m->g->group.workers[i].load));
        else
            metrics_sample_time(m, row->name, labels, heartbeat_lag_us(&m->g->heartbeat, i));
    }
}

/* ---- one a service ---- */

static void emit_counter(struct metrics *m, const struct metric_row *row)
{
    struct text t = {.data = NULL};
    for (size_t i = 0; i < m->shown_count; i++)
        metrics_sample(m, row->name, metrics_labels_of(&t, m->shown[i]->name, NULL, row->labels),
                       stats_counter(m->g->stats, m->shown[i], (enum stats_counter)row->which));
    text_fini(&t);
}

static void emit_active(struct metrics *m, const struct metric_row *row)
{
    struct text t = {.data = NULL};
    for (size_t i = 0; i < m->shown_count; i++)
        metrics_sample(m, row->name, metrics_labels_of(&t, m->shown[i]->name, NULL, ""),
                       stats_active(m->g->stats, m->shown[i]));
    text_fini(&t);
}

static void emit_over(struct metrics *m, const struct metric_row *row)
{
    struct text t = {.data = NULL};
    for (size_t i = 0; i < m->shown_count; i++) {
        for (int limit = GATE_NONE + 1; limit < GATE_LIMITS; limit++) {
            char more[64];
            (void)snprintf(more, sizeof more, "limit=\"%s\"", gate_word((enum gate_limit)limit));
            metrics_sample(m, row->name, metrics_labels_of(&t, m->shown[i]->name, NULL, more),
                           atomic_load(&m->shown[i]->gate.over[limit]));
        }
    }
    text_fini(&t);
}

static void emit_ended(struct metrics *m, const struct metric_row *row)
{
    struct text t = {.data = NULL};
    for (size_t i = 0; i < m->shown_count; i++) {
        for (int reason = REASON_NONE + 1; reason < REASON_COUNT; reason++) {
            char more[64];
            (void)snprintf(more, sizeof more, "reason=\"%s\"", reason_word((enum reason)reason));
            metrics_sample(m, row->name, metrics_labels_of(&t, m->shown[i]->name, NULL, more),
                           stats_ended_by(m->g->stats, m->shown[i], (enum reason)reason));
        }
    }
    text_fini(&t);
}

/* Those that there were: the whole square would be large, and most of it cannot be. */
static void emit_failed(struct metrics *m, const struct metric_row *row)
{
    struct text t = {.data = NULL};
    for (size_t i = 0; i < m->shown_count; i++) {
        for (int k = 0; k < PHASE_COUNT * REASON_COUNT; k++) {
            enum phase phase = (enum phase)(k / REASON_COUNT);
            enum reason reason = (enum reason)(k % REASON_COUNT);
            uint64_t value = stats_failed_by(m->g->stats, m->shown[i], phase, reason);
            char more[96];
            if (value == 0)
                continue;
            (void)snprintf(more, sizeof more, "phase=\"%s\",reason=\"%s\"", phase_word(phase),
                           reason_word(reason));
            metrics_sample(m, row->name, metrics_labels_of(&t, m->shown[i]->name, NULL, more),
                           value);
        }
    }
    text_fini(&t);
}

static void emit_histogram(struct metrics *m, const struct metric_row *row)
{
    enum stats_histogram which = (enum stats_histogram)row->which;
    const int64_t *bounds = stats_bounds(which);
    struct text t = {.data = NULL};
    for (size_t i = 0; i < m->shown_count; i++) {
        uint64_t buckets[STATS_BUCKETS + 1], sum_us, count = 0;
        stats_histogram(m->g->stats, m->shown[i], which, buckets, &sum_us);
        const char *labels = metrics_labels_of(&t, m->shown[i]->name, NULL, row->labels);
        for (size_t k = 0; k <= STATS_BUCKETS; k++) {
            count += buckets[k];
            if (k < STATS_BUCKETS)
                text_add(m->out, "%s_bucket{%s,le=\"%g\"} %" PRIu64 "\n", row->name, labels,
                         (double)bounds[k] / 1e6, count);
            else
                text_add(m->out, "%s_bucket{%s,le=\"+Inf\"} %" PRIu64 "\n", row->name, labels,
                         count);
        }
        text_add(m->out, "%s_sum{%s} %" PRIu64 ".%06" PRIu64 "\n", row->name, labels,
                 sum_us / 1000000, sum_us % 1000000);
        text_add(m->out, "%s_count{%s} %" PRIu64 "\n", row->name, labels, count);
    }
    text_fini(&t);
}

static void emit_service_usable(struct metrics *m, const struct metric_row *row)
{
    struct text t = {.data = NULL};
    for (size_t i = 0; i < m->s->service_count; i++) {
        const struct service *s = &m->s->services[i];
        metrics_sample(m, row->name, metrics_labels_of(&t, s->config->name, NULL, ""),
                       stats_is_usable(&s->stats->health, m->now_s));
    }
    text_fini(&t);
}

static void emit_insecure(struct metrics *m, const struct metric_row *row)
{
    struct text t = {.data = NULL};
    for (size_t i = 0; i < m->s->service_count; i++) {
        const struct service *s = &m->s->services[i];
        metrics_sample(m, row->name, metrics_labels_of(&t, s->config->name, NULL, ""),
                       s->upstream_tls != NULL && s->config->insecure_skip_verify);
    }
    text_fini(&t);
}

/* ---- the table ---- */

#define ROW(metric, kind, help_text, how, what, more)                                              \
    {.name = "esclusa_" metric,                                                                    \
     .type = (kind),                                                                               \
     .help = (help_text),                                                                          \
     .emit = (how),                                                                                \
     .which = (what),                                                                              \
     .labels = (more)},
#define COUNTER_ROW(id, metric, kind, more, help_text)                                             \
    {.name = (metric),                                                                             \
     .type = (kind),                                                                               \
     .help = (help_text),                                                                          \
     .emit = emit_counter,                                                                         \
     .which = (id),                                                                                \
     .labels = (more)},

/* clang-format off */
static const struct metric_row rows[] = {
    ROW("build_info", "gauge", "What runs.", emit_build, ONE_BUILD, "")
    ROW("start_time_seconds", "gauge", "When the gateway started.", emit_time, ONE_START, "")
    ROW("state", "gauge", "1 for the state the gateway is in.", emit_state, ONE_STATE, "")
    ROW("ready", "gauge", "1 when /readyz says 200.", emit_one, ONE_READY, "")
    ROW("heartbeat_age_seconds", "gauge", "How long ago the latest of all loops has ticked.",
        emit_time, ONE_HEARTBEAT, "")
    ROW("config_generation", "gauge", "1 at the start, one more with each reload.",
        emit_one, ONE_GENERATION, "")
    ROW("config_last_reload_successful", "gauge", "1 unless the last reload failed.",
        emit_one, ONE_RELOAD_OK, "")
    ROW("config_last_reload_timestamp_seconds", "gauge", "When the last reload ended; 0: none.",
        emit_time, ONE_RELOAD_TIME, "")
    ROW("config_reload_failures_total", "counter", "Reloads that failed.",
        emit_one, ONE_RELOAD_FAILURES, "")
    ROW("log_lines_dropped_total", "counter", "Log lines that their reader did not take.",
        emit_one, ONE_LOG_DROPPED, "")
    ROW("failures_dropped_total", "counter", "Failed sessions that could not be noted.",
        emit_one, ONE_FAILURES_DROPPED, "")
    ROW("sessions_max", "gauge", "The most sessions at once.", emit_one, ONE_SESSIONS_MAX, "")
    ROW("consumer_handshakes", "gauge", "TLS handshakes with consumers in progress.",
        emit_one, ONE_HANDSHAKES, "")
    ROW("consumer_handshakes_max", "gauge", "The most of them at once.",
        emit_one, ONE_HANDSHAKES_MAX, "")
    ROW("descriptors", "gauge",
        "Descriptors that connections may need: two a session, one a warm connection.",
        emit_one, ONE_DESCRIPTORS, "")
    ROW("descriptors_max", "gauge", "What the limit of open files leaves for these.",
        emit_one, ONE_DESCRIPTORS_MAX, "")
    ROW("worker_sessions", "gauge", "Live sessions of a worker.", emit_worker, 0, "")
    ROW("worker_loop_lag_seconds", "gauge", "How long the last heartbeat waited for its turn.",
        emit_worker, 1, "")
    STATS_COUNTERS(COUNTER_ROW)
    ROW("sessions_active", "gauge", "Sessions that have not ended.", emit_active, 0, "")
    ROW("over_limit_total", "counter",
        "How often consumers were over a limit: one that was reset, or a queue that had to wait.",
        emit_over, 0, "")
    ROW("sessions_ended_total", "counter", "Sessions that ended.", emit_ended, 0, "")
    ROW("session_failures_total", "counter",
        "Sessions whose end is a warning or an error, by the phase they were in.",
        emit_failed, 0, "")
    ROW("session_duration_seconds", "histogram", "From accept to end.",
        emit_histogram, STATS_DURATION, "")
    ROW("handshake_duration_seconds", "histogram", "How long good TLS handshakes took.",
        emit_histogram, STATS_CONSUMER_HANDSHAKE, "side=\"consumer\"")
    ROW("handshake_duration_seconds", "histogram", "",
        emit_histogram, STATS_UPSTREAM_HANDSHAKE, "side=\"upstream\"")
    ROW("connect_duration_seconds", "histogram", "How long good connects took.",
        emit_histogram, STATS_CONNECT, "")
    ROW("upstream_failures_total", "counter", "Attempts that failed with an upstream.",
        metrics_upstream_failures, 0, "")
    ROW("upstream_usable", "gauge", "0 while the last attempts have failed, or it is passed over.",
        metrics_upstream, UPSTREAM_USABLE, "")
    ROW("upstream_connections", "gauge", "Connections to it, and attempts at one.",
        metrics_upstream, UPSTREAM_CONNECTIONS, "")
    ROW("upstream_ejected", "gauge", "1 while it is passed over because it did not answer.",
        metrics_upstream, UPSTREAM_EJECTED, "")
    ROW("upstream_ejections_total", "counter", "How often it was ejected.",
        metrics_upstream, UPSTREAM_EJECTIONS, "")
    ROW("upstream_check_up", "gauge", "1 or 0: what its checks have found.",
        metrics_upstream, UPSTREAM_CHECK_UP, "")
    ROW("upstream_checks_total", "counter", "Active checks.",
        metrics_upstream, UPSTREAM_CHECKS_GOOD, "result=\"good\"")
    ROW("upstream_checks_total", "counter", "",
        metrics_upstream, UPSTREAM_CHECKS_FAILED, "result=\"failed\"")
    ROW("upstream_alarms_total", "counter",
        "Certificates that did not verify and ended no session: passed over, or seen by a check.",
        metrics_upstream, UPSTREAM_ALARMS, "")
    ROW("service_usable", "gauge", "0 while the last attempts with all candidates have failed.",
        emit_service_usable, 0, "")
    ROW("dns_lookups_total", "counter", "Names looked up, whatever queries it took.",
        metrics_names, NAMES_LOOKUPS, "")
    ROW("dns_failures_total", "counter", "Of them, those that failed.",
        metrics_names_failed, 0, "")
    ROW("dns_questions_total", "counter", "Names asked for by sessions and the warm pool, and what they were answered from.",
        metrics_names, NAMES_KEPT, "from=\"cache\"")
    ROW("dns_questions_total", "counter", "", metrics_names, NAMES_WAITED, "from=\"lookup\"")
    ROW("dns_questions_total", "counter", "", metrics_names, NAMES_NEGATIVE, "from=\"failure\"")
    ROW("dns_stale_total", "counter", "Answers given although they were old.",
        metrics_names, NAMES_STALE, "")
    ROW("dns_names", "gauge", "Names of which something is kept.", metrics_names, NAMES_KNOWN, "")
    ROW("policy_reports_total", "counter", "What a policy of report let pass.",
        metrics_reports, 0, "")
    ROW("insecure_skip_verify", "gauge", "1: the upstream is not verified.",
        emit_insecure, 0, "")
    ROW("certificate_not_after_timestamp_seconds", "gauge",
        "The first end of the loaded certificates, expired ones aside.",
        metrics_loaded, METRICS_NOT_AFTER, "")
    ROW("certificates_expired", "gauge", "Loaded certificates that have expired.",
        metrics_loaded, METRICS_EXPIRED, "")
    ROW("crl_next_update_timestamp_seconds", "gauge",
        "The first nextUpdate of the loaded revocation lists.", metrics_crls, 0, "")
    ROW("upstream_leaf_not_after_timestamp_seconds", "gauge",
        "End of the certificate that the upstream showed last.", metrics_upstream, UPSTREAM_LEAF, "")
    ROW("upstream_chain_not_after_timestamp_seconds", "gauge",
        "The first end in its chain.", metrics_upstream, UPSTREAM_CHAIN, "")
};
/* clang-format on */

static bool is_configured(const struct snapshot *s, const struct stats_service *service)
{
    for (size_t i = 0; i < s->service_count; i++) {
        if (s->services[i].stats == service)
            return true;
    }
    return false;
}

/* They live as long as the process, so the mutex is for the list alone. */
static void choose_shown(struct metrics *m)
{
    struct stats *stats = m->g->stats;
    size_t count = 0;
    pthread_mutex_lock(&stats->mutex);
    for (const struct stats_service *s = stats->services; s != NULL; s = s->next)
        count++;
    m->shown = calloc(count > 0 ? count : 1, sizeof(const struct stats_service *));
    if (m->shown == NULL)
        m->out->failed = true;
    for (const struct stats_service *s = stats->services; m->shown != NULL && s != NULL;
         s = s->next) {
        if (is_configured(m->s, s) || stats_active(stats, s) > 0)
            m->shown[m->shown_count++] = s;
    }
    pthread_mutex_unlock(&stats->mutex);
}

void admin_metrics(void *gateway, const struct http_request *request, struct http_answer *answer)
{
    struct gateway *g = gateway;
    struct metrics m = {
        .g = g, .out = &answer->body, .s = facts_snapshot(&g->facts), .now_s = (int64_t)time(NULL)};
    const char *last = "";
    (void)request;
    answer->type = HTTP_PROMETHEUS;
    facts_reload(&g->facts, &m.reload);
    choose_shown(&m);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (strcmp(rows[i].name, last) != 0)
            text_add(m.out, "# HELP %s %s\n# TYPE %s %s\n", rows[i].name, rows[i].help,
                     rows[i].name, rows[i].type);
        last = rows[i].name;
        rows[i].emit(&m, &rows[i]);
    }
    free(m.shown);
    snapshot_unref(&m.s);
}
