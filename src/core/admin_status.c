/* /status: what runs and how it is, as JSON. */
#include "admin.h"
#include "names.h"

#include <esclusa/clock.h>
#include <esclusa/log.h>
#include <esclusa/str.h>

#include <string.h>
#include <time.h>
#include <unistd.h>

/* What verification depends on: none of them is a secret. */
static const char *const verify_settings[] = {
    "insecure_skip_verify",
    "ca",
    "ca_dir",
    "server_name",
    "verify_names",
    "names_policy",
    "x509_strict",
    "pins",
    "pins_policy",
    "tlsa",
    "crl",
    "crl_dir",
    "ocsp",
    "revocation_policy",
    "on_revoked",
    "tls_min",
    "tls_max",
    "security_level",
    "resumption",
    "resumption_age",
    "listen_ca",
    "listen_ca_dir",
    "listen_client",
    "listen_allow_cn",
    "listen_allow_ou",
    "listen_allow_dns",
    "listen_allow_uri",
    "listen_allow_pin",
    "listen_crl",
    "listen_crl_dir",
    "listen_tls_min",
    "listen_tls_max",
    "listen_security_level",
};

void admin_setting(const char *option, char *dst, size_t size)
{
    (void)str_copy(dst, size, option + strspn(option, "-"));
    for (char *p = dst; *p != '\0'; p++) {
        if (*p == '-')
            *p = '_';
    }
}

const char *admin_use_word(enum tls_certificate_use use)
{
    switch (use) {
    case TLS_CERTIFICATE_OWN:
        return "own";
    case TLS_CERTIFICATE_ISSUER:
        return "issuer";
    case TLS_CERTIFICATE_ANCHOR:
        break;
    }
    return "anchor";
}

/* ---- a service ---- */

static void put_listeners(struct json *j, const struct service *s)
{
    json_open(j, "listeners", '[');
    for (size_t i = 0; i < s->listener_count; i++) {
        json_open(j, NULL, '{');
        json_text(j, "address", s->listeners[i].text);
        json_flag(j, "tls", s->listeners[i].endpoint.scheme == NET_TLS);
        json_close(j, '}');
    }
    json_close(j, ']');
}

static const char *state_word(const struct stats_upstream *u)
{
    if (atomic_load(&u->check.state) == CHECK_DOWN)
        return "down";
    if (eject_state(&u->eject, clock_ms()) != EJECT_IN)
        return "ejected";
    if (atomic_load(&u->health.failed_in_row) > 0)
        return "failing";
    return atomic_load(&u->health.last_ok_s) != 0 ? "ok" : "unknown";
}

/* Its place among the others, and what they get instead of it. */
static void put_share(struct json *j, const struct upstream *u)
{
    static const char *const words[] = {
        [CHECK_UNKNOWN] = NULL, [CHECK_UP] = "up", [CHECK_DOWN] = "down"};
    const struct stats_upstream *s = u->stats;
    const int64_t left = atomic_load(&s->eject.due_ms) - clock_ms();
    json_number(j, "weight", u->weight);
    json_flag(j, "backup", u->backup);
    json_number(j, "connections", atomic_load(&s->connections));
    json_number(j, "ejected_for_ms", left > 0 ? left : 0);
    json_number(j, "ejections", (int64_t)atomic_load(&s->eject.times));
    json_text(j, "check", words[atomic_load(&s->check.state)]);
    json_number(j, "alarms", (int64_t)atomic_load(&s->alarms));
}

static void put_served(struct json *j, const struct tls_seen *seen)
{
    if (atomic_load(&seen->seen_s) == 0) {
        json_null(j, "served");
        return;
    }
    json_open(j, "served", '{');
    json_number(j, "seen_seconds", atomic_load(&seen->seen_s));
    json_number(j, "leaf_not_after_seconds", atomic_load(&seen->leaf_not_after_s));
    json_number(j, "chain_not_after_seconds", atomic_load(&seen->chain_not_after_s));
    json_close(j, '}');
}

static void put_upstream(struct json *j, const struct gateway *g, const struct upstream *u)
{
    const struct stats_health *h = &u->stats->health;
    int reason = atomic_load(&h->last_reason);
    json_open(j, NULL, '{');
    json_text(j, "address", u->text);
    json_flag(j, "tls", u->endpoint.scheme == NET_TLS);
    json_text(j, "state", state_word(u->stats));
    json_flag(j, "usable",
              stats_is_usable(h, (int64_t)time(NULL)) && !stats_passed_over(u->stats, clock_ms()));
    put_share(j, u);
    json_number(j, "failures_in_row", atomic_load(&h->failed_in_row));
    admin_seconds(j, "last_ok_seconds", atomic_load(&h->last_ok_s));
    admin_seconds(j, "last_failure_seconds", atomic_load(&h->last_failed_s));
    json_text(j, "last_reason", reason != REASON_NONE ? reason_word((enum reason)reason) : NULL);
    names_put(j, g, u);
    put_served(j, &u->stats->seen);
    json_close(j, '}');
}

static void put_setting(struct json *j, const struct option_row *row,
                        const struct service_config *config)
{
    if (row->type == OPTION_TEXT_LIST) {
        const struct text_list *list =
            (const struct text_list *)(const void *)((const char *)config + row->offset);
        if (list->count == 0)
            return;
        json_open(j, row->name, '[');
        for (size_t i = 0; i < list->count; i++)
            json_text(j, NULL, list->items[i]);
        json_close(j, ']');
        return;
    }
    char value[4096];
    uint64_t number = 0;
    option_format(row, config, value, sizeof value);
    if (row->type == OPTION_FLAG)
        json_flag(j, row->name, strcmp(value, "true") == 0);
    else if (row->type == OPTION_NUMBER && str_parse_u64(value, 0, INT64_MAX, &number))
        json_number(j, row->name, (int64_t)number);
    else if (value[0] != '\0')
        json_text(j, row->name, value);
}

static bool is_of_use(const struct option_row *row, const struct service *s)
{
    switch (row->use) {
    case USE_TLS_UPSTREAM:
        return s->upstream_tls != NULL;
    case USE_TLS_LISTENER:
        return s->downstream_tls != NULL;
    case USE_ANY_TLS:
        return s->upstream_tls != NULL || s->downstream_tls != NULL;
    case USE_ALWAYS:
        break;
    }
    return true;
}

static void put_verify(struct json *j, const struct service *s)
{
    json_open(j, "verify", '{');
    for (size_t i = 0; i < sizeof verify_settings / sizeof verify_settings[0]; i++) {
        for (size_t k = 0; k < option_count; k++) {
            const struct option_row *row = &option_table[k];
            if (strcmp(row->name, verify_settings[i]) == 0 && is_of_use(row, s))
                put_setting(j, row, s->config);
        }
    }
    json_close(j, '}');
    const char *upstream = s->config->insecure_skip_verify ? "skipped" : "verified";
    json_text(j, "verify_upstream", s->upstream_tls == NULL ? "none" : upstream);
    json_text(j, "trust_upstream",
              s->upstream_tls != NULL ? tls_profile_trust(s->upstream_tls) : NULL);
    json_text(j, "trust_consumer",
              s->downstream_tls != NULL ? tls_profile_trust(s->downstream_tls) : NULL);
}

struct side {
    struct json *j;
    const char *word;
};

static void put_certificate(void *context, const struct tls_certificate *c)
{
    const struct side *side = context;
    struct json *j = side->j;
    char setting[48];
    admin_setting(c->option, setting, sizeof setting);
    json_open(j, NULL, '{');
    json_text(j, "side", side->word);
    json_text(j, "setting", setting);
    json_text(j, "use", admin_use_word(c->use));
    json_text(j, "subject", c->subject);
    json_text(j, "serial", c->serial);
    json_number(j, "not_after_seconds", c->not_after_s);
    json_close(j, '}');
}

static void put_crl(void *context, const struct tls_crl *crl)
{
    const struct side *side = context;
    json_open(side->j, NULL, '{');
    json_text(side->j, "side", side->word);
    json_text(side->j, "issuer", crl->issuer);
    admin_seconds(side->j, "next_update_seconds", crl->next_update_s);
    json_close(side->j, '}');
}

static void put_loaded(struct json *j, const struct service *s)
{
    struct side up = {j, "upstream"}, down = {j, "consumer"};
    json_open(j, "certificates", '[');
    if (s->upstream_tls != NULL)
        tls_profile_certificates(s->upstream_tls, put_certificate, &up);
    if (s->downstream_tls != NULL)
        tls_profile_certificates(s->downstream_tls, put_certificate, &down);
    json_close(j, ']');
    json_open(j, "crls", '[');
    if (s->upstream_tls != NULL)
        tls_profile_crls(s->upstream_tls, put_crl, &up);
    if (s->downstream_tls != NULL)
        tls_profile_crls(s->downstream_tls, put_crl, &down);
    json_close(j, ']');
}

static int64_t count(const struct gateway *g, const struct stats_service *s,
                     enum stats_counter which)
{
    return (int64_t)stats_counter(g->stats, s, which);
}

static void put_counts(struct json *j, const struct gateway *g, const struct stats_service *s)
{
    json_open(j, "sessions", '{');
    json_number(j, "active", (int64_t)stats_active(g->stats, s));
    json_number(j, "accepted", count(g, s, STATS_ACCEPTED));
    json_number(j, "ended", (int64_t)stats_ended_all(g->stats, s));
    json_close(j, '}');
    json_open(j, "bytes", '{');
    json_number(j, "up", count(g, s, STATS_BYTES_UP));
    json_number(j, "down", count(g, s, STATS_BYTES_DOWN));
    json_close(j, '}');
    json_open(j, "warm", '{');
    json_number(j, "ready", count(g, s, STATS_WARM_READY));
    json_number(j, "hits", count(g, s, STATS_WARM_HIT));
    json_number(j, "misses", count(g, s, STATS_WARM_MISS));
    json_close(j, '}');
}

/* What is set; 0: no limit. */
static void put_service_limits(struct json *j, const struct service *s)
{
    const struct service_config *c = s->config;
    json_open(j, "limits", '{');
    json_number(j, "connections", (int64_t)atomic_load(&s->stats->gate.inside));
    json_number(j, "max_service_connections", c->max_service_connections);
    json_number(j, "max_consumer_connections", c->max_consumer_connections);
    json_number(j, "max_service_handshakes", c->max_service_handshakes);
    json_number(j, "accept_rate", c->accept_rate);
    json_text(j, "over_limit", c->over_limit == OVER_LIMIT_RESET ? "reset" : "wait");
    json_close(j, '}');
}

static void put_service(struct json *j, const struct gateway *g, const struct service *s)
{
    json_open(j, NULL, '{');
    json_text(j, "name", s->config->name);
    json_flag(j, "required", s->config->required != 0);
    json_flag(j, "usable", stats_is_usable(&s->stats->health, (int64_t)time(NULL)));
    put_listeners(j, s);
    json_open(j, "upstreams", '[');
    for (size_t i = 0; i < s->upstream_count; i++)
        put_upstream(j, g, &s->upstreams[i]);
    json_close(j, ']');
    put_verify(j, s);
    put_loaded(j, s);
    put_counts(j, g, s->stats);
    put_service_limits(j, s);
    json_close(j, '}');
}

/* ---- the gateway ---- */

static void put_ready(struct json *j, const struct gateway *g, const struct snapshot *s)
{
    static const char *const words[] = {
        [GATEWAY_STARTING] = "starting",
        [GATEWAY_READY] = "ready",
        [GATEWAY_DRAINING] = "draining",
    };
    struct text why = {.data = NULL};
    json_text(j, "state", words[atomic_load(&g->state)]);
    json_flag(j, "healthy", admin_healthy(g));
    json_flag(j, "ready", admin_ready(g, s, &why));
    json_open(j, "not_ready", '[');
    char *rest = NULL;
    for (char *line = why.data == NULL ? NULL : strtok_r(why.data, "\n", &rest); line != NULL;
         line = strtok_r(NULL, "\n", &rest))
        json_text(j, NULL, line);
    json_close(j, ']');
    text_fini(&why);
}

static void put_config(struct json *j, struct gateway *g, const struct snapshot *s)
{
    struct reload_facts r;
    facts_reload(&g->facts, &r);
    json_open(j, "config", '{');
    json_text(j, "file", s->config.file);
    json_number(j, "generation", (int64_t)r.generation);
    json_seconds(j, "loaded_seconds", r.loaded_us);
    json_flag(j, "reload_ok", r.ok);
    if (r.ended_us != 0)
        json_seconds(j, "reload_seconds", r.ended_us);
    else
        json_null(j, "reload_seconds");
    json_given(j, "reload_why", r.why);
    json_given(j, "reload_error", r.error);
    json_number(j, "reload_failures", (int64_t)r.failures);
    json_close(j, '}');
}

/* Of all services that there have ever been. */
static void put_sessions(struct json *j, struct gateway *g)
{
    uint64_t accepted = 0, ended = 0;
    pthread_mutex_lock(&g->stats->mutex);
    for (const struct stats_service *s = g->stats->services; s != NULL; s = s->next) {
        ended += stats_ended_all(g->stats, s); /* first: never more than were accepted */
        accepted += stats_counter(g->stats, s, STATS_ACCEPTED);
    }
    pthread_mutex_unlock(&g->stats->mutex);
    json_open(j, "sessions", '{');
    json_number(j, "active", accepted > ended ? (int64_t)(accepted - ended) : 0);
    json_number(j, "accepted", (int64_t)accepted);
    json_number(j, "ended", (int64_t)ended);
    json_close(j, '}');
}

static void put_limits(struct json *j, const struct gateway *g)
{
    const struct worker_group *group = &g->group;
    json_open(j, "limits", '{');
    json_number(j, "descriptors", admin_workers(g) > 0 ? group->descriptors : 0);
    json_number(j, "max_sessions", atomic_load(&group->max_sessions));
    json_number(j, "max_handshakes", atomic_load(&group->max_handshakes));
    json_number(j, "max_warm", atomic_load(&group->max_warm));
    json_close(j, '}');
    json_open(j, "log", '{');
    json_number(j, "lines_dropped", (int64_t)log_lines_dropped());
    json_close(j, '}');
}

static void put_workers(struct json *j, const struct gateway *g)
{
    json_open(j, "workers", '[');
    for (unsigned i = 0; i < admin_workers(g); i++) {
        json_open(j, NULL, '{');
        json_number(j, "worker", i);
        json_number(j, "sessions", atomic_load(&g->group.workers[i].load));
        json_seconds(j, "loop_lag_seconds", heartbeat_lag_us(&g->heartbeat, i));
        json_close(j, '}');
    }
    json_close(j, ']');
}

void admin_status(void *gateway, const struct http_request *request, struct http_answer *answer)
{
    struct gateway *g = gateway;
    struct snapshot *s = facts_snapshot(&g->facts);
    struct json j = {.out = &answer->body};
    int64_t now_us = clock_wall_us();
    (void)request;
    answer->type = HTTP_JSON;
    json_open(&j, NULL, '{');
    json_text(&j, "version", ESCLUSA_VERSION);
    json_text(&j, "openssl", tls_library_version());
    json_number(&j, "pid", getpid());
    put_ready(&j, g, s);
    json_seconds(&j, "time_seconds", now_us);
    json_seconds(&j, "started_seconds", g->facts.started_us);
    json_seconds(&j, "uptime_seconds", clock_us() - g->facts.started_mono_us);
    json_seconds(&j, "heartbeat_age_seconds", heartbeat_age_ms(&g->heartbeat) * 1000);
    put_config(&j, g, s);
    put_sessions(&j, g);
    put_limits(&j, g);
    put_workers(&j, g);
    json_open(&j, "services", '[');
    for (size_t i = 0; i < s->service_count; i++)
        put_service(&j, g, &s->services[i]);
    json_close(&j, ']');
    json_close(&j, '}');
    text_add(&answer->body, "\n");
    snapshot_unref(&s);
}
