#include "model.h"
#include "model_json.h"
#include "status.h"

#include <esclusa/str.h>

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#define TEXT(to, from, key, field) model_get_text(from, key, (to)->field, sizeof(to)->field)
#define FLAG(from, key)            json_is_true(json_object_get(from, key))
#define LIST(from, key)            json_object_get(from, key)

static size_t bounded(const json_t *list, size_t most)
{
    return json_array_size(list) < most ? json_array_size(list) : most;
}

static void get_upstream(struct status_upstream *u, const json_t *from)
{
    const json_t *served = json_object_get(from, "served");
    const json_t *dns = json_object_get(from, "dns");
    TEXT(u, from, "address", address);
    TEXT(u, from, "state", state);
    TEXT(u, from, "last_reason", last_reason);
    TEXT(u, dns, "state", dns_state);
    TEXT(u, from, "check", check);
    u->backup = FLAG(from, "backup");
    u->weight = model_get_number(from, "weight");
    u->connections = model_get_number(from, "connections");
    u->ejected_for_ms = model_get_number(from, "ejected_for_ms");
    u->ejections = model_get_number(from, "ejections");
    u->tls = FLAG(from, "tls");
    u->usable = FLAG(from, "usable");
    u->failures_in_row = model_get_number(from, "failures_in_row");
    u->last_ok_s = model_get_number(from, "last_ok_seconds");
    u->last_failure_s = model_get_number(from, "last_failure_seconds");
    u->leaf_end_s = model_get_number(served, "leaf_not_after_seconds");
    u->chain_end_s = model_get_number(served, "chain_not_after_seconds");
    u->dns_addresses = json_array_size(LIST(dns, "addresses"));
}

static void get_certificate(struct status_certificate *c, const json_t *from)
{
    TEXT(c, from, "side", side);
    TEXT(c, from, "setting", setting);
    TEXT(c, from, "use", use);
    TEXT(c, from, "subject", subject);
    c->end_s = model_get_number(from, "not_after_seconds");
}

static void get_crl(struct status_certificate *c, const json_t *from)
{
    TEXT(c, from, "side", side);
    TEXT(c, from, "issuer", subject);
    (void)str_copy(c->use, sizeof c->use, "crl");
    c->end_s = model_get_number(from, "next_update_seconds");
}

static bool get_certificates(struct status_service *s, const json_t *from)
{
    const json_t *certificates = LIST(from, "certificates"), *crls = LIST(from, "crls");
    const size_t loaded = bounded(certificates, STATUS_CERTIFICATES_MAX);
    const size_t lists = bounded(crls, STATUS_CERTIFICATES_MAX);
    s->certificates = calloc(loaded + lists + 1, sizeof *s->certificates);
    if (s->certificates == NULL)
        return false;
    for (size_t i = 0; i < loaded; i++)
        get_certificate(&s->certificates[s->certificate_count++], json_array_get(certificates, i));
    for (size_t i = 0; i < lists; i++)
        get_crl(&s->certificates[s->certificate_count++], json_array_get(crls, i));
    return true;
}

static void get_listeners(struct status_service *s, const json_t *list)
{
    size_t length = 0;
    for (size_t i = 0; i < json_array_size(list); i++) {
        char address[200];
        model_get_text(json_array_get(list, i), "address", address, sizeof address);
        (void)str_append(s->listeners, sizeof s->listeners, &length, "%s%s", length > 0 ? ", " : "",
                         address);
    }
}

static bool get_service(struct status_service *s, const json_t *from)
{
    const json_t *list = LIST(from, "upstreams"), *sessions = json_object_get(from, "sessions");
    const json_t *bytes = json_object_get(from, "bytes"), *warm = json_object_get(from, "warm");
    const json_t *limits = json_object_get(from, "limits");
    const size_t count = bounded(list, STATUS_UPSTREAMS_MAX);
    model_get_name(from, "name", s->name, sizeof s->name);
    TEXT(s, from, "verify_upstream", verify_upstream);
    TEXT(s, from, "trust_upstream", trust_upstream);
    get_listeners(s, LIST(from, "listeners"));
    s->required = FLAG(from, "required");
    s->usable = FLAG(from, "usable");
    s->active = model_get_number(sessions, "active");
    s->accepted = model_get_number(sessions, "accepted");
    s->bytes_up = model_get_number(bytes, "up");
    s->bytes_down = model_get_number(bytes, "down");
    s->warm_ready = model_get_number(warm, "ready");
    s->warm_hits = model_get_number(warm, "hits");
    s->warm_misses = model_get_number(warm, "misses");
    s->connections = model_get_number(limits, "connections");
    s->max_connections = model_get_number(limits, "max_service_connections");
    s->upstreams = calloc(count + 1, sizeof *s->upstreams);
    if (s->upstreams == NULL)
        return false;
    for (size_t i = 0; i < count; i++)
        get_upstream(&s->upstreams[s->upstream_count++], json_array_get(list, i));
    return get_certificates(s, from);
}

static void get_workers(struct status *s, const json_t *list)
{
    s->loop_lag_seconds = -1;
    s->workers = json_array_size(list);
    for (size_t i = 0; i < s->workers; i++) {
        const double lag = model_get_seconds(json_array_get(list, i), "loop_lag_seconds");
        s->loop_lag_seconds = lag > s->loop_lag_seconds ? lag : s->loop_lag_seconds;
    }
}

static void get_gateway(struct status *s, const json_t *root)
{
    const json_t *config = json_object_get(root, "config");
    const json_t *causes = LIST(root, "not_ready"), *first = json_array_get(causes, 0);
    TEXT(s, root, "version", version);
    TEXT(s, root, "state", state);
    TEXT(s, config, "reload_error", reload_error);
    if (json_is_string(first))
        view_clean(s->not_ready, sizeof s->not_ready, json_string_value(first),
                   json_string_length(first));
    s->not_ready_count = json_array_size(causes);
    s->ready = FLAG(root, "ready");
    s->healthy = FLAG(root, "healthy");
    s->reload_ok = FLAG(config, "reload_ok");
    s->pid = model_get_number(root, "pid");
    s->generation = model_get_number(config, "generation");
    s->active = model_get_number(json_object_get(root, "sessions"), "active");
    s->max_sessions = model_get_number(json_object_get(root, "limits"), "max_sessions");
    s->time_seconds = model_get_seconds(root, "time_seconds");
    s->started_seconds = model_get_seconds(root, "started_seconds");
    s->uptime_seconds = model_get_seconds(root, "uptime_seconds");
    get_workers(s, LIST(root, "workers"));
}

static bool get_services(struct status *s, const json_t *list)
{
    const size_t count = bounded(list, STATUS_SERVICES_MAX);
    s->services = calloc(count + 1, sizeof *s->services);
    if (s->services == NULL)
        return false;
    for (size_t i = 0; i < count; i++) {
        s->service_count++; /* first, so that what it has is freed */
        if (!get_service(&s->services[i], json_array_get(list, i)))
            return false;
    }
    return true;
}

bool model_status(struct status *s, const char *json, struct error *err)
{
    memset(s, 0, sizeof *s);
    json_t *root = model_parse(json, err);
    if (root == NULL)
        return false;
    const json_t *list = LIST(root, "services");
    if (!json_is_array(list)) {
        json_decref(root);
        return error_set(err,
                         "the answer has no list \"services\": is it esclusa's admin endpoint?");
    }
    get_gateway(s, root);
    const bool good = get_services(s, list);
    json_decref(root);
    if (good)
        return true;
    model_status_free(s);
    return error_set(err, "no memory");
}

void model_status_free(struct status *s)
{
    for (size_t i = 0; i < s->service_count; i++) {
        free(s->services[i].upstreams);
        free(s->services[i].certificates);
    }
    free(s->services);
    memset(s, 0, sizeof *s);
}
