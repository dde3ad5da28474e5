/* getaddrinfo(3), which blocks: for start-up and for threads of its own. */
#include <esclusa/net.h>
#include <esclusa/str.h>

#include <errno.h>
#include <netdb.h>
#include <string.h>

static bool is_listed(const struct net_addr *list, size_t count, const struct net_addr *a)
{
    for (size_t i = 0; i < count; i++) {
        if (list[i].length == a->length && memcmp(&list[i].u, &a->u, a->length) == 0)
            return true;
    }
    return false;
}

static bool take_addrinfo(struct net_addr *a, const struct addrinfo *info, uint16_t port)
{
    if ((info->ai_family != AF_INET && info->ai_family != AF_INET6) ||
        info->ai_addrlen > sizeof(a->u))
        return false;
    memset(a, 0, sizeof(*a));
    a->length = info->ai_addrlen;
    memcpy(&a->u, info->ai_addr, info->ai_addrlen);
    if (info->ai_family == AF_INET)
        a->u.in.sin_port = htons(port);
    else
        a->u.in6.sin6_port = htons(port);
    return true;
}

static bool resolve_failed(const char *host, int status, int saved, struct error *err)
{
    char shown[NET_HOST_MAX];
    str_escape(shown, sizeof(shown), host, strlen(host));
    if (status == EAI_SYSTEM)
        return error_set_errno(err, saved, "cannot resolve '%s'", shown);
    if (status == EAI_AGAIN)
        return error_set(err,
                         "cannot resolve '%s': no name server answered (%s); see /etc/resolv.conf",
                         shown, gai_strerror(status));
    return error_set(err, "cannot resolve '%s': %s; see that the name is written right", shown,
                     gai_strerror(status));
}

bool net_resolve_blocking(const char *host, uint16_t port, struct net_addr *list, size_t max,
                          size_t *count_r, struct error *err)
{
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    size_t count = 0;

    *count_r = 0;
    if (max > 0 && net_addr_from_literal(&list[0], host, port)) {
        *count_r = 1;
        return true;
    }
    if (net_addr_from_literal(NULL, host, port))
        return error_set(err, "'%s': no such network interface: see `ip link`", host);

    int status = getaddrinfo(host, NULL, &hints, &found);
    if (status != 0)
        return resolve_failed(host, status, errno, err);
    for (const struct addrinfo *info = found; info != NULL && count < max; info = info->ai_next) {
        if (take_addrinfo(&list[count], info, port) && !is_listed(list, count, &list[count]))
            count++;
    }
    freeaddrinfo(found);
    if (count == 0)
        return resolve_failed(host, EAI_NODATA, 0, err);
    *count_r = count;
    return true;
}
