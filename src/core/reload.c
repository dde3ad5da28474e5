/* Another configuration without a dropped connection: build a whole new snapshot, open what is new,
 * move every worker over, then close what is gone. Anything wrong on the way changes nothing. Live
 * sessions keep the snapshot they began with. */
#include "gateway.h"

#include <esclusa/log.h>

static void refused(const char *why, const struct error *err)
{
    struct log_line line;
    log_begin(&line, LOG_LEVEL_ERROR, "reload_failed");
    log_text(&line, "why", why);
    log_text(&line, "error", err->text);
    log_text(&line, "remedy", "the old configuration stays in service; mend it and reload again");
    log_end(&line);
}

static struct snapshot *load(struct gateway *g, struct error *err)
{
    if (g->source.load == NULL) {
        error_set(err, "there is nothing to load from");
        return NULL;
    }
    return g->source.load(g->source.context, g->snapshot->workers, err);
}

void reload_begin(struct gateway *g, const char *why)
{
    if (g->stops > 0) {
        log_message(LOG_LEVEL_INFO, "reload", "ignored (%s): the gateway is stopping", why);
        return;
    }
    if (g->next_set != NULL) {
        g->reload_again = true;
        return;
    }
    struct error err;
    error_init(&err);
    struct snapshot *next = load(g, &err);
    if (next == NULL) {
        refused(why, &err);
        return;
    }
    struct listen_set *set = listen_set_create(next, g->set, &err);
    if (set == NULL) {
        refused(why, &err);
        snapshot_unref(&next);
        return;
    }
    g->next_snapshot = next;
    g->next_set = set;
    g->reload_why = why;
    atomic_store(&g->moved, 0);
    for (unsigned i = 0; i < g->group.count; i++)
        worker_post_move(&g->group.workers[i], set);
}

static void log_change(void *context, const char *service, const char *change)
{
    (void)context;
    struct log_line line;
    log_begin(&line, LOG_LEVEL_INFO, "changed");
    log_text(&line, "service", service);
    log_text(&line, "change", change);
    log_end(&line);
}

static void adopt(struct gateway *g)
{
    listen_set_close(g->set, g->next_set);
    listen_set_unref(&g->set);
    snapshot_unref(&g->snapshot);
    g->set = g->next_set;
    g->snapshot = g->next_snapshot;
    g->next_set = NULL;
    g->next_snapshot = NULL;
}

void reload_end(struct loop_message *moved)
{
    struct gateway *g = LOOP_OWNER(moved, struct gateway, moved_message);
    snapshot_diff(g->snapshot, g->next_snapshot, log_change, NULL);
    adopt(g);
    struct log_line line;
    log_begin(&line, LOG_LEVEL_INFO, "reloaded");
    log_text(&line, "why", g->reload_why);
    log_number(&line, "services", (int64_t)g->snapshot->service_count);
    log_number(&line, "listeners", (int64_t)g->set->count);
    log_end(&line);
    gateway_log_listeners(g);
    if (g->reload_again) {
        g->reload_again = false;
        reload_begin(g, "SIGHUP");
    }
}

void reload_fini(struct gateway *g)
{
    if (g->next_set != NULL)
        adopt(g); /* stopped in the middle: the workers have ended */
}
