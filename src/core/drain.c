/* The way to the end: not ready, still accepting for drain_delay; then no listener, and sessions
 * finish up to drain_timeout; or now. Who sends consumers here learns of it with a delay, and until
 * then a closed listener would refuse them. */
#include "admin.h"
#include "gateway.h"

#include <esclusa/log.h>

/* Or, if they have left them, another deadline. */
static void leave_listeners(struct gateway *g, int64_t timeout)
{
    for (unsigned i = 0; i < g->group.count; i++)
        worker_post_drain(&g->group.workers[i], timeout);
}

static void delay_is_over(void *context)
{
    struct gateway *g = context;
    leave_listeners(g, g->snapshot->config.drain_timeout);
    log_message(LOG_LEVEL_INFO, "not_accepting", "drain_delay is over");
}

static void begin(struct gateway *g, const char *why)
{
    int64_t delay = g->upgrade.replaced ? 0 : g->snapshot->config.drain_delay;
    struct log_line line;
    log_begin(&line, LOG_LEVEL_INFO, "draining");
    log_text(&line, "signal", why);
    log_number(&line, "sessions", (int64_t)atomic_load(&g->group.sessions));
    log_ms(&line, "delay_ms", delay * 1000);
    log_ms(&line, "timeout_ms", g->snapshot->config.drain_timeout * 1000);
    log_end(&line);
    if (delay == 0 || !timer_set(g->loop, &g->drain_delay, loop_now(g->loop) + delay))
        leave_listeners(g, g->snapshot->config.drain_timeout);
}

static void end_now(struct gateway *g, const char *why)
{
    timer_clear(g->loop, &g->drain_delay);
    for (unsigned i = 0; i < g->group.count; i++)
        worker_post_kill(&g->group.workers[i]);
    struct log_line line;
    log_begin(&line, LOG_LEVEL_INFO, "stopping_now");
    log_text(&line, "signal", why);
    log_end(&line);
}

void drain_init(struct gateway *g)
{
    timer_init(&g->drain_delay, delay_is_over, g);
}

bool gateway_is_ending(const struct gateway *g)
{
    return g->stops > 0 || g->upgrade.replaced;
}

void drain_replaced(struct gateway *g)
{
    admin_give(g); /* before it says that it is not ready: the other one is */
    atomic_store(&g->state, GATEWAY_DRAINING);
    watch_stop(&g->watch);
    leave_listeners(g, g->snapshot->config.upgrade_drain_timeout);
}

void gateway_stop(struct gateway *g, const char *why)
{
    g->stops++;
    atomic_store(&g->state, GATEWAY_DRAINING);
    upgrade_abandon(g, why);
    watch_stop(&g->watch); /* a reload would be ignored */
    if (g->stops == 1) {
        supervise_stopping(g);
        begin(g, why);
    } else if (g->stops == 2) {
        end_now(g, why);
    }
}

void drain_fini(struct gateway *g)
{
    if (g->loop != NULL)
        timer_clear(g->loop, &g->drain_delay);
}
