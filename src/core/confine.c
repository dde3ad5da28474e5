/* What a gateway of this configuration needs of the system, and giving up the rest. */
#include "gateway.h"

#include <esclusa/log.h>
#include <esclusa/str.h>
#include <esclusa/tls.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

_Static_assert((int)SANDBOX_OFF == (int)SANDBOX_WORD_OFF &&
                   (int)SANDBOX_ON == (int)SANDBOX_WORD_ON &&
                   (int)SANDBOX_REQUIRE == (int)SANDBOX_WORD_REQUIRE,
               "one word, two layers");

/* ---- the plan ---- */

static void plan_named(void *plan, const char *path)
{
    sandbox_plan_file(plan, path, "named by the configuration");
}

static void plan_openssl(void *plan, const char *path, bool renewed)
{
    if (renewed)
        sandbox_plan_file(plan, path, "OpenSSL: system store");
    else
        sandbox_plan_grant(plan, path, SANDBOX_READ, "OpenSSL: configuration, modules");
}

static void plan_written(void *plan, const char *path, bool is_socket)
{
    if (is_socket)
        sandbox_plan_parent(plan, path, SANDBOX_SOCKETS, "unix sockets are made and removed");
    else
        sandbox_plan_parent(plan, path, SANDBOX_READ | SANDBOX_WRITE, "written");
}

static bool is_abstract(const struct config *c)
{
    static const char scheme[] = "unix:@";
    for (size_t i = 0; i < c->service_count; i++) {
        const struct text_list *list = &c->services[i].connect;
        for (size_t k = 0; k < list->count; k++) {
            if (strncasecmp(list->items[k], scheme, strlen(scheme)) == 0)
                return true;
        }
    }
    return false;
}

bool confine_plan(struct sandbox_plan *plan, const struct config *c, struct error *err)
{
    sandbox_plan_init(plan, (enum sandbox_mode)c->sandbox);
    plan->keep_bind = c->keep_bind != 0;
    for (size_t i = 0; i < c->service_count; i++)
        plan->keep_mark = plan->keep_mark || c->services[i].fwmark != 0;
    plan->core_dumps = c->core_dumps != 0;
    const char *manager = getenv("NOTIFY_SOCKET");
    plan->abstract_peers = is_abstract(c) || (manager != NULL && manager[0] == '@');
    if ((c->user != NULL || c->group != NULL) && !sandbox_plan_user(plan, c->user, c->group, err))
        return false;
    if (plan->mode == SANDBOX_OFF)
        return true;
    config_paths(c, plan_named, plan);
    config_written_paths(c, plan_written, plan);
    for (size_t i = 0; i < c->sandbox_read.count; i++)
        sandbox_plan_file(plan, c->sandbox_read.items[i], "sandbox_read");
    for (size_t i = 0; i < c->sandbox_write.count; i++)
        sandbox_plan_grant(plan, c->sandbox_write.items[i], SANDBOX_READ | SANDBOX_WRITE,
                           "sandbox_write");
    tls_system_paths(plan_openssl, plan);
    sandbox_plan_system(plan);
    return true;
}

bool confine_print(const struct snapshot *snapshot, FILE *out, struct error *err)
{
    struct sandbox_plan plan;
    bool done = confine_plan(&plan, &snapshot->config, err);
    if (done)
        sandbox_print(&plan, out);
    sandbox_plan_fini(&plan);
    return done;
}

/* ---- entering it ---- */

static void log_active(const struct sandbox_plan *plan, const struct sandbox_report *report)
{
    struct log_line line;
    bool whole = report->missing[0] == '\0';
    log_begin(&line, whole ? LOG_LEVEL_INFO : LOG_LEVEL_WARN, "sandbox");
    log_text(&line, "active", report->active[0] != '\0' ? report->active : NULL);
    log_text(&line, "missing", whole ? NULL : report->missing);
    log_number(&line, "paths", (int64_t)plan->count);
    log_end(&line);
}

/* What was read at the start and cannot be any more would make every reload fail: better said now.
 */
static void warn_unreadable(void *context, const char *path)
{
    (void)context;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd >= 0) {
        close(fd);
        return;
    }
    if (errno != EACCES && errno != EPERM)
        return;
    struct log_line line;
    log_begin(&line, LOG_LEVEL_WARN, "unreadable");
    log_text(&line, "path", path);
    log_text(&line, "error",
             "was read at the start, and cannot be read by the user it runs as now");
    log_text(&line, "remedy",
             "reloads will fail: let that user read it (its mode, or a group of its own)");
    log_end(&line);
}

bool confine_enter(struct gateway *g, struct error *err)
{
    struct sandbox_report report;
    if (!confine_plan(&g->sandbox, &g->snapshot->config, err))
        return false;
    if (g->sandbox.change_user)
        log_give(g->sandbox.uid, g->sandbox.gid);
    if (!sandbox_enter(&g->sandbox, &report, err))
        return false;
    log_active(&g->sandbox, &report);
    config_paths(&g->snapshot->config, warn_unreadable, NULL);
    return true;
}

/* ---- a reload ---- */

struct reach {
    const struct sandbox_plan *plan;
    const struct listen_set *open;
    struct error *err;
};

static void reach_named(void *context, const char *path)
{
    const struct reach *r = context;
    if (!sandbox_covers(r->plan, path, SANDBOX_READ))
        error_set(r->err, "%s: not readable in the sandbox, which was entered without it", path);
}

static void reach_written(void *context, const char *path, bool is_socket)
{
    const struct reach *r = context;
    if (!sandbox_covers(r->plan, path, is_socket ? SANDBOX_SOCKETS : SANDBOX_WRITE))
        error_set(r->err, "%s: cannot be made in the sandbox, which was entered without it", path);
}

static bool is_open(const struct listen_set *set, const struct net_endpoint *at)
{
    for (size_t i = 0; i < set->count; i++) {
        const struct net_endpoint *open = &set->items[i].at->endpoint;
        if (open->port == at->port && str_equal(open->host, at->host))
            return true;
    }
    return false;
}

static void reach_ports(const struct reach *r, const struct config *c)
{
    for (size_t i = 0; i < c->service_count; i++) {
        const struct text_list *list = &c->services[i].listen;
        for (size_t k = 0; k < list->count; k++) {
            struct net_endpoint at;
            if (net_endpoint_parse(&at, list->items[k], NET_LISTEN, NULL) && at.port != 0 &&
                !is_open(r->open, &at) && sandbox_bars_port(r->plan, at.port))
                error_set(r->err,
                          "%s: the right to open ports below 1024 was given up at the start "
                          "(keep_bind = true would keep it)",
                          list->items[k]);
        }
    }
}

bool confine_allows(const struct gateway *g, const struct config *c, struct error *err)
{
    struct reach r = {.plan = &g->sandbox, .open = g->set, .err = err};
    config_paths(c, reach_named, &r);
    config_written_paths(c, reach_written, &r);
    reach_ports(&r, c);
    if (g->sandbox.landlocked && !g->sandbox.abstract_peers && is_abstract(c))
        error_set(err, "an upstream on unix:@...: abstract sockets cannot be reached in the "
                       "sandbox, which was entered without one");
    return !err->set;
}
