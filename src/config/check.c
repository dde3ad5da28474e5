/* What may not be combined, whoever wrote it: the command line and the file are held to one set of
 * rules. No file is read here. */
#include <esclusa/config.h>
#include <esclusa/str.h>

#include "config_internal.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* A service with its addresses parsed. */
struct checked {
    const struct service_config *config;
    struct net_endpoint *listen, *connect;
    bool listen_tls, connect_tls; /* one of them at least */
};

static bool complain(struct error *err, const struct checked *s, const char *name,
                     const char *value, const char *sentence, const char *other)
{
    return config_complain(err, service_origin(s->config, name), name, value, sentence, other);
}

static bool parse_addresses(const struct checked *s, const struct text_list *list,
                            enum net_role role, struct net_endpoint **endpoints_r, bool *tls_r,
                            struct error *err)
{
    const char *name = role == NET_LISTEN ? "listen" : "connect";
    *endpoints_r = calloc(list->count, sizeof(**endpoints_r));
    if (*endpoints_r == NULL) {
        return error_set(err, "no memory");
    }
    for (size_t i = 0; i < list->count; i++) {
        struct error reason;
        error_init(&reason);
        if (!net_endpoint_parse(&(*endpoints_r)[i], list->items[i], role, &reason)) {
            return config_blame(err, service_origin(s->config, name), name, &reason);
        }
        *tls_r = *tls_r || (*endpoints_r)[i].scheme == NET_TLS;
    }
    return true;
}

/* ---- the same place twice ---- */

/* False: a name that says nothing of its address. */
static bool endpoint_addr(const struct net_endpoint *e, struct net_addr *a)
{
    if (net_addr_from_literal(a, e->host, e->port)) {
        return true;
    }
    /* RFC 6761 6.3: always the loopback address. */
    return strcasecmp(e->host, "localhost") == 0 && net_addr_from_literal(a, "127.0.0.1", e->port);
}

static bool is_wildcard(const struct net_addr *a)
{
    return a->u.sa.sa_family == AF_INET ? a->u.in.sin_addr.s_addr == htonl(INADDR_ANY)
                                        : IN6_IS_ADDR_UNSPECIFIED(&a->u.in6.sin6_addr);
}

static bool same_host(const struct net_addr *a, const struct net_addr *b)
{
    if (a->u.sa.sa_family != b->u.sa.sa_family) {
        return false;
    }
    if (a->u.sa.sa_family == AF_INET) {
        return a->u.in.sin_addr.s_addr == b->u.in.sin_addr.s_addr;
    }
    return a->u.in6.sin6_scope_id == b->u.in6.sin6_scope_id &&
           IN6_ARE_ADDR_EQUAL(&a->u.in6.sin6_addr, &b->u.in6.sin6_addr);
}

/* The same socket address, whatever is spoken there. *a_r and *b_r: theirs, if they are known. */
static bool same_place(const struct net_endpoint *a, const struct net_endpoint *b,
                       struct net_addr *a_r, struct net_addr *b_r, bool *known_r)
{
    *known_r = false;
    if (a == NULL || b == NULL) { /* a service whose addresses were not parsed: it has none */
        return false;
    }
    if (a->fd_name[0] != '\0' || b->fd_name[0] != '\0') {
        return strcmp(a->fd_name, b->fd_name) == 0; /* what its address is, the start will tell */
    }
    if (a->scheme == NET_UNIX || b->scheme == NET_UNIX) {
        return a->scheme == b->scheme && strcmp(a->path, b->path) == 0;
    }
    if (a->port != b->port) {
        return false;
    }
    if (endpoint_addr(a, a_r) && endpoint_addr(b, b_r)) {
        *known_r = a_r->u.sa.sa_family == b_r->u.sa.sa_family;
        return same_host(a_r, b_r);
    }
    return strcasecmp(a->host, b->host) == 0;
}

/* bind(2) would refuse the second: 0.0.0.0 takes the port on every address. */
static bool listeners_clash(const struct net_endpoint *a, const struct net_endpoint *b)
{
    struct net_addr first;
    struct net_addr second;
    bool known = false;
    return same_place(a, b, &first, &second, &known) ||
           (known && (is_wildcard(&first) || is_wildcard(&second)));
}

/* The upstream is this listener: every connection would beget another without end. */
static bool is_loop(const struct net_endpoint *listener, const struct net_endpoint *upstream)
{
    struct net_addr here;
    struct net_addr there;
    bool known = false;
    if (same_place(listener, upstream, &here, &there, &known)) {
        return true;
    }
    /* Connecting to the wildcard address reaches loopback: ip(7). */
    return known && ((is_wildcard(&here) && net_addr_is_loopback(&there)) ||
                     (is_wildcard(&there) && net_addr_is_loopback(&here)));
}

static bool check_listeners(const struct checked *a, const struct checked *b, struct error *err)
{
    if (a->listen == NULL || b->listen == NULL) {
        return true; /* has none: told before */
    }
    for (size_t i = 0; i < b->config->listen.count; i++) {
        const size_t others = a == b ? i : a->config->listen.count;
        for (size_t j = 0; j < others; j++) {
            if (!listeners_clash(&a->listen[j], &b->listen[i])) {
                continue;
            }
            const struct origin *at = service_origin(a->config, "listen");
            char other[ERROR_TEXT_MAX];
            size_t length = 0;
            config_quote(other, sizeof(other), a->config->listen.items[j]);
            length = strlen(other);
            if (a != b) {
                char place[ERROR_TEXT_MAX];
                config_place(place, sizeof(place), at, NULL);
                (void)str_append(other, sizeof(other), &length, " of service %s at %s",
                                 a->config->name, place);
            }
            return complain(err, b, "listen", b->config->listen.items[i],
                            "the same address as {listen} {}; give each address and port once",
                            other);
        }
    }
    return true;
}

static bool check_loops(const struct checked *s, struct error *err)
{
    for (size_t i = 0; i < s->config->listen.count; i++) {
        for (size_t j = 0; j < s->config->connect.count; j++) {
            if (is_loop(&s->listen[i], &s->connect[j])) {
                char other[QUOTE_MAX];
                config_quote(other, sizeof(other), s->config->listen.items[i]);
                return complain(err, s, "connect", s->config->connect.items[j],
                                "the same address as {listen} {}, so esclusa would connect to "
                                "itself; give another port",
                                other);
            }
        }
    }
    return true;
}

/* ---- what nothing would use ---- */

static bool check_unused(const struct checked *s, struct error *err)
{
    for (size_t i = 0; i < option_count; i++) {
        const struct option_row *row = &option_table[i];
        const struct origin *at = &s->config->origins[i];
        if (at->kind == ORIGIN_NONE || at->shared) {
            continue;
        }
        const char *reason = option_idle(s->config, row, s->listen_tls, s->connect_tls);
        if (reason != NULL) {
            return config_complain(err, at, row->name, NULL, reason, NULL);
        }
    }
    return true;
}

/* What is in `defaults` must be of use to one service at least. */
static bool check_defaults(const struct config *c, const struct checked *services,
                           struct error *err)
{
    for (size_t i = 0; i < option_count; i++) {
        const struct option_row *row = &option_table[i];
        const char *reason = NULL;
        if (c->defaults[i].kind == ORIGIN_NONE) {
            continue;
        }
        for (size_t n = 0; n < c->service_count && (n == 0 || reason != NULL); n++) {
            const struct checked *s = &services[n];
            reason = option_idle(s->config, row, s->listen_tls, s->connect_tls);
        }
        if (reason != NULL) {
            return config_complain(err, &c->defaults[i], row->name, NULL, reason, NULL);
        }
    }
    return true;
}

static bool check_global(const struct config *c, const struct checked *services, struct error *err)
{
    for (size_t i = 0; i < option_count; i++) {
        const struct option_row *row = &option_table[i];
        const char *reason = NULL;
        if (row->scope != OPTION_GLOBAL || c->origins[i].kind == ORIGIN_NONE) {
            continue;
        }
        for (size_t n = 0; n < c->service_count && (n == 0 || reason != NULL); n++) {
            reason = option_side_missing(row, services[n].listen_tls, services[n].connect_tls);
        }
        if (reason != NULL) {
            return config_complain(err, &c->origins[i], row->name, NULL, reason, NULL);
        }
    }
    /* `--watch false` for once does not make what the file says of the watch wrong. */
    const struct origin *watch = &c->origins[option_by_name("watch") - option_table];
    const struct origin *interval = &c->origins[option_by_name("watch_interval") - option_table];
    if (c->watch == 0 && interval->kind != ORIGIN_NONE && interval->kind == watch->kind) {
        return config_complain(err, interval, "watch_interval", NULL,
                               "would not be used, as {watch} is false; leave one of them out",
                               NULL);
    }
    return true;
}

static bool check_log(const struct config *c, struct error *err)
{
    struct error reason;
    error_init(&reason);
    if (c->log_to == NULL || log_is_place(c->log_to, &reason)) {
        return true;
    }
    const struct origin *at = &c->origins[option_by_name("log_to") - option_table];
    return config_complain(err, at, "log_to", c->log_to, "{}", reason.text);
}

static bool check_no_admin(const struct config *c, struct error *err)
{
    static const char *const names[] = {"admin_allow_remote", "admin_read_only"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const struct origin *at = &c->origins[option_by_name(names[i]) - option_table];
        if (at->kind != ORIGIN_NONE) {
            return config_complain(err, at, names[i], NULL,
                                   "would not be used, as there is no {admin}; leave it out", NULL);
        }
    }
    return true;
}

/* Who connects there is not asked for a password. A name may be any address tomorrow. */
static bool check_admin(const struct config *c, const struct checked *services, struct error *err)
{
    const struct origin *at = &c->origins[option_by_name("admin") - option_table];
    struct net_endpoint admin;
    struct net_addr address;
    struct error reason;
    error_init(&reason);
    if (c->admin == NULL) {
        return check_no_admin(c, err);
    }
    if (!net_endpoint_parse(&admin, c->admin, NET_LISTEN, &reason)) {
        return config_blame(err, at, "admin", &reason);
    }
    if (admin.scheme == NET_TLS) {
        return config_complain(err, at, "admin", c->admin,
                               "there is no TLS here; give a loopback address or a unix path",
                               NULL);
    }
    const bool local = admin.scheme == NET_UNIX ||
                       (endpoint_addr(&admin, &address) && net_addr_is_loopback(&address));
    if (!local && !c->admin_allow_remote) {
        return config_complain(err, at, "admin", c->admin,
                               "not a loopback address, and there is no password: whoever reaches "
                               "it may drain the gateway; give a loopback address or a unix path, "
                               "or set {admin_allow_remote} to true",
                               NULL);
    }
    for (size_t n = 0; n < c->service_count; n++) {
        for (size_t i = 0; i < c->services[n].listen.count; i++) {
            if (listeners_clash(&services[n].listen[i], &admin)) {
                return config_complain(err, at, "admin", c->admin,
                                       "also the address of a listener; give each its own", NULL);
            }
        }
    }
    return true;
}

/* ---- a service ---- */

/* The name that each tls:// upstream must bear. */
static bool check_names(const struct checked *s, struct error *err)
{
    struct tls_name name;
    struct error reason;
    error_init(&reason);
    if (s->config->server_name != NULL && s->connect_tls) {
        return tls_name_set(&name, s->config->server_name, &reason) ||
               config_blame(err, service_origin(s->config, "server_name"), "server_name", &reason);
    }
    for (size_t i = 0; i < s->config->connect.count; i++) {
        if (s->connect[i].scheme == NET_TLS &&
            !upstream_server_name(&name, s->config, &s->connect[i], &reason)) {
            return config_blame(err, service_origin(s->config, "connect"), "connect", &reason);
        }
    }
    return true;
}

static bool check_warm(const struct service_config *c, struct error *err)
{
    char most[24], least[24];
    if (c->warm_max == 0 || c->warm_max >= c->warm_min) {
        return true;
    }
    snprintf(most, sizeof(most), "%lld", (long long)c->warm_max);
    snprintf(least, sizeof(least), "%lld", (long long)c->warm_min);
    return config_complain(err, service_origin(c, "warm_max"), "warm_max", most,
                           "less than {warm_min}, which is {}; give as many at least", least);
}

static bool check_networks(const struct service_config *c, const char *name,
                           const struct text_list *list, struct error *err)
{
    for (size_t i = 0; i < list->count; i++) {
        struct net_cidr unused;
        struct error reason;
        error_init(&reason);
        if (!net_cidr_parse(&unused, list->items[i], &reason)) {
            return config_blame(err, service_origin(c, name), name, &reason);
        }
    }
    return true;
}

static bool check_ids(const struct service_config *c, const char *name, bool groups,
                      const struct text_list *list, struct error *err)
{
    for (size_t i = 0; i < list->count; i++) {
        unsigned unused = 0;
        struct error reason;
        error_init(&reason);
        if (!config_id(list->items[i], groups, &unused, &reason)) {
            return config_blame(err, service_origin(c, name), name, &reason);
        }
    }
    return true;
}

/* A TCP connection shows its user only. */
static bool check_groups(const struct checked *s, struct error *err)
{
    bool local = false;
    for (size_t i = 0; i < s->config->listen.count; i++) {
        local = local || s->listen[i].scheme == NET_UNIX || s->listen[i].fd_name[0] != '\0';
    }
    return local || s->config->allow_gid.count == 0 ||
           complain(err, s, "allow_gid", s->config->allow_gid.items[0],
                    "of no use without a unix: listener, for TCP does not tell groups; give {} "
                    "instead, or listen on unix:",
                    "allow_uid");
}

/* Whoever may say who a consumer is must be named; a unix socket's path says who may connect. */
static bool check_proxy(const struct checked *s, struct error *err)
{
    const struct service_config *c = s->config;
    bool remote = false;
    for (size_t i = 0; i < c->listen.count; i++) {
        remote = remote || s->listen[i].scheme != NET_UNIX;
    }
    if (c->accept_proxy != ACCEPT_PROXY_OFF && remote && c->proxy_from.count == 0) {
        return complain(err, s, "accept_proxy", NULL,
                        "anybody who connects could say that they are somebody else; give the "
                        "networks of your proxies: {proxy_from=CIDR}",
                        NULL);
    }
    return remote || c->proxy_from.count == 0 ||
           complain(err, s, "proxy_from", c->proxy_from.items[0],
                    "of no use, as every {listen} is unix:, whose path says who may connect; leave "
                    "it out",
                    NULL);
}

/* The header names a consumer, so it cannot be said before there is one. */
static bool check_hello(const struct checked *s, struct error *err)
{
    const struct service_config *c = s->config;
    unsigned unused = 0;
    struct error reason;
    error_init(&reason);
    if (!config_tlvs(&c->send_proxy_tlvs, &unused, &reason)) {
        return config_blame(err, service_origin(c, "send_proxy_tlvs"), "send_proxy_tlvs", &reason);
    }
    return c->send_proxy == SEND_PROXY_OFF || c->warm_min == 0 ||
           complain(err, s, "send_proxy", NULL,
                    "names the consumer before anything else is said, so no connection can be kept "
                    "ready: give up one of it and {warm_min}",
                    NULL);
}

static bool check_sockets(const struct service_config *c, struct error *err)
{
    struct sock_settings up, down;
    return config_sockets(c, &up, &down, err);
}

static bool is_listed(const struct text_list *list, const struct net_addr *a)
{
    for (size_t i = 0; i < list->count; i++) {
        struct net_cidr network;
        if (net_cidr_parse(&network, list->items[i], NULL) && net_cidr_has(&network, a)) {
            return true;
        }
    }
    return false;
}

/* An upstream that would be refused each time. What a name resolves to is seen then. */
static bool check_guard(const struct checked *s, struct error *err)
{
    const struct service_config *c = s->config;
    for (size_t i = 0; i < c->connect.count && c->forbid_private_upstreams != 0 && c->proxy == NULL;
         i++) {
        struct net_addr a;
        const struct net_endpoint *at = &s->connect[i];
        if (at->scheme == NET_UNIX) {
            return complain(err, s, "connect", c->connect.items[i],
                            "a socket of this machine, beside {forbid_private_upstreams}; give one "
                            "of them up",
                            NULL);
        }
        const char *what =
            net_addr_from_literal(&a, at->host, at->port) ? net_addr_not_public(&a) : NULL;
        if (what != NULL && !is_listed(&c->allow_upstreams, &a)) {
            return complain(
                err, s, "connect", c->connect.items[i],
                "an address that is {}, which {forbid_private_upstreams} refuses; if it "
                "is meant to be reached, list its network: {allow_upstreams=CIDR}",
                what);
        }
    }
    return true;
}

static bool check_service(struct checked *s, struct error *err)
{
    const struct service_config *c = s->config;
    if (c->listen.count == 0) {
        return complain(err, s, "listen", NULL,
                        "missing; say where consumers connect, like {listen=127.0.0.1:8080}", NULL);
    }
    if (c->connect.count == 0) {
        return complain(err, s, "connect", NULL,
                        "missing; say where the upstream is, like {connect=example.com:443}", NULL);
    }
    return parse_addresses(s, &c->listen, NET_LISTEN, &s->listen, &s->listen_tls, err) &&
           parse_addresses(s, &c->connect, NET_CONNECT, &s->connect, &s->connect_tls, err) &&
           check_unused(s, err) && check_tls(c, s->listen_tls, s->connect_tls, err) &&
           check_networks(c, "allow_from", &c->allow_from, err) &&
           check_networks(c, "deny_from", &c->deny_from, err) &&
           check_networks(c, "proxy_from", &c->proxy_from, err) && check_proxy(s, err) &&
           check_hello(s, err) && check_sockets(c, err) &&
           check_networks(c, "allow_upstreams", &c->allow_upstreams, err) && check_guard(s, err) &&
           check_ids(c, "allow_uid", false, &c->allow_uid, err) &&
           check_ids(c, "allow_gid", true, &c->allow_gid, err) && check_groups(s, err) &&
           check_warm(c, err) && check_shares(c, err) && check_way(c, s->connect, err) &&
           check_names(s, err) && check_listeners(s, s, err) && check_loops(s, err);
}

static bool check_all(const struct config *c, struct checked *services, struct error *err)
{
    for (size_t i = 0; i < c->service_count; i++) {
        services[i].config = &c->services[i];
        if (!check_service(&services[i], err)) {
            return false;
        }
        for (size_t j = 0; j < i; j++) {
            if (strcmp(c->services[j].name, c->services[i].name) == 0) {
                char place[ERROR_TEXT_MAX];
                config_place(place, sizeof(place), &c->services[j].at, NULL);
                return config_complain(err, &c->services[i].at, "name", c->services[i].name,
                                       "also the name of the service at {}; give each its own",
                                       place);
            }
            if (!check_listeners(&services[j], &services[i], err)) {
                return false;
            }
        }
    }
    return check_defaults(c, services, err) && check_global(c, services, err) &&
           check_admin(c, services, err) && check_dns(c, err) && check_log(c, err);
}

bool config_check(const struct config *c, struct error *err)
{
    struct checked *services = calloc(c->service_count, sizeof(*services));
    if (services == NULL) {
        return error_set(err, "no memory");
    }
    const bool ok = check_all(c, services, err);
    for (size_t i = 0; i < c->service_count; i++) {
        free(services[i].listen);
        free(services[i].connect);
    }
    free(services);
    return ok;
}
