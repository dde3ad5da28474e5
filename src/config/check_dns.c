/* Who looks up names: what may not be combined. */
#include <esclusa/config.h>
#include <esclusa/net.h>

#include "config_internal.h"

#include <string.h>

#define DNS_PORT 53

static const struct origin *origin_of(const struct config *c, const char *name)
{
    const struct option_row *row = option_by_name(name);
    return &c->origins[row - option_table];
}

static bool check_servers(const struct config *c, struct error *err)
{
    for (size_t i = 0; i < c->dns_servers.count; i++) {
        struct net_addr unused;
        struct error reason;
        error_init(&reason);
        if (!net_addr_parse(&unused, c->dns_servers.items[i], DNS_PORT, &reason)) {
            return config_blame(err, origin_of(c, "dns_servers"), "dns_servers", &reason);
        }
    }
    return true;
}

/* getaddrinfo(3) has its own ways to all of this, and none to SRV. */
static bool check_system(const struct config *c, struct error *err)
{
    static const char *const names[] = {"dns_servers", "dns_timeout", "dns_tries"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (origin_of(c, names[i])->kind != ORIGIN_NONE) {
            return config_complain(err, origin_of(c, names[i]), names[i], NULL,
                                   "of no use with {dns=system}, which asks whom the C library "
                                   "asks; leave one of them out",
                                   NULL);
        }
    }
    for (size_t i = 0; i < c->service_count; i++) {
        const struct service_config *s = &c->services[i];
        for (size_t k = 0; k < s->connect.count; k++) {
            struct net_endpoint at;
            if (net_endpoint_parse(&at, s->connect.items[k], NET_CONNECT, NULL) && at.srv) {
                return config_complain(err, service_origin(s, "connect"), "connect",
                                       s->connect.items[k],
                                       "SRV records are beyond {dns=system}; take {dns=cares}, or "
                                       "name a host and a port",
                                       NULL);
            }
        }
    }
    return true;
}

bool check_dns(const struct config *c, struct error *err)
{
    return check_servers(c, err) && (c->dns == DNS_WORD_CARES || check_system(c, err));
}
