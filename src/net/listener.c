#include <esclusa/net.h>
#include <esclusa/str.h>

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ADDRESSES_MAX 8

/* ---- unix paths ---- */

enum path_state {
    PATH_FREE,    /* nothing there */
    PATH_STALE,   /* a socket that nobody listens on any more */
    PATH_LIVING,  /* a socket with a process behind it */
    PATH_FOREIGN, /* not a socket */
    PATH_UNKNOWN  /* could not be looked at: errno says why */
};

/* Only a connect(2) can tell a living socket from one that a dead process left behind. It does not
 * block: a living one whose queue is full answers EAGAIN (unix(7)). */
static enum path_state probe_path(const char *path)
{
    struct stat status;
    struct net_addr address;
    int fd = -1;
    int why = 0;

    if (lstat(path, &status) != 0)
        return errno == ENOENT ? PATH_FREE : PATH_UNKNOWN;
    if (!S_ISSOCK(status.st_mode))
        return PATH_FOREIGN;

    net_addr_from_path(&address, path);
    if (sock_connect(&address, &fd, &why)) {
        sock_close(fd);
        return PATH_LIVING;
    }
    errno = why;
    switch (why) {
    case ECONNREFUSED:
        return PATH_STALE;
    case ENOENT:
        return PATH_FREE;
    case EAGAIN:
    case EPROTOTYPE: /* a datagram socket's */
        return PATH_LIVING;
    default:
        return PATH_UNKNOWN;
    }
}

static bool make_room(const char *path, struct error *err)
{
    switch (probe_path(path)) {
    case PATH_FREE:
        return true;
    case PATH_STALE:
        if (unlink(path) == 0 || errno == ENOENT)
            return true;
        return error_set_errno(err, errno,
                               "cannot listen on unix:%s: a dead process left it, and it cannot be "
                               "removed",
                               path);
    case PATH_LIVING:
        return error_set(err,
                         "cannot listen on unix:%s: it is in use, another process listens there; "
                         "give another path or stop that process (ss -xlp shows it)",
                         path);
    case PATH_FOREIGN:
        return error_set(err,
                         "cannot listen on unix:%s: something that is not a socket is there; "
                         "remove it or give another path",
                         path);
    case PATH_UNKNOWN:
        break;
    }
    return error_set_errno(err, errno, "cannot listen on unix:%s: cannot look at the path", path);
}

/* ---- open ---- */

static bool explain(const struct net_addr *address, int why, struct error *err)
{
    char shown[NET_TEXT_MAX];
    net_addr_format(address, shown, sizeof(shown));
    bool is_unix = address->u.sa.sa_family == AF_UNIX;

    if (why == EADDRINUSE)
        return error_set(err,
                         "cannot listen on %s: another process listens there; give another %s or "
                         "stop that process (ss -%slp shows it)",
                         shown, is_unix ? "name" : "port", is_unix ? "x" : "tn");
    if (why == EACCES && !is_unix)
        return error_set(err,
                         "cannot listen on %s: not permitted; a port below 1024 needs "
                         "CAP_NET_BIND_SERVICE (or net.ipv4.ip_unprivileged_port_start): grant it "
                         "or give a higher port",
                         shown);
    if (why == EADDRNOTAVAIL)
        return error_set(err,
                         "cannot listen on %s: not an address of this machine; give one that "
                         "`ip address` shows, or 0.0.0.0 or [::] for all",
                         shown);
    if (why == EAFNOSUPPORT)
        return error_set(err, "cannot listen on %s: this machine has no %s; give another address",
                         shown, address->u.sa.sa_family == AF_INET6 ? "IPv6" : "such protocol");
    if (is_unix && (why == EACCES || why == EROFS))
        return error_set_errno(err, why,
                               "cannot listen on %s: give a path in a directory that this user may "
                               "write to",
                               shown);
    if (is_unix && (why == ENOENT || why == ENOTDIR))
        return error_set(err, "cannot listen on %s: its directory does not exist; make it first",
                         shown);
    return error_set_errno(err, why, "cannot listen on %s", shown);
}

/* The descriptor, or -1 and *errno_r. */
static int open_at(const struct net_addr *address, int backlog, int *errno_r)
{
    const int on = 1;
    int family = address->u.sa.sa_family;
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    bool good = fd >= 0;

    /* A restart must not wait for the TIME_WAIT of old connections (socket(7)). */
    if (good && family != AF_UNIX)
        good = setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == 0;
    if (good && family != AF_UNIX) {
        /* Those that accept(2) gives inherit it (Linux): five calls less for each. */
        sock_tune(fd);
        sock_keep_alive(fd, NULL);
    }
    if (good && family == AF_INET6)
        good = setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)) == 0;
    good = good && bind(fd, &address->u.sa, address->length) == 0 && listen(fd, backlog) == 0;
    if (good)
        return fd;
    *errno_r = errno;
    if (fd >= 0)
        sock_close(fd);
    return -1;
}

static bool open_unix(const char *path, int backlog, int *fd_r, struct error *err)
{
    struct net_addr address;
    int why = 0;

    if (path[0] != '@' && !make_room(path, err))
        return false;
    net_addr_from_path(&address, path);
    *fd_r = open_at(&address, backlog, &why);
    return *fd_r >= 0 || explain(&address, why, err);
}

bool listener_open(const struct net_endpoint *at, int backlog, int *fd_r, struct error *err)
{
    struct net_addr list[ADDRESSES_MAX];
    size_t count = 0;
    int why = 0;

    *fd_r = -1;
    if (at->scheme == NET_UNIX)
        return open_unix(at->path, backlog, fd_r, err);
    if (!net_resolve_blocking(at->host, at->port, list, ADDRESSES_MAX, &count, err))
        return false;
    for (size_t i = 0; i < count; i++) {
        *fd_r = open_at(&list[i], backlog, &why);
        if (*fd_r >= 0)
            return true;
        /* Only what this machine does not have is passed over: to take the second address because
         * the first is in use would hide that somebody else answers there. */
        bool absent = why == EADDRNOTAVAIL || why == EAFNOSUPPORT;
        if (!absent || i + 1 == count)
            return explain(&list[i], why, err);
    }
    return error_set(err, "cannot listen on '%s': it has no address", at->host);
}

void listener_close(const struct net_endpoint *at, int fd)
{
    sock_close(fd);
    if (at->scheme != NET_UNIX || at->path[0] == '@')
        return;
    /* Another process may have put its own socket or file there since: ours is the one that
     * refuses now. */
    if (probe_path(at->path) == PATH_STALE)
        (void)unlink(at->path);
}

/* ---- accept ---- */

static enum accept_status classify(int why)
{
    switch (why) {
    case EAGAIN:
        return ACCEPT_AGAIN;
    /* accept(2): errors that are already pending on the new socket are reported here. They are
     * that connection's own, and so is a firewall's EPERM. */
    case ECONNABORTED:
    case ECONNRESET:
    case EINTR:
    case ENETDOWN:
    case EPROTO:
    case ENOPROTOOPT:
    case EHOSTDOWN:
    case ENONET:
    case EHOSTUNREACH:
    case EOPNOTSUPP:
    case ENETUNREACH:
    case ETIMEDOUT:
    case EPERM:
        return ACCEPT_RETRY;
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM:
    case ENOSR:
        return ACCEPT_LIMIT;
    default: /* EBADF, EINVAL (not listening), ENOTSOCK, ...: it would be the same next time */
        return ACCEPT_BROKEN;
    }
}

enum accept_status listener_accept(int fd, int *fd_r, struct net_addr *peer, int *errno_r)
{
    socklen_t length = sizeof(peer->u);

    memset(peer, 0, sizeof(*peer));
    *fd_r = accept4(fd, &peer->u.sa, &length, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (*fd_r < 0) {
        *errno_r = errno;
        return classify(*errno_r);
    }
    peer->length = length <= sizeof(peer->u) ? length : (socklen_t)sizeof(peer->u);
    return ACCEPT_OK;
}
