/* gateway: what the files of the main thread share. Private to core;
 * main thread but for the atomics. */
#ifndef ESCLUSA_CORE_GATEWAY_H
#define ESCLUSA_CORE_GATEWAY_H

#include "facts.h"
#include "failures.h"
#include "heartbeat.h"
#include "listen_set.h"
#include "listing.h"
#include "notify.h"
#include "stats.h"
#include "upgrade.h"
#include "watch.h"
#include "worker.h"

#include <esclusa/core.h>
#include <esclusa/sandbox.h>

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
    unsigned stops;           /* SIGTERM and SIGINT seen */
    struct timer drain_delay; /* set: it still accepts; drain.c */
    atomic_uint moved, deaf, ended;
    struct loop_message moved_message, deaf_message, ended_message;
    /* reload.c */
    struct snapshot *next_snapshot; /* while the workers move over to it */
    struct listen_set *next_set;
    char reload_why[RELOAD_WHY_MAX];
    char again_why[RELOAD_WHY_MAX]; /* asked for meanwhile; "": no */
    struct watch watch;
    struct upgrade upgrade;
    struct notify notify; /* supervise.c */
    struct timer notify_timer;
    struct sandbox_plan sandbox; /* confine.c */
};

/* drain.c: at the first call goes on accepting for drain_delay and then drains, at the second ends
 * every session now. why: for the log. */
void drain_init(struct gateway *g);
void gateway_stop(struct gateway *g, const char *why);
void drain_fini(struct gateway *g);
/* Another process serves: drains without delay, for upgrade_drain_timeout. */
void drain_replaced(struct gateway *g);
/* It is on its way to the end: no reload, no upgrade. */
bool gateway_is_ending(const struct gateway *g);

/* gateway.c: it serves, and no other does. took_over: from another. */
void gateway_serves(struct gateway *g, bool took_over);

/* supervise.c: tells the service manager, if there is one. error: NULL for a reload that went well.
 */
void supervise_open(struct gateway *g); /* before the workers are made */
void supervise_serves(struct gateway *g, bool took_over);
void supervise_reloading(struct gateway *g);
void supervise_reloaded(struct gateway *g, const char *error);
void supervise_stopping(struct gateway *g);
void supervise_replaced(struct gateway *g, int64_t pid);
void supervise_close(struct gateway *g);

/* signals.c: takes signals from now on, on g->loop. */
bool signals_open(struct gateway *g, struct error *err) WARN_UNUSED;
void signals_close(struct gateway *g);

/* gateway_log.c: a line for each listener, each service whose upstream is not verified, and each
 * TLS profile that let something pass under a policy of "report". */
void gateway_log_listeners(const struct gateway *g);
void gateway_log_unclaimed(const struct gateway *g); /* handed over, and no listener's */
void gateway_log_unverified(const struct snapshot *s);
void gateway_log_reported(const struct snapshot *s);

/* confine.c: what a configuration needs, as a plan, and entering it: every listener is open, and no
 * other thread runs yet. Logs what is active. */
bool confine_plan(struct sandbox_plan *plan, const struct config *c, struct error *err) WARN_UNUSED;
bool confine_enter(struct gateway *g, struct error *err) WARN_UNUSED;
/* Whether a reload to it would find everything: what can be opened now, not what was read. False:
 * err names the path or port. */
bool confine_allows(const struct gateway *g, const struct config *c, struct error *err) WARN_UNUSED;

/* reload.c: builds a new snapshot and moves the workers over to it, or changes nothing and says so.
 */
void reload_begin(struct gateway *g, const char *why);
void reload_watch(struct gateway *g); /* from the start on: reloads when a file changes */
void reload_changed(void *gateway, const char *path); /* the watch's callback */
void reload_end(struct loop_message *moved);          /* every worker has moved */
/* The one that was asked for while none could be, if there was. */
void reload_again(struct gateway *g);
void reload_fini(struct gateway *g);

#endif
