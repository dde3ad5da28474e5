#include <esclusa/inherit.h>
#include <esclusa/str.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ADDRESSES_MAX 8
#define NAMELESS      "unknown" /* sd_listen_fds_with_names(3), without LISTEN_FDNAMES */

/* ---- addresses ---- */

bool net_addr_equal(const struct net_addr *a, const struct net_addr *b)
{
    if (a->u.sa.sa_family != b->u.sa.sa_family)
        return false;
    switch (a->u.sa.sa_family) {
    case AF_INET:
        return a->u.in.sin_port == b->u.in.sin_port &&
               a->u.in.sin_addr.s_addr == b->u.in.sin_addr.s_addr;
    case AF_INET6:
        return a->u.in6.sin6_port == b->u.in6.sin6_port &&
               a->u.in6.sin6_scope_id == b->u.in6.sin6_scope_id &&
               IN6_ARE_ADDR_EQUAL(&a->u.in6.sin6_addr, &b->u.in6.sin6_addr);
    case AF_UNIX: /* what getsockname(2) gives may lack the NUL, or count it: unix(7) */
        if (a->u.un.sun_path[0] != '\0')
            return strncmp(a->u.un.sun_path, b->u.un.sun_path, sizeof(a->u.un.sun_path)) == 0;
        return a->length == b->length && memcmp(&a->u, &b->u, a->length) == 0;
    default:
        return false;
    }
}

/* NULL: it can be listened on. */
static const char *look_at(int fd, struct net_addr *addr)
{
    int type = 0;
    int listening = 0;
    socklen_t length = sizeof(type);

    memset(addr, 0, sizeof(*addr));
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length) != 0)
        return "it is no socket";
    if (type != SOCK_STREAM)
        return "it is no stream socket: give ListenStream= in the socket unit";
    length = sizeof(listening);
    if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &length) != 0 || !listening)
        return "it does not listen: set Accept=no in the socket unit";
    length = sizeof(addr->u);
    if (getsockname(fd, &addr->u.sa, &length) != 0)
        return "it has no address";
    addr->length = length <= sizeof(addr->u) ? length : (socklen_t)sizeof(addr->u);
    return NULL;
}

/* ---- the environment ---- */

/* A variable's number. *given_r: there is one. False: it is none. */
static bool number_of(const char *variable, uint64_t max, bool *given_r, uint64_t *value_r,
                      struct error *err)
{
    const char *text = getenv(variable);
    *given_r = text != NULL;
    *value_r = 0;
    return text == NULL || str_parse_u64(text, 0, max, value_r) ||
           error_set(err, "the variable %s is no number up to %llu", variable,
                     (unsigned long long)max);
}

static bool set_up(int fd, bool socket)
{
    int flags = fcntl(fd, F_GETFD);
    if (flags == -1 || fcntl(fd, F_SETFD, flags | FD_CLOEXEC) == -1)
        return false;
    flags = fcntl(fd, F_GETFL);
    return !socket || (flags != -1 && fcntl(fd, F_SETFL, flags | O_NONBLOCK) != -1);
}

/* Copies up to the next ':' and steps over it; *at NULL: there are no names any more. */
static void next_name(const char **at, char *dst, size_t size)
{
    size_t length = strcspn(*at, ":");
    if (length < size) {
        memcpy(dst, *at, length);
        dst[length] = '\0';
    }
    *at += length;
    if (**at == ':')
        (*at)++;
}

static bool take_sockets(struct inherit *in, size_t count, struct error *err)
{
    const char *names = getenv("LISTEN_FDNAMES");
    in->items = calloc(count, sizeof(*in->items));
    if (in->items == NULL)
        return error_set(err, "no memory for %zu descriptors", count);
    for (size_t i = 0; i < count; i++) {
        struct inherited *item = &in->items[i];
        item->fd = INHERIT_FIRST + (int)i;
        if (!set_up(item->fd, true))
            return error_set(err, "LISTEN_FDS is %zu, but descriptor %d is not open", count,
                             item->fd);
        in->count++;
        if (names == NULL)
            str_copy(item->name, sizeof(item->name), NAMELESS);
        else
            next_name(&names, item->name, sizeof(item->name));
        item->unfit = look_at(item->fd, &item->addr);
        if (item->unfit == NULL && item->addr.u.sa.sa_family != AF_UNIX)
            sock_tune(item->fd);
    }
    return true;
}

static bool read_environment(struct inherit *in, struct error *err)
{
    bool given = false;
    uint64_t pid = 0;
    uint64_t count = 0;
    uint64_t ready = 0;

    if (!number_of("LISTEN_PID", INT_MAX, &given, &pid, err))
        return false;
    if (!given || pid != (uint64_t)getpid())
        return true; /* of a process above us, which forgot to take them out */
    if (!number_of(INHERIT_READY_FD, INT_MAX, &given, &ready, err))
        return false;
    if (given && set_up((int)ready, false))
        in->ready_fd = (int)ready;
    return number_of("LISTEN_FDS", INT_MAX / 2, &given, &count, err) &&
           (count == 0 || take_sockets(in, (size_t)count, err));
}

bool inherit_take(struct inherit *in, struct error *err)
{
    static const char *const variables[] = {"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES",
                                            INHERIT_READY_FD};
    *in = (struct inherit){.ready_fd = -1};
    bool good = read_environment(in, err);
    for (size_t i = 0; i < sizeof(variables) / sizeof(variables[0]); i++)
        (void)unsetenv(variables[i]);
    return good;
}

void inherit_fini(struct inherit *in)
{
    for (size_t i = 0; i < in->count; i++) {
        if (in->items[i].fd >= 0)
            sock_close(in->items[i].fd);
    }
    if (in->ready_fd >= 0)
        close(in->ready_fd);
    free(in->items);
    *in = (struct inherit){.ready_fd = -1};
}

/* ---- who takes which ---- */

static bool is_named(const struct inherited *item, const char *name)
{
    return item->name[0] != '\0' && strcmp(item->name, name) == 0;
}

size_t inherit_count(const struct inherit *in, const char *name)
{
    size_t count = 0;
    for (size_t i = 0; i < in->count; i++)
        count += is_named(&in->items[i], name);
    return count;
}

int inherit_named(struct inherit *in, const char *name, size_t nth, struct error *err)
{
    for (size_t i = 0; i < in->count; i++) {
        struct inherited *item = &in->items[i];
        if (!is_named(item, name) || nth-- > 0)
            continue;
        item->claimed = item->unfit == NULL;
        if (item->unfit == NULL)
            return item->fd;
        (void)error_set(err, "the descriptor '%s' that was handed over cannot be used: %s", name,
                        item->unfit);
        return -1;
    }
    (void)error_set(err, "no descriptor '%s' was handed over", name);
    return -1;
}

static bool any_left(const struct inherit *in)
{
    for (size_t i = 0; i < in->count; i++) {
        if (in->items[i].fd >= 0 && in->items[i].unfit == NULL)
            return true;
    }
    return false;
}

/* Where at is, as the kernel says it. */
static size_t addresses_of(const struct net_endpoint *at, struct net_addr *list, size_t max)
{
    size_t count = 0;
    if (at->scheme == NET_UNIX) {
        net_addr_from_path(&list[0], at->path);
        return 1;
    }
    if (net_addr_from_literal(&list[0], at->host, at->port))
        return 1;
    return net_resolve_blocking(at->host, at->port, list, max, &count, NULL) ? count : 0;
}

int inherit_at(struct inherit *in, const struct net_endpoint *at, bool *own_r)
{
    struct net_addr list[ADDRESSES_MAX];
    *own_r = false;
    if (!any_left(in))
        return -1;
    size_t count = addresses_of(at, list, ADDRESSES_MAX);
    for (size_t n = 0; n < count; n++) {
        for (size_t i = 0; i < in->count; i++) {
            struct inherited *item = &in->items[i];
            int fd = item->fd;
            if (fd < 0 || item->unfit != NULL || !net_addr_equal(&item->addr, &list[n]))
                continue;
            item->claimed = true;
            *own_r = item->name[0] == '\0';
            if (*own_r)
                item->fd = -1;
            return fd;
        }
    }
    return -1;
}

const char *inherit_name(const struct inherit *in, int fd)
{
    for (size_t i = 0; i < in->count; i++) {
        if (in->items[i].fd == fd)
            return in->items[i].name;
    }
    return "";
}

void inherit_names(const struct inherit *in, char *dst, size_t size)
{
    size_t length = 0;
    dst[0] = '\0';
    for (size_t i = 0; i < in->count; i++) {
        if (in->items[i].name[0] != '\0')
            (void)str_append(dst, size, &length, "%s'%s'", length > 0 ? ", " : "",
                             in->items[i].name);
    }
}
