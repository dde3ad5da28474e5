#include "consumer.h"

#include <stdio.h>

static bool deny(struct denial *why, const char *error, const char *remedy)
{
    (void)snprintf(why->error, sizeof why->error, "%s", error);
    why->remedy = remedy;
    return true;
}

static bool is_from_elsewhere(const struct service *service, const struct net_addr *from)
{
    const struct service_config *c = service->config;
    return net_cidr_list_has(service->deny_from, c->deny_from.count, from) ||
           (c->allow_from.count > 0 &&
            !net_cidr_list_has(service->allow_from, c->allow_from.count, from));
}

static bool has_id(const unsigned *list, size_t count, unsigned id)
{
    for (size_t i = 0; i < count; i++)
        if (list[i] == id)
            return true;
    return false;
}

static bool is_other_user(const struct service *service, uid_t uid, struct denial *why)
{
    if (has_id(service->allow_uid, service->config->allow_uid.count, uid))
        return false;
    (void)snprintf(why->error, sizeof why->error, "the consumer's user, %u, may not connect",
                   (unsigned)uid);
    why->remedy = "if it is meant to connect, add it to allow_uid";
    return true;
}

/* A path's mode says who may connect; these say it more narrowly. Either list lets in. */
static bool is_other_local(const struct service *service, int fd, struct denial *why)
{
    const struct service_config *c = service->config;
    uid_t uid = 0;
    gid_t gid = 0;
    if (!sock_peer_user(fd, &uid, &gid))
        return deny(why, "the consumer's user cannot be told", NULL);
    if (has_id(service->allow_gid, c->allow_gid.count, gid) ||
        (c->allow_gid.count > 0 && sock_peer_in_group(fd, service->allow_gid, c->allow_gid.count)))
        return false;
    if (!is_other_user(service, uid, why))
        return false;
    (void)snprintf(why->error, sizeof why->error,
                   "the consumer's user, %u, with group %u, may not connect", (unsigned)uid,
                   (unsigned)gid);
    why->remedy = "if it is meant to connect, add it to allow_uid, or its group to allow_gid";
    return true;
}

static bool is_other_process(const struct service *service, int fd, const struct net_addr *from,
                             struct denial *why)
{
    struct net_addr here, there = *from;
    uid_t uid = 0;
    net_addr_unmap(&there); /* a systemd: listener may take both families */
    if (!net_addr_is_loopback(&there))
        return deny(why, "the consumer is on another machine, so its user cannot be told",
                    "let it come over loopback or a unix: listener, or take allow_uid away");
    if (!sock_local(fd, &here) || !sock_owner(from, &here, &uid))
        return deny(why, "the consumer's user cannot be told: the kernel does not know its socket",
                    "it may have closed already, or live in another network namespace");
    return is_other_user(service, uid, why);
}

bool consumer_is_elsewhere(const struct service *service, const struct net_addr *of,
                           struct denial *why)
{
    return of->u.sa.sa_family != AF_UNIX && is_from_elsewhere(service, of) &&
           deny(why, "the consumer's address may not connect",
                "if it is meant to connect, add its network to allow_from, or take it out of "
                "deny_from");
}

bool consumer_is_denied(const struct service *service, int fd, const struct net_addr *from,
                        struct denial *why)
{
    const struct service_config *c = service->config;
    const bool by_user = c->allow_uid.count > 0 || c->allow_gid.count > 0;
    if (from->u.sa.sa_family == AF_UNIX)
        return by_user && is_other_local(service, fd, why);
    if (c->accept_proxy == ACCEPT_PROXY_OFF && consumer_is_elsewhere(service, from, why))
        return true;
    if (c->accept_proxy != ACCEPT_PROXY_OFF &&
        !net_cidr_list_has(service->proxy_from, c->proxy_from.count, from))
        return deny(why, "only proxies may connect, and this is none of them",
                    "if it is a proxy that may say who its consumers are, add its network to "
                    "proxy_from");
    return by_user && is_other_process(service, fd, from, why);
}
