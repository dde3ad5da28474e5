#include <esclusa/net.h>
#include <esclusa/sock_options.h>

#include <errno.h>
#include <linux/sockios.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define KEEPALIVE_IDLE_S     60
#define KEEPALIVE_INTERVAL_S 15
#define KEEPALIVE_PROBES     4

#define DRAIN_CHUNK 16384
#define DRAIN_STEPS 16

bool sock_connect(const struct net_addr *to, int *fd_r, int *errno_r)
{
    static const struct sock_settings none;
    struct sock_refusal unused;
    return sock_connect_as(to, &none, fd_r, errno_r, &unused);
}

bool sock_connect_as(const struct net_addr *to, const struct sock_settings *s, int *fd_r,
                     int *errno_r, struct sock_refusal *refused)
{
    *fd_r = -1;
    refused->name[0] = '\0';
    const int family = to->u.sa.sa_family;
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        *errno_r = errno;
        return false;
    }
    if (!sock_set(fd, family, s, false, refused) || !sock_bind_source(fd, family, s, refused)) {
        *errno_r = refused->why;
        sock_close(fd);
        return false;
    }
    /* connect(2): after EINTR the connection goes on being made, as after EINPROGRESS. */
    if (connect(fd, &to->u.sa, to->length) != 0 && errno != EINPROGRESS && errno != EINTR) {
        *errno_r = errno;
        sock_close(fd);
        return false;
    }
    *fd_r = fd;
    return true;
}

/* A port of this machine that nobody listens on may be picked as the ephemeral port of the very
 * connection to it: TCP's simultaneous open (RFC 9293 section 3.5) then joins the socket to
 * itself, and it would echo what it is sent. */
static bool is_self_connected(int fd, const struct net_addr *to)
{
    struct net_addr local;
    if (to->u.sa.sa_family == AF_INET)
        return sock_local(fd, &local) && local.u.in.sin_port == to->u.in.sin_port &&
               local.u.in.sin_addr.s_addr == to->u.in.sin_addr.s_addr;
    if (to->u.sa.sa_family == AF_INET6)
        return sock_local(fd, &local) && local.u.in6.sin6_port == to->u.in6.sin6_port &&
               memcmp(&local.u.in6.sin6_addr, &to->u.in6.sin6_addr, sizeof local.u.in6.sin6_addr) ==
                   0;
    return false;
}

int sock_connect_result(int fd, const struct net_addr *to)
{
    int result = 0;
    socklen_t length = sizeof(result);
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &result, &length) != 0)
        return errno;
    if (result == 0 && is_self_connected(fd, to))
        return ECONNREFUSED;
    return result;
}

static void set_option(int fd, int level, int name, int value)
{
    /* A unix socket knows no TCP option: refused there, and of no use. */
    (void)setsockopt(fd, level, name, &value, sizeof(value));
}

void sock_tune(int fd)
{
    set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
}

static int or_default(int64_t value, int fallback)
{
    return value > 0 ? (int)value : fallback;
}

void sock_keep_alive(int fd, const struct sock_settings *s)
{
    static const struct sock_settings none;
    if (s == NULL)
        s = &none;
    set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE,
               or_default(s->keepalive_idle / 1000, KEEPALIVE_IDLE_S));
    set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL,
               or_default(s->keepalive_interval / 1000, KEEPALIVE_INTERVAL_S));
    set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, or_default(s->keepalive_probes, KEEPALIVE_PROBES));
    set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
}

void sock_user_timeout(int fd, int64_t ms)
{
    if (ms > 0)
        set_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, ms > INT32_MAX ? INT32_MAX : (int)ms);
}

size_t sock_unsent(int fd)
{
    int bytes = 0;
    if (ioctl(fd, SIOCOUTQ, &bytes) != 0 || bytes < 0)
        return 0;
    return (size_t)bytes;
}

void sock_reset(int fd)
{
    const struct linger at_once = {.l_onoff = 1, .l_linger = 0};
    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
    sock_close(fd);
}

void sock_close(int fd)
{
    /* close(2): on Linux the descriptor is free even after EINTR; a second close could hit one
     * that another thread has just got. */
    (void)close(fd);
}

enum sock_drain sock_drain(int fd, uint64_t *dropped)
{
    char chunk[DRAIN_CHUNK];
    for (int step = 0; step < DRAIN_STEPS; step++) {
        ssize_t got = recv(fd, chunk, sizeof(chunk), MSG_DONTWAIT);
        if (got == 0)
            return SOCK_DRAIN_EOF;
        if (got < 0 && errno == EAGAIN)
            return SOCK_DRAIN_AGAIN;
        if (got < 0 && errno != EINTR)
            return SOCK_DRAIN_ERROR;
        if (got > 0)
            *dropped += (uint64_t)got;
    }
    return SOCK_DRAIN_MORE;
}

static bool take_name(struct net_addr *a, socklen_t length)
{
    /* unix(7): a full sun_path is reported one byte longer than the structure. */
    a->length = length <= sizeof(a->u) ? length : (socklen_t)sizeof(a->u);
    return true;
}

bool sock_local(int fd, struct net_addr *a)
{
    socklen_t length = sizeof(a->u);
    memset(a, 0, sizeof(*a));
    return getsockname(fd, &a->u.sa, &length) == 0 && take_name(a, length);
}

bool sock_peer(int fd, struct net_addr *a)
{
    socklen_t length = sizeof(a->u);
    memset(a, 0, sizeof(*a));
    return getpeername(fd, &a->u.sa, &length) == 0 && take_name(a, length);
}
