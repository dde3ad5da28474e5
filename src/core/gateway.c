/* The gateway: listeners and workers, started together or not at all. Runs on the
 * main thread, which has a small loop of its own for signals and what the workers report. */
#include "gateway.h"
#include "admin.h"
#include "names.h"
#include "program.h"

#include <esclusa/core.h>
#include <esclusa/log.h>
#include <esclusa/net.h>

#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/resource.h>

#define DESCRIPTOR_RESERVE 16

/* ---- what workers report ---- */

static void all_deaf(struct loop_message *m)
{
    struct gateway *g = LOOP_OWNER(m, struct gateway, deaf_message);
    listen_set_close(g->set, NULL);
    for (unsigned i = 0; i < g->group.count; i++)
        worker_post_finish(&g->group.workers[i]);
}

static void all_ended(struct loop_message *m)
{
    struct gateway *g = LOOP_OWNER(m, struct gateway, ended_message);
    loop_stop(g->loop);
}

/* The three on a worker's thread. */
static void on_moved(struct worker_group *group)
{
    struct gateway *g = group->context;
    if (atomic_fetch_add(&g->moved, 1) + 1 == group->count)
        loop_post(g->loop, &g->moved_message);
}

static void on_deaf(struct worker_group *group)
{
    struct gateway *g = group->context;
    if (atomic_fetch_add(&g->deaf, 1) + 1 == group->count)
        loop_post(g->loop, &g->deaf_message);
}

static void on_ended(struct worker_group *group)
{
    struct gateway *g = group->context;
    if (atomic_fetch_add(&g->ended, 1) + 1 == group->count)
        loop_post(g->loop, &g->ended_message);
}

/* ---- start ---- */

/* Two descriptors a session: the soft limit of 1024 is from another time (pain: EMFILE). */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
}

/* What is open now, what the admin endpoint may need and a reserve (resolver, reload) are kept
 * apart. */
static unsigned descriptors_left(int kept)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY ||
        limit.rlim_cur > INT_MAX)
        return INT_MAX;
    int open = DESCRIPTOR_RESERVE + kept;
    for (int fd = 0; fd < (int)limit.rlim_cur && fd < 65536; fd++)
        open += fcntl(fd, F_GETFD) != -1;
    int left = (int)limit.rlim_cur - open;
    return left > 2 ? (unsigned)left : 2;
}

static bool count_from_now(struct gateway *g, struct error *err)
{
    g->stats = stats_create(g->snapshot->workers);
    if (g->stats == NULL)
        return error_set(err, "no memory for statistics");
    return stats_attach(g->stats, g->snapshot, err);
}

static struct loop *find_resolver(void *context)
{
    const struct worker_group *group = context;
    return group->resolver == NULL ? NULL : resolver_loop(group->resolver);
}

static bool start_beating(struct gateway *g, struct error *err)
{
    g->group.heartbeat = &g->heartbeat;
    /* Only for who asks: a gateway at rest is to cost nothing. */
    const bool asked = g->snapshot->config.admin != NULL || g->notify.watchdog_ms > 0;
    if (!heartbeat_init(&g->heartbeat, g->loop, g->snapshot->workers))
        return error_set(err, "no memory for the heartbeat");
    heartbeat_find(&g->heartbeat, find_resolver, &g->group);
    return !asked || heartbeat_start(&g->heartbeat) ||
           error_set(err, "no memory for the heartbeat");
}

static bool start_workers(struct gateway *g, struct error *err)
{
    unsigned count = g->snapshot->workers;
    g->group.workers = calloc(count, sizeof *g->group.workers);
    if (g->group.workers == NULL)
        return error_set(err, "no memory for %u workers", count);
    for (unsigned i = 0; i < count; i++) {
        if (!worker_init(&g->group.workers[i], &g->group, i, g->set, err)) {
            g->group.count = i + 1; /* the last one is half made: fini copes */
            return false;
        }
        g->group.count = i + 1;
        heartbeat_watch(&g->heartbeat, i, g->group.workers[i].loop);
    }
    g->group.descriptors = descriptors_left(admin_descriptors(g));
    worker_group_limits(&g->group, g->snapshot);
    for (unsigned i = 0; i < count; i++) {
        if (!worker_start(&g->group.workers[i], err))
            return false;
    }
    return true;
}

struct gateway *gateway_create(struct snapshot *snapshot, const struct snapshot_source *source,
                               struct error *err)
{
    struct gateway *g = calloc(1, sizeof *g);
    if (g == NULL) {
        error_set(err, "no memory for the gateway");
        return NULL;
    }
    g->signal_fd = -1;
    g->snapshot = snapshot_ref(snapshot);
    sandbox_plan_init(&g->sandbox, SANDBOX_OFF);
    facts_init(&g->facts, snapshot);
    if (source != NULL)
        g->source = *source;
    g->group.on_moved = on_moved;
    g->group.on_deaf = on_deaf;
    g->group.on_ended = on_ended;
    g->group.context = g;
    atomic_init(&g->group.next_id, 1);
    atomic_init(&g->state, GATEWAY_STARTING);
    g->moved_message.callback = reload_end;
    g->deaf_message.callback = all_deaf;
    g->ended_message.callback = all_ended;
    raise_descriptor_limit();
    g->loop = loop_create(err);
    if (g->loop != NULL)
        watch_init(&g->watch, g->loop, reload_changed, g);
    drain_init(g);
    upgrade_init(g);
    supervise_open(g);
    if (g->loop == NULL || !signals_open(g, err) || !count_from_now(g, err) ||
        !start_beating(g, err) || !admin_open(g, err) ||
        (g->set = listen_set_create(snapshot, NULL, program_inherited(g->source.program), err)) ==
            NULL ||
        (g->source.confine && (!confine_enter(g, err) || !log_start(err))) ||
        !names_open(&g->group, &snapshot->config, err) || !admin_begin(g, err) ||
        !start_workers(g, err)) {
        gateway_destroy(&g);
        return NULL;
    }
    reload_watch(g);
    gateway_log_listeners(g);
    gateway_log_unclaimed(g);
    gateway_log_unverified(g->snapshot);
    upgrade_ready(g);
    return g;
}

void gateway_serves(struct gateway *g, bool took_over)
{
    atomic_store(&g->state, GATEWAY_READY);
    admin_serves(g); /* after that: the one before has said until now that it is ready */
    supervise_serves(g, took_over);
}

void gateway_run(struct gateway *g)
{
    loop_run(g->loop);
    gateway_log_reported(g->snapshot);
}

void gateway_destroy(struct gateway **gateway)
{
    struct gateway *g = *gateway;
    if (g == NULL)
        return;
    admin_stop(g);
    for (unsigned i = 0; i < g->group.count; i++) { /* not started, or ended: nothing comes of it */
        worker_post_kill(&g->group.workers[i]);
        worker_post_finish(&g->group.workers[i]);
    }
    for (unsigned i = 0; i < g->group.count; i++) {
        if (g->group.workers[i].started)
            pthread_join(g->group.workers[i].thread, NULL);
    }
    for (unsigned i = 0; i < g->group.count; i++)
        worker_fini(&g->group.workers[i]);
    listing_fini(&g->listing);
    failures_destroy(&g->failures);
    free(g->group.workers);
    resolver_destroy(&g->group.resolver);
    heartbeat_fini(&g->heartbeat); /* all loops that it sends to have ended */
    reload_fini(g);
    drain_fini(g);
    upgrade_fini(g);
    supervise_close(g);
    watch_fini(&g->watch);
    if (g->set != NULL)
        listen_set_close(g->set, NULL);
    listen_set_unref(&g->set);
    signals_close(g);
    if (g->loop != NULL)
        loop_destroy(&g->loop);
    snapshot_unref(&g->snapshot);
    sandbox_plan_fini(&g->sandbox);
    facts_fini(&g->facts);
    stats_destroy(&g->stats);
    free(g);
    *gateway = NULL;
}
