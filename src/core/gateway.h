/* gateway: what gateway.c, gateway_log.c and reload.c share. Private to core; main thread but for
 * the atomics. */
#ifndef ESCLUSA_CORE_GATEWAY_H
#define ESCLUSA_CORE_GATEWAY_H

#include "facts.h"
#include "failures.h"
#include "heartbeat.h"
#include "listen_set.h"
#include "listing.h"
#include "stats.h"
#include "watch.h"
#include "worker.h"

#include <esclusa/core.h>

#define RELOAD_WHY_MAX 512

/* What it is at; one after the other. Any thread may read it. */
enum gateway_state {
    GATEWAY_STARTING,
    GATEWAY_READY,
    GATEWAY_DRAINING /* told to stop; it may still be accepting */
};

struct gateway {
    _Atomic(enum gateway_state) state;
    struct heartbeat heartbeat;
    struct snapshot *snapshot;
    struct snapshot_source source;
    struct stats *stats;
    struct facts facts;
    /* for the admin endpoint; NULL without one */
    struct admin *admin;
    struct failures *failures;
    struct listing listing;
    unsigned pages; /* of /sessions that may be asked for now; the admin's thread alone */
    int64_t pages_filled_ms;
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
    char reload_why[RELOAD_WHY_MAX];
    char again_why[RELOAD_WHY_MAX]; /* asked for meanwhile; "": no */
    struct watch watch;
};

/* gateway.c: at the first call drains, at the second ends every session now. why: for the log. */
void gateway_stop(struct gateway *g, const char *why);

/* gateway_log.c: a line for each listener, each service whose upstream is not verified, and each
 * TLS profile that let something pass under a policy of "report". */
void gateway_log_listeners(const struct gateway *g);
void gateway_log_unverified(const struct snapshot *s);
void gateway_log_reported(const struct snapshot *s);

/* reload.c: builds a new snapshot and moves the workers over to it, or changes nothing and says so.
 */
void reload_begin(struct gateway *g, const char *why);
void reload_watch(struct gateway *g); /* from the start on: reloads when a file changes */
void reload_changed(void *gateway, const char *path); /* the watch's callback */
void reload_end(struct loop_message *moved);          /* every worker has moved */
void reload_fini(struct gateway *g);

#endif
