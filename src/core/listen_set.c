#include "listen_set.h"

#include <esclusa/net.h>
#include <esclusa/str.h>

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

/* The descriptor on which the previous generation listens at the same place; -1: none. The scheme
 * may differ (tcp://, tls://): that is decided when a connection is accepted. */
static int find_open(const struct listen_set *previous, const struct net_endpoint *at)
{
    for (size_t i = 0; previous != NULL && i < previous->count; i++) {
        const struct net_endpoint *old = &previous->items[i].at->endpoint;
        if (str_equal(old->host, at->host) && old->port == at->port &&
            str_equal(old->path, at->path))
            return previous->items[i].fd;
    }
    return -1;
}

static size_t count_listeners(const struct snapshot *snapshot)
{
    size_t total = 0;
    for (size_t i = 0; i < snapshot->service_count; i++)
        total += snapshot->services[i].listener_count;
    return total;
}

static bool open_one(struct listening *l, const struct listen_set *previous, struct error *err)
{
    int backlog = (int)l->service->config->backlog;
    l->fd = find_open(previous, &l->at->endpoint);
    if (l->fd < 0)
        return listener_open(&l->at->endpoint, backlog, &l->fd, err);
    (void)listen(l->fd, backlog); /* listen(2) again changes the backlog and keeps the queue */
    return true;
}

struct listen_set *listen_set_create(struct snapshot *snapshot, const struct listen_set *previous,
                                     struct error *err)
{
    size_t total = count_listeners(snapshot);
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
        const struct service *service = &snapshot->services[i];
        for (size_t k = 0; k < service->listener_count; k++) {
            struct listening *l = &set->items[set->count];
            *l = (struct listening){-1, &service->listeners[k], service, set};
            if (!open_one(l, previous, err)) {
                listen_set_close(set, previous);
                listen_set_unref(&set);
                return NULL;
            }
            set->count++;
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
        if (l->fd >= 0 && listen_set_find(next, l->fd) == NULL)
            listener_close(&l->at->endpoint, l->fd);
        l->fd = -1;
    }
}
