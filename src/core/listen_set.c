#include "listen_set.h"

#include <esclusa/net.h>
#include <esclusa/str.h>

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

const struct listening *listen_set_find(const struct listen_set *set, int fd)
{
    for (size_t i = 0; set != NULL && i < set->count; i++) {
        if (set->items[i].fd == fd)
            return &set->items[i];
    }
    return NULL;
}

/* The previous generation's listener at the same place; NULL: none. The scheme may differ (tcp://,
 * tls://): that is decided when a connection is accepted. */
static const struct listening *find_open(const struct listen_set *previous,
                                         const struct net_endpoint *at)
{
    for (size_t i = 0; previous != NULL && i < previous->count; i++) {
        const struct net_endpoint *old = &previous->items[i].at->endpoint;
        if (str_equal(old->host, at->host) && old->port == at->port &&
            str_equal(old->path, at->path) && old->fd_name[0] == '\0')
            return &previous->items[i];
    }
    return NULL;
}

/* One for each address, one for each descriptor of a name. */
static size_t places(const struct listen_at *at, const struct inherit *in)
{
    const char *name = at->endpoint.fd_name;
    size_t count = name[0] == '\0' || in == NULL ? 0 : inherit_count(in, name);
    return count > 0 ? count : 1; /* none of that name is an error later */
}

static size_t count_listeners(const struct snapshot *snapshot, const struct inherit *in)
{
    size_t total = 0;
    for (size_t i = 0; i < snapshot->service_count; i++) {
        for (size_t k = 0; k < snapshot->services[i].listener_count; k++)
            total += places(&snapshot->services[i].listeners[k], in);
    }
    return total;
}

static bool no_such_name(const struct listening *l, const struct inherit *in, struct error *err)
{
    char names[ERROR_TEXT_MAX / 2] = "";
    if (in != NULL)
        inherit_names(in, names, sizeof names);
    return error_set(err,
                     "cannot listen on %s: no descriptor of that name was handed over%s%s; start "
                     "esclusa from a socket unit with FileDescriptorName=%s, or give an address",
                     l->at->text, names[0] != '\0' ? ", but " : "", names, l->at->endpoint.fd_name);
}

static bool open_named(struct listening *l, size_t nth, struct inherit *in, struct error *err)
{
    const char *name = l->at->endpoint.fd_name;
    if (in == NULL || inherit_count(in, name) == 0)
        return no_such_name(l, in, err);
    l->kept = true;
    l->fd = inherit_named(in, name, nth, err);
    if (l->fd < 0)
        error_prefix(err, "cannot listen on %s", l->at->text);
    return l->fd >= 0;
}

static bool open_at(struct listening *l, const struct listen_set *previous, struct inherit *in,
                    struct error *err)
{
    const struct listening *old = find_open(previous, &l->at->endpoint);
    bool own = true;
    if (old != NULL) {
        l->fd = old->fd;
        l->kept = old->kept;
        return true;
    }
    if (in != NULL)
        l->fd = inherit_at(in, &l->at->endpoint, &own);
    l->kept = l->fd >= 0 && !own;
    return l->fd >= 0 ||
           listener_open(&l->at->endpoint, (int)l->service->config->backlog, &l->fd, err);
}

/* What is accepted from it has that, too. */
static bool set_up(const struct listening *l, struct error *err)
{
    struct net_addr at;
    struct sock_refusal refused;
    const struct sock_settings *s = &l->service->listen_sock;
    if (!sock_local(l->fd, &at) || at.u.sa.sa_family == AF_UNIX)
        return true;
    sock_keep_alive(l->fd, s);
    return sock_set(l->fd, at.u.sa.sa_family, s, true, &refused) ||
           error_set_errno(err, refused.why,
                           "cannot listen on %s: the kernel refuses listen_%s; give another value "
                           "or leave it out",
                           l->at->text, refused.name);
}

/* nth: of the places of one listener. */
static bool open_one(struct listening *l, size_t nth, const struct listen_set *previous,
                     struct inherit *in, struct error *err)
{
    bool named = l->at->endpoint.fd_name[0] != '\0';
    if (!(named ? open_named(l, nth, in, err) : open_at(l, previous, in, err)))
        return false;
    const struct listening *twice = listen_set_find(l->set, l->fd);
    if (twice != NULL) {
        l->fd = -1; /* that other one's to close */
        return error_set(err, "cannot listen on %s: it is the same socket as %s; give it once",
                         l->at->text, twice->at->text);
    }
    (void)listen(l->fd, (int)l->service->config->backlog); /* again: keeps the queue, listen(2) */
    return set_up(l, err);
}

/* Better told at the start than by the first consumer. */
static bool try_upstream(const struct service *service, struct error *err)
{
    static const int families[] = {AF_INET, AF_INET6};
    const struct sock_settings *s = &service->connect_sock;
    struct sock_refusal refused;
    for (size_t i = 0; i < 2; i++) {
        if (!sock_try(families[i], s, false, &refused))
            return error_set_errno(err, refused.why,
                                   "service %s: the kernel refuses %s%s; give another value or "
                                   "leave it out",
                                   service->config->name, refused.name,
                                   refused.why == EPERM ? " without the privilege (capabilities(7))"
                                                        : "");
    }
    return true;
}

static bool open_service(struct listen_set *set, const struct service *service,
                         const struct listen_set *previous, struct inherit *in, struct error *err)
{
    if (!try_upstream(service, err))
        return false;
    for (size_t k = 0; k < service->listener_count; k++) {
        for (size_t n = 0; n < places(&service->listeners[k], in); n++) {
            struct listening *l = &set->items[set->count];
            *l = (struct listening){
                .fd = -1, .at = &service->listeners[k], .service = service, .set = set};
            if (!open_one(l, n, previous, in, err))
                return false;
            set->count++;
        }
    }
    return true;
}

struct listen_set *listen_set_create(struct snapshot *snapshot, const struct listen_set *previous,
                                     struct inherit *in, struct error *err)
{
    size_t total = count_listeners(snapshot, in);
    if (total == 0) {
        error_set(err, "nothing to listen on");
        return NULL;
    }
    struct listen_set *set = calloc(1, sizeof *set + total * sizeof set->items[0]);
    if (set == NULL) {
        error_set(err, "no memory for %zu listeners", total);
        return NULL;
    }
    atomic_init(&set->references, 1);
    set->snapshot = snapshot_ref(snapshot);
    for (size_t i = 0; i < snapshot->service_count; i++) {
        if (!open_service(set, &snapshot->services[i], previous, in, err)) {
            listen_set_close(set, previous);
            listen_set_unref(&set);
            return NULL;
        }
    }
    return set;
}

struct listen_set *listen_set_ref(struct listen_set *set)
{
    atomic_fetch_add_explicit(&set->references, 1, memory_order_relaxed);
    return set;
}

void listen_set_unref(struct listen_set **set)
{
    struct listen_set *s = *set;
    *set = NULL;
    if (s == NULL || atomic_fetch_sub_explicit(&s->references, 1, memory_order_acq_rel) != 1)
        return;
    snapshot_unref(&s->snapshot);
    free(s);
}

void listen_set_close(struct listen_set *set, const struct listen_set *next)
{
    for (size_t i = 0; i < set->count; i++) {
        struct listening *l = &set->items[i];
        if (l->fd < 0 || l->kept || listen_set_find(next, l->fd) != NULL)
            ; /* not ours, or still in use */
        else if (l->given)
            sock_close(l->fd);
        else
            listener_close(&l->at->endpoint, l->fd);
        l->fd = -1;
    }
}
