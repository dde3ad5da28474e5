/* IPv4 addresses as IPv6 writes them, and loopback of either family. */
#include <esclusa/net.h>

#include <arpa/inet.h>
#include <string.h>

#define MAPPED_PREFIX 12 /* bytes of ::ffff:0:0/96, RFC 4291 2.5.5.2 */

bool net_addr_is_mapped(const struct net_addr *a)
{
    return a->u.sa.sa_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&a->u.in6.sin6_addr);
}

void net_addr_unmap(struct net_addr *a)
{
    if (!net_addr_is_mapped(a))
        return;
    const struct sockaddr_in6 mapped = a->u.in6;
    memset(a, 0, sizeof(*a));
    a->length = sizeof(a->u.in);
    a->u.in.sin_family = AF_INET;
    a->u.in.sin_port = mapped.sin6_port;
    memcpy(&a->u.in.sin_addr, mapped.sin6_addr.s6_addr + MAPPED_PREFIX, sizeof(a->u.in.sin_addr));
}

bool net_addr_is_loopback(const struct net_addr *a)
{
    if (a->u.sa.sa_family == AF_INET)
        return ntohl(a->u.in.sin_addr.s_addr) >> IN_CLASSA_NSHIFT == IN_LOOPBACKNET;
    return IN6_IS_ADDR_LOOPBACK(&a->u.in6.sin6_addr);
}
