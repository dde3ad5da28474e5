/* The way to the upstreams: through a proxy, by STARTTLS. What may not be combined. */
#include <esclusa/config.h>

#include "config_internal.h"

static bool complain(struct error *err, const struct service_config *s, const char *name,
                     const char *value, const char *sentence)
{
    return config_complain(err, service_origin(s, name), name, value, sentence, NULL);
}

static bool check_proxy(const struct service_config *s, const struct net_endpoint *connect,
                        struct error *err)
{
    struct proxy_at proxy;
    struct error reason;
    error_init(&reason);
    if (s->proxy == NULL)
        return true;
    if (!proxy_parse(&proxy, s->proxy, &reason))
        return config_blame(err, service_origin(s, "proxy"), "proxy", &reason);
    for (size_t i = 0; i < s->connect.count; i++) {
        if (connect[i].scheme == NET_UNIX)
            return complain(err, s, "connect", s->connect.items[i],
                            "a path on this machine, which no {proxy} gets to; leave one of them "
                            "out");
        if (connect[i].port == 0)
            return complain(err, s, "connect", s->connect.items[i],
                            "SRV records cannot be looked up by a {proxy}; give HOST:PORT");
    }
    return true;
}

static bool check_starttls(const struct service_config *s, const struct net_endpoint *connect,
                           struct error *err)
{
    for (size_t i = 0; s->starttls != 0 && i < s->connect.count; i++) {
        if (connect[i].scheme != NET_TLS)
            return complain(err, s, "connect", s->connect.items[i],
                            "without TLS, so there is no use for {starttls}; write tls:// or leave "
                            "that out");
    }
    if (s->starttls == DIALOGUE_MYSQL && s->warm_min > 0)
        return complain(err, s, "warm_min", NULL,
                        "MySQL's TLS begins with the consumer's login, so no connection can be "
                        "made ready before; leave it out with {starttls=mysql}");
    if (s->starttls == DIALOGUE_MYSQL && s->check == CHECK_TLS)
        return complain(err, s, "check", "tls",
                        "MySQL's TLS begins with the consumer's login, and a check has none; give "
                        "{check=tcp}");
    return true;
}

bool check_way(const struct service_config *s, const struct net_endpoint *connect,
               struct error *err)
{
    return check_proxy(s, connect, err) && check_starttls(s, connect, err);
}
