/* From what the user wrote to what sessions run with: addresses parsed, certificate files read. */
#include <esclusa/config.h>
#include <esclusa/str.h>

#include "config_internal.h"

#include <stdlib.h>
#include <string.h>

bool upstream_server_name(struct tls_name *name, const struct service_config *s,
                          const struct net_endpoint *at, struct error *err)
{
    return tls_name_set(name, s->server_name != NULL ? s->server_name : net_endpoint_name(at), err);
}

/* What was checked once and fails now is rare (no memory); it names the place all the same. */
static bool blame(struct error *err, const struct service_config *s, const char *name,
                  const struct error *reason)
{
    return config_blame(err, service_origin(s, name), name, reason);
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
        if (*p == '-') {
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

/* The names that every upstream of the service must bear one of; none: each its server name. */
static bool make_names(struct service *service, struct error *err)
{
    const struct text_list *list = &service->config->verify_names;
    service->names = calloc(list->count > 0 ? list->count : 1, sizeof(*service->names));
    if (service->names == NULL) {
        return error_set(err, "no memory");
    }
    for (size_t i = 0; i < list->count; i++) {
        struct error reason;
        error_init(&reason);
        if (!tls_name_set(&service->names[i], list->items[i], &reason)) {
            return blame(err, service->config, "verify_names", &reason);
        }
    }
    return true;
}

static bool make_peer(struct service *service, struct upstream *up, size_t index, struct error *err)
{
    const struct service_config *c = service->config;
    struct error reason;
    error_init(&reason);
    if (!upstream_server_name(&up->peer.server_name, c, &up->endpoint, &reason)) {
        return blame(err, c, c->server_name != NULL ? "server_name" : "connect", &reason);
    }
    const bool own = c->verify_names.count == 0;
    up->peer.names = own ? &up->peer.server_name : service->names;
    up->peer.name_count = own ? 1 : c->verify_names.count;
    up->peer.id = index;
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
            if (!make_peer(service, up, i, err)) {
                return false;
            }
        }
    }
    config_shares(service);
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

/* The list as the tls module takes it: borrowed. */
static struct tls_texts texts(const struct text_list *list)
{
    return (struct tls_texts){.items = (const char *const *)list->items, .count = list->count};
}

static struct tls_texts text_of(char *const *text)
{
    return (struct tls_texts){.items = (const char *const *)text, .count = *text != NULL};
}

static struct tls_profile *make_upstream_tls(const struct service_config *s, unsigned workers,
                                             struct error *err)
{
    const struct tls_settings settings = {
        .role = TLS_UPSTREAM,
        .ca_file = s->ca,
        .ca_dir = s->ca_dir,
        .crl_file = s->crl,
        .crl_dir = s->crl_dir,
        .strict = (enum tls_strictness)s->x509_strict,
        .pins = texts(&s->pins),
        .names_policy = (enum tls_policy)s->names_policy,
        .pins_policy = (enum tls_policy)s->pins_policy,
        .revocation_policy = (enum tls_policy)s->revocation_policy,
        .certs = text_of(&s->cert),
        .keys = text_of(&s->key),
        .key_passphrase = s->key_passphrase,
        .min = (enum tls_version)s->tls_min,
        .max = (enum tls_version)s->tls_max,
        .groups = s->groups,
        .ciphers = s->ciphers,
        .ciphersuites = s->ciphersuites,
        .sigalgs = s->sigalgs,
        .security_level = (int)s->security_level,
        .alpn = texts(&s->alpn),
        .insecure_skip_verify = s->insecure_skip_verify != 0,
        .ocsp = (enum tls_ocsp)s->ocsp,
        .tlsa = texts(&s->tlsa),
        .resumption = s->resumption != 0,
        .resumption_age_ms = s->resumption_age,
        .workers = workers,
        .words_of_file = s->at.kind == ORIGIN_FILE,
    };
    return make_profile(&settings, s, err);
}

static bool make_proxy_tls(struct proxy *p, const struct service_config *s, unsigned workers,
                           struct error *err)
{
    const struct tls_settings settings = {
        .role = TLS_UPSTREAM,
        .ca_file = s->proxy_ca,
        .strict = TLS_STRICT_OFF,
        .names_policy = TLS_POLICY_ENFORCE,
        .pins_policy = TLS_POLICY_ENFORCE,
        .revocation_policy = TLS_POLICY_ENFORCE,
        .min = (enum tls_version)s->tls_min,
        .max = (enum tls_version)s->tls_max,
        .security_level = (int)s->security_level,
        .ocsp = TLS_OCSP_PREFER,
        .workers = workers,
        .words_of_file = s->at.kind == ORIGIN_FILE,
    };
    const char *own = s->proxy_server_name;
    struct error reason;
    error_init(&reason);
    if (!tls_name_set(&p->peer.server_name, own != NULL ? own : net_endpoint_name(&p->at.endpoint),
                      &reason))
        return blame(err, s, own != NULL ? "proxy_server_name" : "proxy", &reason);
    p->peer.names = &p->peer.server_name;
    p->peer.name_count = 1;
    p->tls = tls_profile_create(&settings, &reason);
    return p->tls != NULL || blame(err, s, s->proxy_ca != NULL ? "proxy_ca" : "proxy", &reason);
}

static bool make_proxy(struct service *service, unsigned workers, struct error *err)
{
    const struct service_config *s = service->config;
    struct error reason;
    error_init(&reason);
    if (s->proxy == NULL)
        return true;
    struct proxy *p = service->proxy = calloc(1, sizeof *p);
    if (p == NULL)
        return error_set(err, "no memory");
    if (!proxy_parse(&p->at, s->proxy, &reason))
        return blame(err, s, "proxy", &reason);
    if (s->proxy_credentials != NULL && !proxy_read_credentials(p, s->proxy_credentials, &reason))
        return blame(err, s, "proxy_credentials", &reason);
    return p->at.endpoint.scheme != NET_TLS || make_proxy_tls(p, s, workers, err);
}

static struct tls_profile *make_downstream_tls(const struct service_config *s, unsigned workers,
                                               struct error *err)
{
    const struct tls_settings settings = {
        .role = TLS_DOWNSTREAM,
        .ca_file = s->listen_ca,
        .ca_dir = s->listen_ca_dir,
        .crl_file = s->listen_crl,
        .crl_dir = s->listen_crl_dir,
        .strict = TLS_STRICT_OFF,
        .names_policy = TLS_POLICY_ENFORCE,
        .pins_policy = TLS_POLICY_ENFORCE,
        .revocation_policy = TLS_POLICY_ENFORCE,
        .certs = texts(&s->listen_cert),
        .keys = texts(&s->listen_key),
        .key_passphrase = s->listen_key_passphrase,
        .min = listen_tls_min(s),
        .max = listen_tls_max(s),
        .groups = s->listen_groups,
        .ciphers = s->listen_ciphers,
        .ciphersuites = s->listen_ciphersuites,
        .sigalgs = s->listen_sigalgs,
        .security_level = (int)s->listen_security_level,
        .alpn = texts(&s->listen_alpn),
        .client_auth = (enum tls_client_auth)s->listen_client,
        .allow_cn = texts(&s->listen_allow_cn),
        .allow_ou = texts(&s->listen_allow_ou),
        .allow_dns = texts(&s->listen_allow_dns),
        .allow_uri = texts(&s->listen_allow_uri),
        .allow_pin = texts(&s->listen_allow_pin),
        .ocsp_files = texts(&s->listen_ocsp),
        .sni_strict = s->listen_sni_strict != 0,
        .tickets = s->listen_tickets != 0,
        .ticket_keys = s->listen_ticket_keys,
        .ticket_rotation_ms = s->listen_ticket_rotation,
        .workers = workers,
        .words_of_file = s->at.kind == ORIGIN_FILE,
    };
    return make_profile(&settings, s, err);
}

/* Where consumers may come from, checked before. */
static bool make_networks(const struct text_list *list, struct net_cidr **networks_r,
                          struct error *err)
{
    *networks_r = calloc(list->count > 0 ? list->count : 1, sizeof(**networks_r));
    if (*networks_r == NULL) {
        return error_set(err, "no memory");
    }
    for (size_t i = 0; i < list->count; i++) {
        if (!net_cidr_parse(&(*networks_r)[i], list->items[i], err)) {
            return false;
        }
    }
    return true;
}

/* Users or groups by name or number. */
static bool make_ids(const struct text_list *list, bool groups, unsigned **ids_r, struct error *err)
{
    *ids_r = calloc(list->count > 0 ? list->count : 1, sizeof(**ids_r));
    if (*ids_r == NULL) {
        return error_set(err, "no memory");
    }
    for (size_t i = 0; i < list->count; i++) {
        if (!config_id(list->items[i], groups, &(*ids_r)[i], err)) {
            return false;
        }
    }
    return true;
}

static bool make_service(struct service *service, const struct service_config *config,
                         unsigned workers, struct error *err)
{
    bool listen_tls = false;
    bool connect_tls = false;
    service->config = config;
    if (!make_listeners(service, &listen_tls, err) || !make_names(service, err) ||
        !make_networks(&config->allow_from, &service->allow_from, err) ||
        !make_networks(&config->deny_from, &service->deny_from, err) ||
        !config_sockets(config, &service->connect_sock, &service->listen_sock, err) ||
        !config_tlvs(&config->send_proxy_tlvs, &service->send_proxy_tlvs, err) ||
        !make_networks(&config->proxy_from, &service->proxy_from, err) ||
        !make_networks(&config->allow_upstreams, &service->allow_upstreams, err) ||
        !make_ids(&config->allow_uid, false, &service->allow_uid, err) ||
        !make_ids(&config->allow_gid, true, &service->allow_gid, err) ||
        !make_upstreams(service, &connect_tls, err) || !make_proxy(service, workers, err)) {
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
        free(s->services[i].names);
        proxy_free(&s->services[i].proxy);
        free(s->services[i].allow_from);
        free(s->services[i].deny_from);
        free(s->services[i].proxy_from);
        free(s->services[i].allow_upstreams);
        free(s->services[i].allow_uid);
        free(s->services[i].allow_gid);
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

const struct service *snapshot_service(const struct snapshot *s, const char *name)
{
    for (size_t i = 0; i < s->service_count; i++) {
        if (str_equal(s->services[i].config->name, name)) {
            return &s->services[i];
        }
    }
    return NULL;
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
    if (service->config->starttls != 0)
        (void)str_append(dst, size, length, " by STARTTLS (%s)",
                         dialogue_word((enum dialogue_protocol)service->config->starttls));
    if (service->proxy != NULL)
        (void)str_append(dst, size, length, " through %s", service->config->proxy);
    if (up->endpoint.scheme != NET_TLS) {
        (void)str_append(dst, size, length, " in plain");
        return;
    }
    if (service->config->insecure_skip_verify) {
        (void)str_append(dst, size, length, " NOT VERIFIED");
    } else {
        (void)str_append(dst, size, length, " verified as ");
        for (size_t i = 0; i < up->peer.name_count; i++) {
            (void)str_append(dst, size, length, "%s%s", i > 0 ? " or " : "",
                             up->peer.names[i].text);
        }
        (void)str_append(dst, size, length, " against %s",
                         tls_profile_trust(service->upstream_tls));
    }
    if (service->config->cert != NULL) {
        (void)str_append(dst, size, length, " with client certificate %s", service->config->cert);
    }
}

void service_describe(const struct service *service, const struct listen_at *listener, char *dst,
                      size_t size)
{
    size_t length = 0;
    (void)str_append(dst, size, &length, "%s", listener->text);
    if (listener->endpoint.scheme == NET_TLS && listen_client(service->config) > TLS_CLIENT_NONE) {
        (void)str_append(dst, size, &length, " consumers verified against %s",
                         tls_profile_trust(service->downstream_tls));
    }
    for (size_t i = 0; i < service->upstream_count; i++) {
        (void)str_append(dst, size, &length, i == 0 ? " -> " : ", else ");
        describe_upstream(service, &service->upstreams[i], dst, size, &length);
    }
}
