/* From what the user wrote to what sessions run with: addresses parsed, certificate files read. */
#include <esclusa/config.h>
#include <esclusa/str.h>

#include "config_internal.h"

#include <stdlib.h>
#include <string.h>

bool upstream_expected(struct tls_name *name, const struct service_config *s,
                       const struct net_endpoint *at, struct error *err)
{
    return tls_name_set(name, s->server_name != NULL ? s->server_name : at->host, err);
}

/* What was checked once and fails now is rare (no memory); it names the place all the same. */
static bool blame(struct error *err, const struct service_config *s, const char *name,
                  const struct error *reason)
{
    return config_blame(err, service_origin(s, name), name, reason);
}

/* The words of a setting in TLS errors and remedies: as the user writes it. */
static const char *word(const struct service_config *s, const char *flag, const char *name)
{
    return s->at.kind == ORIGIN_FILE ? name : flag;
}

/* An error of the tls module begins with the word of the setting: "ca 'x.pem': ...". For one from
 * a file, the place goes before it. */
static void add_place(struct error *err, const struct service_config *s)
{
    if (s->at.kind != ORIGIN_FILE || !err->set) {
        return;
    }
    char name[OPTION_FLAG_MAX];
    const size_t length = strcspn(err->text, " :");
    (void)str_copy(name, length + 1 < sizeof(name) ? length + 1 : sizeof(name), err->text);
    for (char *p = name; *p != '\0'; p++) {
        if (*p == '-') { /* it makes "ca-dir" of "ca" */
            *p = '_';
        }
    }
    const struct option_row *row = option_by_name(name);
    struct error whole;
    char place[ERROR_TEXT_MAX];
    error_init(&whole);
    config_place(place, sizeof(place), row == NULL ? &s->at : service_origin(s, name),
                 row == NULL ? s->name : row->name);
    (void)error_set(&whole, row == NULL ? "%s: %s" : "%s%s", place,
                    err->text + (row == NULL ? 0 : length));
    *err = whole;
}

static bool make_listeners(struct service *service, bool *tls_r, struct error *err)
{
    const struct text_list *list = &service->config->listen;
    service->listeners = calloc(list->count, sizeof(*service->listeners));
    if (service->listeners == NULL) {
        return error_set(err, "no memory");
    }
    for (size_t i = 0; i < list->count; i++) {
        struct listen_at *at = &service->listeners[i];
        struct error reason;
        error_init(&reason);
        if (!net_endpoint_parse(&at->endpoint, list->items[i], NET_LISTEN, &reason)) {
            return blame(err, service->config, "listen", &reason);
        }
        net_endpoint_format(&at->endpoint, at->text, sizeof(at->text));
        service->listener_count++;
        *tls_r = *tls_r || at->endpoint.scheme == NET_TLS;
    }
    return true;
}

static bool make_upstreams(struct service *service, bool *tls_r, struct error *err)
{
    const struct text_list *list = &service->config->connect;
    service->upstreams = calloc(list->count, sizeof(*service->upstreams));
    if (service->upstreams == NULL) {
        return error_set(err, "no memory");
    }
    for (size_t i = 0; i < list->count; i++) {
        struct upstream *up = &service->upstreams[i];
        struct error reason;
        error_init(&reason);
        if (!net_endpoint_parse(&up->endpoint, list->items[i], NET_CONNECT, &reason)) {
            return blame(err, service->config, "connect", &reason);
        }
        net_endpoint_format(&up->endpoint, up->text, sizeof(up->text));
        service->upstream_count++;
        if (up->endpoint.scheme == NET_TLS) {
            *tls_r = true;
            if (!upstream_expected(&up->expected, service->config, &up->endpoint, &reason)) {
                return blame(err, service->config,
                             service->config->server_name != NULL ? "server_name" : "connect",
                             &reason);
            }
        }
    }
    return true;
}

static struct tls_profile *make_profile(const struct tls_settings *settings,
                                        const struct service_config *s, struct error *err)
{
    struct error reason;
    error_init(&reason);
    struct tls_profile *profile = tls_profile_create(settings, &reason);
    if (profile == NULL) {
        add_place(&reason, s);
        (void)error_set(err, "%s", reason.text);
    }
    return profile;
}

static struct tls_profile *make_upstream_tls(const struct service_config *s, unsigned workers,
                                             struct error *err)
{
    const struct tls_settings settings = {
        .role = TLS_UPSTREAM,
        .ca_file = s->ca,
        .ca_dir = s->ca_dir,
        .cert_file = s->cert,
        .key_file = s->key,
        .min = (enum tls_version)s->tls_min,
        .max = (enum tls_version)s->tls_max,
        .workers = workers,
        .ca_option = s->ca == NULL && s->ca_dir != NULL ? word(s, "--ca-dir", "ca_dir")
                                                        : word(s, "--ca", "ca"),
        .cert_option = word(s, "--cert", "cert"),
        .key_option = word(s, "--key", "key"),
    };
    return make_profile(&settings, s, err);
}

static struct tls_profile *make_downstream_tls(const struct service_config *s, unsigned workers,
                                               struct error *err)
{
    const struct tls_settings settings = {
        .role = TLS_DOWNSTREAM,
        .ca_file = s->listen_ca,
        .cert_file = s->listen_cert,
        .key_file = s->listen_key,
        .min = (enum tls_version)s->tls_min,
        .max = (enum tls_version)s->tls_max,
        .workers = workers,
        .ca_option = word(s, "--listen-ca", "listen_ca"),
        .cert_option = word(s, "--listen-cert", "listen_cert"),
        .key_option = word(s, "--listen-key", "listen_key"),
    };
    return make_profile(&settings, s, err);
}

static bool make_service(struct service *service, const struct service_config *config,
                         unsigned workers, struct error *err)
{
    bool listen_tls = false;
    bool connect_tls = false;
    service->config = config;
    if (!make_listeners(service, &listen_tls, err) || !make_upstreams(service, &connect_tls, err)) {
        return false;
    }
    if (connect_tls) {
        service->upstream_tls = make_upstream_tls(config, workers, err);
        if (service->upstream_tls == NULL) {
            return false;
        }
    }
    if (listen_tls) {
        service->downstream_tls = make_downstream_tls(config, workers, err);
        if (service->downstream_tls == NULL) {
            return false;
        }
    }
    return true;
}

/* All but the config. */
static void free_services(struct snapshot *s)
{
    for (size_t i = 0; i < s->service_count; i++) {
        free(s->services[i].listeners);
        free(s->services[i].upstreams);
        tls_profile_destroy(&s->services[i].upstream_tls);
        tls_profile_destroy(&s->services[i].downstream_tls);
    }
    free(s->services);
}

static unsigned worker_count(const struct config *c)
{
    if (c->workers > 0) {
        return (unsigned)c->workers;
    }
    const unsigned most = (unsigned)option_by_name("workers")->max;
    const unsigned cpus = cpu_allowance();
    return cpus < most ? cpus : most;
}

struct snapshot *snapshot_create(struct config *config, unsigned workers, struct error *err)
{
    struct snapshot *s = calloc(1, sizeof(*s));
    struct service *services = calloc(config->service_count, sizeof(*services));
    if (s == NULL || services == NULL) {
        free(s);
        free(services);
        (void)error_set(err, "no memory");
        return NULL;
    }
    atomic_init(&s->references, 1);
    s->workers = workers > 0 ? workers : worker_count(config);
    s->services = services;
    s->service_count = config->service_count;
    for (size_t i = 0; i < config->service_count; i++) {
        if (!make_service(&services[i], &config->services[i], s->workers, err)) {
            free_services(s);
            free(s);
            return NULL;
        }
    }
    /* The services' configs are on the heap, so the pointers to them outlive this move. */
    s->config = *config;
    memset(config, 0, sizeof(*config));
    return s;
}

struct snapshot *snapshot_ref(struct snapshot *s)
{
    atomic_fetch_add_explicit(&s->references, 1, memory_order_relaxed);
    return s;
}

void snapshot_unref(struct snapshot **s)
{
    struct snapshot *gone = *s;
    *s = NULL;
    /* Release: what this thread read is read before it is freed; acquire: by whoever frees it. */
    if (gone == NULL ||
        atomic_fetch_sub_explicit(&gone->references, 1, memory_order_acq_rel) != 1) {
        return;
    }
    free_services(gone);
    config_fini(&gone->config);
    free(gone);
}

/* ---- in words ---- */

static void describe_upstream(const struct service *service, const struct upstream *up, char *dst,
                              size_t size, size_t *length)
{
    (void)str_append(dst, size, length, "%s", up->text);
    if (up->endpoint.scheme != NET_TLS) {
        (void)str_append(dst, size, length, " in plain");
        return;
    }
    (void)str_append(dst, size, length, " verified as %s against %s", up->expected.text,
                     tls_profile_trust(service->upstream_tls));
    if (service->config->cert != NULL) {
        (void)str_append(dst, size, length, " with client certificate %s", service->config->cert);
    }
}

void service_describe(const struct service *service, const struct listen_at *listener, char *dst,
                      size_t size)
{
    size_t length = 0;
    (void)str_append(dst, size, &length, "%s", listener->text);
    if (listener->endpoint.scheme == NET_TLS && service->config->listen_ca != NULL) {
        (void)str_append(dst, size, &length, " consumers verified against %s",
                         tls_profile_trust(service->downstream_tls));
    }
    for (size_t i = 0; i < service->upstream_count; i++) {
        (void)str_append(dst, size, &length, i == 0 ? " -> " : ", else ");
        describe_upstream(service, &service->upstreams[i], dst, size, &length);
    }
}
