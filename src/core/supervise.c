/* What the service manager is told (systemd.service(5), Type=notify-reload), and the watchdog: a
 * word every now and then for as long as every loop turns. */
#include "gateway.h"
#include "program.h"

#include <esclusa/clock.h>
#include <esclusa/log.h>
#include <esclusa/str.h>

#include <inttypes.h>
#include <unistd.h>

#define REMARK_EVERY_MS 10000
#define STOP_SLACK_MS   5000 /* what is left at the deadline is ended within it: worker.c */

static int64_t interval(const struct gateway *g)
{
    int64_t watchdog = g->notify.watchdog_ms;
    int64_t third = watchdog / 3 > 0 ? watchdog / 3 : 1;
    return watchdog > 0 && third < REMARK_EVERY_MS ? third : REMARK_EVERY_MS;
}

/* Half of what the manager waits is long enough for a loop to be late. By how long a beat is under
 * way, not by when the last one was: a reload may have held up this loop, which sends them. */
static bool every_loop_turns(const struct gateway *g)
{
    for (unsigned i = 0; i < g->heartbeat.count; i++) {
        if (heartbeat_lag_us(&g->heartbeat, i) / 1000 > g->notify.watchdog_ms / 2)
            return false;
    }
    return true;
}

/* "serving 2 services on 3 listeners, 17 sessions" */
static void status(const struct gateway *g, char *dst, size_t size)
{
    size_t length = 0;
    unsigned sessions = atomic_load(&g->group.sessions);
    if (gateway_is_ending(g))
        (void)str_append(dst, size, &length, "STATUS=draining, %u sessions", sessions);
    else
        (void)str_append(dst, size, &length,
                         "STATUS=serving %zu services on %zu listeners, %u sessions",
                         g->snapshot->service_count, g->set->count, sessions);
}

static void remark(void *context)
{
    struct gateway *g = context;
    char text[NOTIFY_TEXT_MAX / 2] = "";
    status(g, text, sizeof text);
    bool alive = g->notify.watchdog_ms > 0 && every_loop_turns(g);
    if (alive)
        notify_remark(&g->notify, "WATCHDOG=1\n%s", text);
    else
        notify_remark(&g->notify, "%s", text);
    if (g->notify.watchdog_ms > 0 && !alive)
        log_message(LOG_LEVEL_ERROR, "loop_stuck",
                    "a worker has not turned lately: the watchdog is not told that all is well");
    if (!timer_set(g->loop, &g->notify_timer, loop_now(g->loop) + interval(g)))
        log_message(LOG_LEVEL_ERROR, "notify_failed", "no memory for a timer");
}

void supervise_open(struct gateway *g)
{
    const struct inherit *in = program_inherited(g->source.program);
    struct error err;
    error_init(&err);
    timer_init(&g->notify_timer, remark, g);
    g->notify.fd = -1;
    if (in == NULL)
        return; /* a part of another program */
    if (!notify_open(&g->notify, in->ready_fd >= 0, &err))
        log_message(LOG_LEVEL_WARN, "notify_failed", "%s", err.text);
}

/* One that took over has also read the configuration anew: whoever asked the old one for a reload
 * waits for that. */
void supervise_serves(struct gateway *g, bool took_over)
{
    char text[NOTIFY_TEXT_MAX / 2] = "";
    if (g->notify.fd < 0)
        return;
    if (took_over)
        supervise_reloading(g);
    status(g, text, sizeof text);
    notify_say(&g->notify, "READY=1\nMAINPID=%ld\n%s", (long)getpid(), text);
    remark(g);
}

void supervise_reloading(struct gateway *g)
{
    notify_say(&g->notify, "RELOADING=1\nMONOTONIC_USEC=%" PRId64 "\nSTATUS=reloading", clock_us());
}

void supervise_reloaded(struct gateway *g, const char *error)
{
    char text[NOTIFY_TEXT_MAX / 2] = "";
    status(g, text, sizeof text);
    if (error == NULL)
        notify_say(&g->notify, "READY=1\n%s", text);
    else
        notify_say(&g->notify, "READY=1\n%s; the last reload failed: %.300s", text, error);
}

void supervise_stopping(struct gateway *g)
{
    char text[NOTIFY_TEXT_MAX / 2] = "";
    const struct config *c = &g->snapshot->config;
    int64_t longest = c->drain_delay + c->drain_timeout + STOP_SLACK_MS;
    status(g, text, sizeof text);
    notify_say(&g->notify, "STOPPING=1\nEXTEND_TIMEOUT_USEC=%" PRId64 "\n%s", longest * 1000, text);
}

/* From here on it is for the new one to speak. The manager believes this one, which it knows, who
 * the other is; by default it hears nobody else (NotifyAccess=main). */
void supervise_replaced(struct gateway *g, int64_t pid)
{
    notify_say(&g->notify, "MAINPID=%" PRId64, pid);
    supervise_close(g);
}

void supervise_close(struct gateway *g)
{
    if (g->loop != NULL)
        timer_clear(g->loop, &g->notify_timer);
    notify_close(&g->notify);
}
