/* Another configuration without a dropped connection: build a whole new snapshot, open what is new,
 * move every worker over, then close what is gone. Anything wrong on the way changes nothing. Live
 * sessions keep the snapshot they began with. */
#include "gateway.h"
#include "names.h"
#include "program.h"

#include <esclusa/log.h>
#include <esclusa/str.h>

#define REMEDY_MEND "the old configuration stays in service; mend it and reload again"
#define REMEDY_WEAKER                                                                              \
    "the old configuration stays in service; set allow_weaker = true for this reload, or restart"

#define REMEDY_SANDBOX                                                                             \
    "the old configuration stays in service; restart, or start the program anew in place "         \
    "(SIGUSR2): what the process may reach is fixed at its start; what later reloads will name "   \
    "can be given beforehand as sandbox_read"

static void refused(struct gateway *g, const char *why, const char *error, const char *remedy)
{
    supervise_reloaded(g, error);
    facts_reload_failed(&g->facts, why, error);
    struct log_line line;
    log_begin(&line, LOG_LEVEL_ERROR, "reload_failed");
    log_text(&line, "why", why);
    log_text(&line, "error", error);
    log_text(&line, "remedy", remedy);
    log_end(&line);
}

/* ---- the files ---- */

/* What the configuration names now, also where it will turn out to be wrong: a file that it names
 * and that is not there yet must be noticed when it comes. Read here beforehand, so that the files
 * are looked at before the load reads them; if it is written anew in between, its own change tells.
 */
static void add_paths_named_now(struct gateway *g, struct watch_list *list)
{
    struct config config;
    struct error unused;
    error_init(&unused);
    if (g->snapshot->config.file == NULL || !config_set_up(&config, &unused))
        return;
    if (!config_from_file(&config, g->snapshot->config.file, &unused))
        error_clear(&unused); /* the load will say it; what was read so far is named */
    config_paths(&config, watch_list_add, list);
    config_fini(&config);
}

static void not_watched(void)
{
    log_message(LOG_LEVEL_ERROR, "watch_failed", "no memory: changes of files may go unnoticed");
}

static void look_at_files(struct gateway *g)
{
    struct watch_list list = {.items = NULL};
    config_paths(&g->snapshot->config, watch_list_add, &list);
    add_paths_named_now(g, &list);
    if (!watch_look(&g->watch, &list))
        not_watched();
}

static void keep_to_files_of(struct gateway *g, const struct snapshot *s)
{
    struct watch_list list = {.items = NULL};
    config_paths(&s->config, watch_list_add, &list);
    if (!watch_keep(&g->watch, &list))
        not_watched();
}

static void watch_as_configured(struct gateway *g)
{
    const struct config *c = &g->snapshot->config;
    int64_t interval = c->watch && !gateway_is_ending(g) ? c->watch_interval : 0;
    if (interval == 0)
        watch_stop(&g->watch);
    else if (interval != g->watch.interval_ms && !watch_every(&g->watch, interval))
        not_watched();
}

void reload_changed(void *context, const char *path)
{
    char why[RELOAD_WHY_MAX]; /* a reload makes a new list: path is gone then */
    size_t length = 0;
    (void)str_append(why, sizeof why, &length, "files changed: %s", path);
    reload_begin(context, why);
}

void reload_watch(struct gateway *g)
{
    if (g->source.load == NULL)
        return;
    look_at_files(g);
    if (g->source.since.tv_sec != 0)
        watch_suspect(&g->watch, &g->source.since);
    watch_as_configured(g);
}

/* ---- a reload ---- */

/* Whether all that the new configuration names can be reached from in here. One that cannot be read
 * at all is for the load to tell. */
static bool is_reachable(struct gateway *g, struct error *err)
{
    struct config config;
    struct error unused;
    error_init(&unused);
    if (!g->sandbox.entered)
        return true;
    const char *file = g->snapshot->config.file;
    if (file == NULL)
        return confine_allows(g, &g->snapshot->config, err);
    if (!sandbox_covers(&g->sandbox, file, SANDBOX_READ)) /* written anew where it stood alone */
        return error_set(err, "%s: another file than at the start, not readable in the sandbox",
                         file);
    if (!config_set_up(&config, &unused))
        return true;
    if (!config_from_file(&config, file, &unused))
        error_clear(&unused);
    bool reachable = confine_allows(g, &config, err);
    config_fini(&config);
    return reachable;
}

static struct snapshot *load(struct gateway *g, struct error *err)
{
    if (g->source.load == NULL) {
        error_set(err, "there is nothing to load from");
        return NULL;
    }
    look_at_files(g);
    return g->source.load(g->source.context, g->snapshot->workers, err);
}

static void log_weaker(void *context, const char *service, const char *change)
{
    const bool *allowed = context;
    struct log_line line;
    log_begin(&line, *allowed ? LOG_LEVEL_WARN : LOG_LEVEL_ERROR, "weaker");
    log_text(&line, "service", service);
    log_text(&line, "change", change);
    log_end(&line);
}

static bool may_replace(const struct gateway *g, const struct snapshot *next)
{
    bool allowed = next->config.allow_weaker != 0;
    return !snapshot_weakens(g->snapshot, next, log_weaker, &allowed) || allowed;
}

/* The workers are told to move over to it. */
static bool move_to(struct gateway *g, struct snapshot *next, struct error *err)
{
    struct listen_set *set =
        listen_set_create(next, g->set, program_inherited(g->source.program), err);
    if (set == NULL)
        return false;
    g->next_snapshot = next;
    g->next_set = set;
    atomic_store(&g->moved, 0);
    for (unsigned i = 0; i < g->group.count; i++)
        worker_post_move(&g->group.workers[i], set);
    return true;
}

void reload_begin(struct gateway *g, const char *why)
{
    if (gateway_is_ending(g)) {
        log_message(LOG_LEVEL_INFO, "reload", "ignored (%s): the gateway is stopping", why);
        return;
    }
    if (g->next_set != NULL || upgrade_under_way(g)) {
        (void)str_copy(g->again_why, sizeof g->again_why, why);
        return;
    }
    (void)str_copy(g->reload_why, sizeof g->reload_why, why);
    supervise_reloading(g);
    struct error err;
    error_init(&err);
    if (!is_reachable(g, &err)) {
        look_at_files(g); /* so that it is told once, not at every look */
        refused(g, why, err.text, REMEDY_SANDBOX);
        return;
    }
    struct snapshot *next = load(g, &err);
    if (next == NULL) {
        refused(g, why, err.text, REMEDY_MEND);
    } else if (!may_replace(g, next)) {
        refused(g, why, "the new configuration verifies less than the one in service",
                REMEDY_WEAKER);
        snapshot_unref(&next);
    } else if (!stats_attach(g->stats, next, &err) || !move_to(g, next, &err)) {
        refused(g, why, err.text, REMEDY_MEND);
        snapshot_unref(&next);
    } else {
        keep_to_files_of(g, next);
    }
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
    gateway_log_reported(g->snapshot);
    adopt(g);
    facts_reloaded(&g->facts, g->snapshot, g->reload_why);
    worker_group_limits(&g->group, g->snapshot);
    names_configure(&g->group, &g->snapshot->config);
    watch_as_configured(g);
    struct log_line line;
    log_begin(&line, LOG_LEVEL_INFO, "reloaded");
    log_text(&line, "why", g->reload_why);
    log_number(&line, "services", (int64_t)g->snapshot->service_count);
    log_number(&line, "listeners", (int64_t)g->set->count);
    log_end(&line);
    gateway_log_listeners(g);
    gateway_log_unverified(g->snapshot);
    if (!gateway_is_ending(g)) /* it may have been told to stop since */
        supervise_reloaded(g, NULL);
    upgrade_after_reload(g);
    reload_again(g);
}

void reload_again(struct gateway *g)
{
    char why[RELOAD_WHY_MAX];
    if (g->again_why[0] == '\0' || upgrade_under_way(g))
        return;
    (void)str_copy(why, sizeof why, g->again_why);
    g->again_why[0] = '\0';
    reload_begin(g, why);
}

void reload_fini(struct gateway *g)
{
    if (g->next_set != NULL)
        adopt(g); /* stopped in the middle: the workers have ended */
}
