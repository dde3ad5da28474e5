/* What the gateway says of itself at its start, at reloads and at its end. */
#include "gateway.h"
#include "program.h"

#include <esclusa/log.h>
#include <esclusa/net.h>
#include <esclusa/str.h>

/* The address of a socket that others have made. */
static void log_bound(struct log_line *line, int fd)
{
    struct net_addr addr;
    char text[NET_TEXT_MAX];
    if (!sock_local(fd, &addr))
        return;
    net_addr_format(&addr, text, sizeof text);
    log_text(line, "address", text);
}

void gateway_log_unclaimed(const struct gateway *g)
{
    const struct inherit *in = program_inherited(g->source.program);
    for (size_t i = 0; in != NULL && i < in->count; i++) {
        const struct inherited *item = &in->items[i];
        if (item->claimed || item->fd < 0)
            continue;
        struct log_line line;
        log_begin(&line, LOG_LEVEL_WARN, "socket_unused");
        log_text(&line, "name", item->name);
        if (item->unfit == NULL)
            log_bound(&line, item->fd);
        log_text(&line, "error", item->unfit != NULL ? item->unfit : "no listener is for it");
        log_text(&line, "remedy",
                 "whoever connects there waits for nobody: listen on systemd:NAME or on that "
                 "address, or take it out of the socket unit");
        log_end(&line);
    }
}

void gateway_log_listeners(const struct gateway *g)
{
    for (size_t i = 0; i < g->set->count; i++) {
        const struct listening *l = &g->set->items[i];
        char what[SERVICE_TEXT_MAX];
        service_describe(l->service, l->at, what, sizeof what);
        struct log_line line;
        log_begin(&line, LOG_LEVEL_INFO, "listening");
        log_text(&line, "listen", l->at->text);
        if (l->kept)
            log_bound(&line, l->fd);
        log_text(&line, "service", what);
        log_number(&line, "backlog", l->service->config->backlog);
        log_number(&line, "workers", (int64_t)g->group.count);
        log_end(&line);
    }
}

/* "tls://a:443, tls://b:443" */
static void list_tls_upstreams(const struct service *service, char *dst, size_t size)
{
    size_t length = 0;
    dst[0] = '\0';
    for (size_t i = 0; i < service->upstream_count; i++) {
        if (service->upstreams[i].endpoint.scheme == NET_TLS)
            (void)str_append(dst, size, &length, "%s%s", length > 0 ? ", " : "",
                             service->upstreams[i].text);
    }
}

void gateway_log_unverified(const struct snapshot *s)
{
    for (size_t i = 0; i < s->service_count; i++) {
        const struct service *service = &s->services[i];
        if (service->upstream_tls == NULL || !service->config->insecure_skip_verify)
            continue;
        char upstreams[1024];
        list_tls_upstreams(service, upstreams, sizeof upstreams);
        struct log_line line;
        log_begin(&line, LOG_LEVEL_WARN, "not_verified");
        log_text(&line, "service", service->config->name);
        log_text(&line, "upstream", upstreams);
        log_text(&line, "error", "insecure_skip_verify is on: whoever answers there is believed");
        log_text(&line, "remedy",
                 "take insecure_skip_verify out of the service as soon as its upstream can be "
                 "verified, with ca, server_name or pins");
        log_end(&line);
    }
}

static void log_reported(const struct service *service, const struct tls_profile *profile,
                         const char *side)
{
    static const struct {
        enum tls_report what;
        const char *key;
    } keys[TLS_REPORTS] = {{TLS_REPORT_NAMES, "names"},
                           {TLS_REPORT_PINS, "pins"},
                           {TLS_REPORT_REVOCATION, "revocation"},
                           {TLS_REPORT_STRICT, "strict"}};
    uint64_t total = 0;
    for (size_t i = 0; profile != NULL && i < TLS_REPORTS; i++)
        total += tls_profile_reported(profile, keys[i].what);
    if (total == 0)
        return;
    struct log_line line;
    log_begin(&line, LOG_LEVEL_WARN, "reported");
    log_text(&line, "service", service->config->name);
    log_text(&line, "side", side);
    for (size_t i = 0; i < TLS_REPORTS; i++) {
        uint64_t count = tls_profile_reported(profile, keys[i].what);
        if (count > 0)
            log_number(&line, keys[i].key, (int64_t)count);
    }
    log_end(&line);
}

void gateway_log_reported(const struct snapshot *s)
{
    for (size_t i = 0; i < s->service_count; i++) {
        log_reported(&s->services[i], s->services[i].upstream_tls, "upstream");
        log_reported(&s->services[i], s->services[i].downstream_tls, "consumer");
    }
}
