/* listen_set: the listening descriptors of one generation of the configuration. Private to core.
 *
 * The main thread makes a set and owns the descriptors; a set knows them and the snapshot that says
 * what is behind them. Sets are shared with the workers through a reference count: a worker holds
 * the one it accepts from, and a connection on its way to another worker holds the one it came
 * from. */
#ifndef ESCLUSA_CORE_LISTEN_SET_H
#define ESCLUSA_CORE_LISTEN_SET_H

#include <esclusa/config.h>

#include <stdatomic.h>

struct listen_set;

struct listening {
    int fd;
    const struct listen_at *at;
    const struct service *service;
    struct listen_set *set;
};

struct listen_set {
    atomic_uint references;
    struct snapshot *snapshot;
    size_t count;
    struct listening items[];
};

/* Main thread. Opens what the snapshot names; a listener that previous (NULL: none) has too keeps
 * its descriptor, and so its queue. On an error what was opened here is closed again. */
struct listen_set *listen_set_create(struct snapshot *snapshot, const struct listen_set *previous,
                                     struct error *err) WARN_UNUSED;
/* Any thread. */
struct listen_set *listen_set_ref(struct listen_set *set);
void listen_set_unref(struct listen_set **set); /* closes no descriptor */
/* Main thread, when no worker accepts from it any more: closes the descriptors that next (NULL:
 * none) does not have. */
void listen_set_close(struct listen_set *set, const struct listen_set *next);
/* The item with that descriptor, or NULL. */
const struct listening *listen_set_find(const struct listen_set *set, int fd);

#endif
