#include <esclusa/sock_options.h>
#include <esclusa/str.h>

#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#ifndef IP_LOCAL_PORT_RANGE
#define IP_LOCAL_PORT_RANGE 51 /* Linux 6.3 */
#endif
#ifndef IP_BIND_ADDRESS_NO_PORT
#define IP_BIND_ADDRESS_NO_PORT 24
#endif

#define DSCP_SHIFT 2
#define PORT_TRIES 256

enum side { BOTH, LISTENS, CONNECTS };

/* A number, by its place in struct sock_settings; 0 is not set. */
static const struct row {
    const char *name;
    size_t offset;
    enum side side;
    int family; /* AF_UNSPEC: both */
    int level, option;
    int shift;
} rows[] = {
#define AT(member) offsetof(struct sock_settings, member)
    {"send_buffer", AT(send_buffer), BOTH, AF_UNSPEC, SOL_SOCKET, SO_SNDBUF, 0},
    {"receive_buffer", AT(receive_buffer), BOTH, AF_UNSPEC, SOL_SOCKET, SO_RCVBUF, 0},
    {"dscp", AT(dscp), BOTH, AF_INET, IPPROTO_IP, IP_TOS, DSCP_SHIFT},
    {"dscp", AT(dscp), BOTH, AF_INET6, IPPROTO_IPV6, IPV6_TCLASS, DSCP_SHIFT},
    {"fwmark", AT(fwmark), BOTH, AF_UNSPEC, SOL_SOCKET, SO_MARK, 0},
    {"tcp_fast_open", AT(fast_open), LISTENS, AF_UNSPEC, IPPROTO_TCP, TCP_FASTOPEN, 0},
    {"tcp_fast_open", AT(fast_open), CONNECTS, AF_UNSPEC, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 0},
#undef AT
};

static bool refuse(struct sock_refusal *refused, const char *name)
{
    refused->why = errno;
    (void)str_copy(refused->name, sizeof refused->name, name);
    return false;
}

static bool set_row(int fd, int family, const struct sock_settings *s, bool listens,
                    const struct row *r, struct sock_refusal *refused)
{
    int64_t value = 0;
    memcpy(&value, (const char *)s + r->offset, sizeof value);
    if (value == 0 || (r->family != AF_UNSPEC && r->family != family) ||
        r->side == (listens ? CONNECTS : LISTENS))
        return true;
    const int number = (int)((uint32_t)value << r->shift);
    return setsockopt(fd, r->level, r->option, &number, sizeof number) == 0 ||
           refuse(refused, r->name);
}

static bool set_text(int fd, int level, int option, const char *text, const char *name,
                     struct sock_refusal *refused)
{
    return text == NULL || setsockopt(fd, level, option, text, (socklen_t)strlen(text)) == 0 ||
           refuse(refused, name);
}

bool sock_set(int fd, int family, const struct sock_settings *s, bool listens,
              struct sock_refusal *refused)
{
    if (family == AF_UNIX)
        return true;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (!set_row(fd, family, s, listens, &rows[i], refused))
            return false;
    }
    return set_text(fd, IPPROTO_TCP, TCP_CONGESTION, s->congestion, "congestion_control",
                    refused) &&
           (listens ||
            set_text(fd, SOL_SOCKET, SO_BINDTODEVICE, s->interface, "source_interface", refused));
}

/* ---- where a connection comes from ---- */

static void set_port(struct net_addr *a, uint16_t port)
{
    if (a->u.sa.sa_family == AF_INET)
        a->u.in.sin_port = htons(port);
    else
        a->u.in6.sin6_port = htons(port);
}

bool sock_ports_are_local(uint16_t first, uint16_t last)
{
    unsigned low = 0, high = 0;
    char text[64] = "";
    FILE *file = fopen("/proc/sys/net/ipv4/ip_local_port_range", "re");
    if (file == NULL)
        return false;
    const bool read = fgets(text, sizeof text, file) != NULL;
    (void)fclose(file);
    char *end = text;
    low = read ? (unsigned)strtoul(text, &end, 10) : 0;
    high = read ? (unsigned)strtoul(end, NULL, 10) : 0;
    return low <= first && last <= high;
}

/* Where the kernel does not choose: one port after another, from anywhere in the range. */
static bool bind_in_range(int fd, struct net_addr *from, const struct sock_settings *s)
{
    const unsigned count = 1U + s->last_port - s->first_port;
    unsigned start = 0;
    (void)!getrandom(&start, sizeof start, GRND_NONBLOCK);
    for (unsigned i = 0; i < count && i < PORT_TRIES; i++) {
        set_port(from, (uint16_t)(s->first_port + (start + i) % count));
        if (bind(fd, &from->u.sa, from->length) == 0)
            return true;
        if (errno != EADDRINUSE)
            return false;
    }
    errno = EADDRINUSE;
    return false;
}

bool sock_bind_source(int fd, int family, const struct sock_settings *s,
                      struct sock_refusal *refused)
{
    struct net_addr from = family == AF_INET ? s->source_4 : s->source_6;
    const bool given = from.length > 0;
    const int on = 1;
    if (family == AF_UNIX || (!given && s->first_port == 0))
        return true;
    if (!given) {
        from.u.sa.sa_family = (sa_family_t)family;
        from.length = family == AF_INET ? sizeof from.u.in : sizeof from.u.in6;
    }
    if (s->first_port != 0) {
        const uint32_t range = (uint32_t)s->last_port << 16 | s->first_port;
        if (!s->kernel_chooses ||
            setsockopt(fd, IPPROTO_IP, IP_LOCAL_PORT_RANGE, &range, sizeof range) != 0)
            return bind_in_range(fd, &from, s) || refuse(refused, "source_ports");
    }
    /* The port is chosen by connect(2), which knows the peer: one may serve for many of these. */
    (void)setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    return !given || bind(fd, &from.u.sa, from.length) == 0 || refuse(refused, "source_address");
}

bool sock_try(int family, const struct sock_settings *s, bool listens, struct sock_refusal *refused)
{
    const int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return errno == EAFNOSUPPORT || refuse(refused, "socket");
    const bool done = sock_set(fd, family, s, listens, refused) &&
                      (listens || sock_bind_source(fd, family, s, refused));
    sock_close(fd);
    return done;
}
