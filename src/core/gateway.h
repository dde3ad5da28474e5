/* gateway: what gateway.c and reload.c share. Private to core; main thread but for the atomics. */
#ifndef ESCLUSA_CORE_GATEWAY_H
#define ESCLUSA_CORE_GATEWAY_H

#include "listen_set.h"
#include "worker.h"

#include <esclusa/core.h>

struct gateway {
    struct snapshot *snapshot;
    struct snapshot_source source;
    struct worker_group group;
    struct listen_set *set;
    struct loop *loop; /* the main thread's */
    struct loop_io signals;
    int signal_fd;
    unsigned stops; /* SIGTERM and SIGINT seen */
    atomic_uint moved, deaf, ended;
    struct loop_message moved_message, deaf_message, ended_message;
    /* reload.c */
    struct snapshot *next_snapshot; /* while the workers move over to it */
    struct listen_set *next_set;
    bool reload_again; /* asked for meanwhile */
    const char *reload_why;
};

void gateway_log_listeners(const struct gateway *g);

/* reload.c: builds a new snapshot and moves the workers over to it, or changes nothing and says so.
 */
void reload_begin(struct gateway *g, const char *why);
void reload_end(struct loop_message *moved); /* every worker has moved */
void reload_fini(struct gateway *g);

#endif
