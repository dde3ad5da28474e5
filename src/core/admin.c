#include "admin.h"
#include "program.h"
#include "rate.h"

#include <esclusa/clock.h>
#include <esclusa/inherit.h>
#include <esclusa/log.h>
#include <esclusa/net.h>
#include <esclusa/str.h>

#include <stdlib.h>
#include <time.h>

#define BACKLOG              64
#define REFUSAL_LOG_EVERY_MS 10000

struct admin {
    struct gateway *gateway;
    struct net_endpoint at;
    int fd;
    bool own;   /* else it was handed over by name, and stays open */
    bool given; /* to another process */
    bool read_only;
    uint64_t refused; /* orders since the last line about it; the server's thread, as the next */
    atomic_int_fast64_t refused_told_ms;
    struct http_server *http;
    struct loop_message reload, drain; /* to the main loop, one at a time each */
    atomic_bool reload_posted, drain_posted;
};

/* ---- small answers ---- */

void admin_say(struct http_answer *answer, unsigned status, const char *text)
{
    answer->status = status;
    answer->type = HTTP_PLAIN;
    text_fini(&answer->body);
    text_add(&answer->body, "%s", text);
}

bool admin_number(const struct http_request *request, const char *name, uint64_t min, uint64_t max,
                  uint64_t otherwise, uint64_t *value_r, struct http_answer *answer)
{
    const char *given = http_query(request, name);
    *value_r = otherwise;
    if (given == NULL || str_parse_u64(given, min, max, value_r))
        return true;
    admin_say(answer, 400, "");
    text_add(&answer->body, "%s: give a whole number, %llu to %llu\n", name,
             (unsigned long long)min, (unsigned long long)max);
    return false;
}

void admin_seconds(struct json *j, const char *key, int64_t seconds)
{
    if (seconds == 0)
        json_null(j, key);
    else
        json_number(j, key, seconds);
}

/* ---- probes ---- */

unsigned admin_workers(const struct gateway *g)
{
    /* The store of GATEWAY_READY comes after all that is read of them. */
    return atomic_load(&g->state) == GATEWAY_STARTING ? 0 : g->group.count;
}

bool admin_healthy(const struct gateway *g)
{
    return heartbeat_age_ms(&g->heartbeat) < HEARTBEAT_LATE_MS;
}

/* By their checks, all of them: the next consumer is not needed to find that out. */
static bool all_down(const struct service *service)
{
    for (size_t i = 0; i < service->upstream_count; i++) {
        if (atomic_load(&service->upstreams[i].stats->check.state) != CHECK_DOWN)
            return false;
    }
    return true;
}

bool admin_ready(const struct gateway *g, const struct snapshot *s, struct text *why)
{
    bool ready = true;
    enum gateway_state state = atomic_load(&g->state);
    if (state != GATEWAY_READY) {
        text_add(why, state == GATEWAY_STARTING ? "starting\n" : "draining\n");
        ready = false;
    }
    for (size_t i = 0; i < s->service_count; i++) {
        const struct service *service = &s->services[i];
        const struct stats_health *h = &service->stats->health;
        if (!service->config->required)
            continue;
        if (all_down(service)) {
            text_add(why, "service %s has no usable upstream: the checks of all of them fail\n",
                     service->config->name);
            ready = false;
            continue;
        }
        if (stats_is_usable(h, (int64_t)time(NULL)))
            continue;
        text_add(why,
                 "service %s has no usable upstream: %u attempts in a row failed, the last "
                 "with %s\n",
                 service->config->name, atomic_load(&h->failed_in_row),
                 reason_word((enum reason)atomic_load(&h->last_reason)));
        ready = false;
    }
    return ready;
}

static void healthz(void *context, const struct http_request *request, struct http_answer *answer)
{
    const struct gateway *g = context;
    (void)request;
    if (admin_healthy(g)) {
        admin_say(answer, 200, "ok\n");
        return;
    }
    admin_say(answer, 503, "");
    text_add(&answer->body, "a loop has not ticked for %lld ms\n",
             (long long)heartbeat_age_ms(&g->heartbeat));
}

static void readyz(void *context, const struct http_request *request, struct http_answer *answer)
{
    struct gateway *g = context;
    struct snapshot *s = facts_snapshot(&g->facts);
    (void)request;
    if (admin_ready(g, s, &answer->body))
        text_add(&answer->body, "ready\n");
    else
        answer->status = 503;
    snapshot_unref(&s);
}

/* ---- orders ---- */

static void reload_asked(struct loop_message *message)
{
    struct admin *a = LOOP_OWNER(message, struct admin, reload);
    atomic_store(&a->reload_posted, false);
    reload_begin(a->gateway, "POST /reload");
}

static void drain_asked(struct loop_message *message)
{
    struct admin *a = LOOP_OWNER(message, struct admin, drain);
    atomic_store(&a->drain_posted, false);
    if (!gateway_is_ending(a->gateway)) /* a second one would end every session at once */
        gateway_stop(a->gateway, "POST /drain");
}

/* Where it is read only. A line each time would let whoever posts fill the log. */
static bool refuse_order(struct admin *a, const char *order, struct http_answer *answer)
{
    struct log_line line;
    if (!a->read_only)
        return false;
    admin_say(answer, 403, "");
    text_add(&answer->body, "refused: admin_read_only is true, and %s would change something\n",
             order);
    a->refused++;
    if (rate_once(&a->refused_told_ms, REFUSAL_LOG_EVERY_MS, clock_ms())) {
        log_begin(&line, LOG_LEVEL_WARN, "admin_refused");
        log_text(&line, "order", order);
        log_number(&line, "times", (int64_t)a->refused);
        log_end(&line);
        a->refused = 0;
    }
    return true;
}

static void post_reload(void *context, const struct http_request *request,
                        struct http_answer *answer)
{
    struct gateway *g = context;
    (void)request;
    if (refuse_order(g->admin, "POST /reload", answer))
        return;
    if (!atomic_exchange(&g->admin->reload_posted, true))
        loop_post(g->loop, &g->admin->reload);
    admin_say(answer, 202, "a reload is asked for; /status tells how it ended\n");
}

static void post_drain(void *context, const struct http_request *request,
                       struct http_answer *answer)
{
    struct gateway *g = context;
    (void)request;
    if (refuse_order(g->admin, "POST /drain", answer))
        return;
    if (!atomic_exchange(&g->admin->drain_posted, true))
        loop_post(g->loop, &g->admin->drain);
    admin_say(answer, 202, "a drain is asked for\n");
}

static const struct http_route routes[] = {
    {"/healthz", false, healthz},
    {"/readyz", false, readyz},
    {"/metrics", false, admin_metrics},
    {"/status", false, admin_status},
    {"/sessions", false, admin_sessions},
    {"/failures", false, admin_failures},
    {"/reload", true, post_reload},
    {"/drain", true, post_drain},
    {NULL, false, NULL},
};

/* ---- life ---- */

static void log_address(const struct admin *a)
{
    char text[NET_TEXT_MAX];
    struct log_line line;
    net_endpoint_format(&a->at, text, sizeof text);
    log_begin(&line, LOG_LEVEL_INFO, "admin");
    log_text(&line, "listen", text);
    log_end(&line);
}

/* From whoever hands over, or anew. */
static bool open_address(struct admin *a, const char *address, struct error *err)
{
    struct inherit *in = program_inherited(a->gateway->source.program);
    if (!net_endpoint_parse(&a->at, address, NET_LISTEN, err))
        return false;
    a->fd = in == NULL ? -1 : inherit_at(in, &a->at, &a->own);
    if (a->fd >= 0)
        return true;
    a->own = true;
    return listener_open(&a->at, BACKLOG, &a->fd, err);
}

bool admin_open(struct gateway *g, struct error *err)
{
    const char *address = g->snapshot->config.admin;
    if (address == NULL)
        return true;
    struct admin *a = calloc(1, sizeof *a);
    g->failures = failures_create();
    g->group.failures = g->failures;
    listing_init(&g->listing, &g->group);
    if (a == NULL || g->failures == NULL) {
        free(a);
        return error_set(err, "no memory for the admin endpoint");
    }
    g->admin = a;
    a->gateway = g;
    a->fd = -1;
    a->read_only = g->snapshot->config.admin_read_only != 0;
    a->reload.callback = reload_asked;
    a->drain.callback = drain_asked;
    if (open_address(a, address, err))
        return true;
    error_prefix(err, "admin");
    return false;
}

static bool begin(struct admin *a, struct error *err)
{
    a->http = http_server_create(a->fd, routes, a->gateway, err);
    if (a->http != NULL)
        log_address(a);
    return a->http != NULL;
}

bool admin_begin(struct gateway *g, struct error *err)
{
    const struct inherit *in = program_inherited(g->source.program);
    bool replaces = in != NULL && in->ready_fd >= 0;
    return g->admin == NULL || replaces || begin(g->admin, err);
}

void admin_serves(struct gateway *g)
{
    struct error err;
    error_init(&err);
    if (g->admin != NULL && g->admin->http == NULL && !begin(g->admin, &err))
        log_message(LOG_LEVEL_ERROR, "admin", "nothing is answered: %s", err.text);
}

void admin_give(struct gateway *g)
{
    struct admin *a = g->admin;
    if (a == NULL)
        return;
    a->given = true;
    http_server_destroy(&a->http);
}

int admin_socket(const struct gateway *g)
{
    return g->admin != NULL && g->admin->own ? g->admin->fd : -1;
}

void admin_stop(struct gateway *g)
{
    struct admin *a = g->admin;
    if (a == NULL)
        return;
    http_server_destroy(&a->http);
    if (a->fd >= 0 && a->own && a->given)
        sock_close(a->fd);
    else if (a->fd >= 0 && a->own)
        listener_close(&a->at, a->fd);
    free(a); /* the main loop turns no more, so a message on its way is not looked at */
    g->admin = NULL;
}

int admin_descriptors(const struct gateway *g)
{
    return g->admin != NULL ? HTTP_DESCRIPTORS : 0;
}
