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

static bool make_listeners(struct service *service, bool *tls_r, struct error *err)
{
    const struct text_list *list = &service->config->listen;
    service->listeners = calloc(list->count, sizeof(*service->listeners));
    if (service->listeners == NULL) {
        return error_set(err, "no memory");
    }
    for (size_t i = 0; i < list->count; i++) {
        struct listen_at *at = &service->listeners[i];
        if (!net_endpoint_parse(&at->endpoint, list->items[i], NET_LISTEN, err)) {
            error_prefix(err, "--listen");
            return false;
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
        if (!net_endpoint_parse(&up->endpoint, list->items[i], NET_CONNECT, err)) {
            error_prefix(err, "--connect");
            return false;
        }
        net_endpoint_format(&up->endpoint, up->text, sizeof(up->text));
        service->upstream_count++;
        if (up->endpoint.scheme == NET_TLS) {
            *tls_r = true;
            if (!upstream_expected(&up->expected, service->config, &up->endpoint, err)) {
                error_prefix(err, "%s",
                             service->config->server_name != NULL ? "--server-name" : "--connect");
                return false;
            }
        }
    }
    return true;
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
        .ca_option = s->ca == NULL && s->ca_dir != NULL ? "--ca-dir" : "--ca",
        .cert_option = "--cert",
        .key_option = "--key",
    };
    return tls_profile_create(&settings, err);
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
        .ca_option = "--listen-ca",
        .cert_option = "--listen-cert",
        .key_option = "--listen-key",
    };
    return tls_profile_create(&settings, err);
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

struct snapshot *snapshot_create(struct config *config, struct error *err)
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
    s->workers = worker_count(config);
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

/* A path may hold anything but NUL: the line stays one line. */
static void print_escaped(FILE *out, const char *text)
{
    const size_t length = strlen(text);
    const size_t size = 4 * length + 1;
    char *escaped = malloc(size);
    if (escaped == NULL) {
        return;
    }
    str_escape(escaped, size, text, length);
    fputs(escaped, out);
    free(escaped);
}

static void print_settings(const struct snapshot *s, enum option_scope scope, const void *base,
                           FILE *out)
{
    for (size_t i = 0; i < option_count; i++) {
        const struct option_row *row = &option_table[i];
        if (row->scope != scope) {
            continue;
        }
        char value[8192];
        option_format(row, base, value, sizeof(value));
        if (scope == OPTION_GLOBAL && row->offset == offsetof(struct config, workers)) {
            size_t length = 0;
            (void)str_append(value, sizeof(value), &length, "%u", s->workers);
        }
        if (value[0] != '\0') {
            fprintf(out, "%s = ", row->name);
            print_escaped(out, value);
            fputc('\n', out);
        }
    }
}

void snapshot_print(const struct snapshot *s, FILE *out)
{
    print_settings(s, OPTION_GLOBAL, &s->config, out);
    for (size_t i = 0; i < s->service_count; i++) {
        const struct service *service = &s->services[i];
        print_settings(s, OPTION_SERVICE, service->config, out);
        for (size_t n = 0; n < service->listener_count; n++) {
            char sentence[SERVICE_TEXT_MAX];
            service_describe(service, &service->listeners[n], sentence, sizeof(sentence));
            print_escaped(out, sentence);
            fputc('\n', out);
        }
    }
}
