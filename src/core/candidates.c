#include "candidates.h"

#include "balance.h"
#include "rate.h"
#include "stats.h"

#include <esclusa/clock.h>
#include <esclusa/log.h>
#include <esclusa/random.h>

#include <string.h>

#define ALARM_EVERY_MS 10000

/* ---- the order ---- */

static bool is_usable(const struct upstream *u, int64_t now_ms)
{
    return u->stats == NULL || !stats_passed_over(u->stats, now_ms);
}

static uint64_t source_of(const struct net_addr *a)
{
    uint8_t bytes[16] = {0};
    if (a != NULL && a->u.sa.sa_family == AF_INET6)
        memcpy(bytes, &a->u.in6.sin6_addr, sizeof bytes);
    else if (a != NULL && a->u.sa.sa_family == AF_INET)
        memcpy(bytes, &a->u.in.sin_addr, sizeof a->u.in.sin_addr);
    uint64_t half[2];
    memcpy(half, bytes, sizeof half);
    return random_mix(half[0]) ^ random_mix(half[1] + 1);
}

void candidates_order(struct candidates *c, struct worker *w, const struct service *service,
                      const struct net_addr *source)
{
    const int64_t now = loop_now(w->loop);
    struct balance_item items[UPSTREAMS_MAX];
    struct net_addr plain;
    if (source != NULL) { /* the same consumer through an IPv6 socket */
        plain = *source;
        net_addr_unmap(&plain);
        source = &plain;
    }
    struct balance_by by = {.how = (enum balance)service->config->balance,
                            .source = source_of(source),
                            .random = random_next(&w->random)};
    by.ticket = service->stats == NULL ? by.random : atomic_fetch_add(&service->stats->turns, 1);
    c->count = service->upstream_count;
    for (size_t i = 0; i < c->count; i++) {
        const struct upstream *u = &service->upstreams[i];
        items[i] = (struct balance_item){
            .weight = u->weight,
            .active = u->stats == NULL ? 0 : atomic_load(&u->stats->connections),
            .mark = u->mark,
            .usable = is_usable(u, now),
            .backup = u->backup,
        };
    }
    c->usable = balance_order(&by, items, c->count, c->order);
}

/* Nobody is sent back to one that has yet to show that it answers again. */
static bool answers(const struct upstream *u, int64_t now_ms)
{
    return is_usable(u, now_ms) &&
           (u->stats == NULL || atomic_load(&u->stats->health.failed_in_row) == 0);
}

bool candidate_outranked(const struct service *service, const struct upstream *u, int64_t now_ms)
{
    if (service->upstream_count == 1)
        return false;
    if (!is_usable(u, now_ms))
        return true;
    for (const struct upstream *v = service->upstreams; v != u; v++) {
        const bool before = service->config->balance == BALANCE_FAILOVER || v->backup != u->backup;
        if (before && answers(v, now_ms))
            return true;
    }
    return false;
}

bool candidate_may_try(const struct upstream *u, int64_t now_ms, bool *trying_r)
{
    *trying_r = false;
    return u->stats == NULL || eject_may_try(&u->stats->eject, now_ms, trying_r);
}

/* ---- what came of it ---- */

static void begin_line(struct log_line *line, enum log_level level, const char *event,
                       const struct candidate_try *t)
{
    log_begin(line, level, event);
    log_text(line, "service", t->service->config->name);
    log_text(line, "upstream", t->upstream->text);
}

void candidate_answered(const struct candidate_try *t, enum reason reason)
{
    struct stats_upstream *u = t->upstream->stats;
    stats_upstream_tried(u, reason);
    if (u == NULL || !eject_answered(&u->eject, t->began_ms, t->now_ms, t->trying))
        return;
    struct log_line line;
    begin_line(&line, LOG_LEVEL_INFO, "upstream_back", t);
    log_end(&line);
}

void candidate_missed(const struct candidate_try *t, enum reason reason, const char *error)
{
    const struct service_config *c = t->service->config;
    struct stats_upstream *u = t->upstream->stats;
    stats_upstream_tried(u, reason);
    if (u == NULL)
        return;
    /* Where there is no other, there is nothing to be gained. */
    const struct eject_rules rules = {
        .after = t->service->upstream_count > 1 ? c->eject_after : 0,
        .least_ms = c->eject_time,
        .max_ms = c->eject_max > c->eject_time ? c->eject_max : c->eject_time,
    };
    const int64_t ms = eject_missed(&u->eject, &rules, t->began_ms, t->now_ms, t->trying);
    if (ms == 0)
        return;
    struct log_line line;
    begin_line(&line, LOG_LEVEL_WARN, "upstream_ejected", t);
    log_number(&line, "for_ms", ms);
    log_text(&line, "reason", reason_word(reason));
    log_text(&line, "error", error);
    log_text(&line, "remedy",
             "find out why it does not answer; the others have its consumers until it does");
    log_end(&line);
}

void candidate_undecided(const struct candidate_try *t, enum reason reason)
{
    if (t->upstream->stats == NULL)
        return;
    if (reason != REASON_NONE)
        stats_upstream_tried(t->upstream->stats, reason);
    eject_undecided(&t->upstream->stats->eject, t->trying);
}

void candidate_alarm(const struct service *service, const struct upstream *u,
                     const struct net_addr *address, enum reason reason, const char *error,
                     const char *remedy)
{
    if (u->stats == NULL)
        return;
    atomic_fetch_add(&u->stats->alarms, 1);
    if (!rate_once(&u->stats->alarm_told_ms, ALARM_EVERY_MS, clock_ms()))
        return;
    const struct candidate_try t = {.service = service, .upstream = u};
    char where[NET_TEXT_MAX];
    struct log_line line;
    net_addr_format(address, where, sizeof where);
    begin_line(&line, LOG_LEVEL_ERROR, "upstream_alarm", &t);
    log_text(&line, "address", where);
    log_text(&line, "reason", reason_word(reason));
    log_text(&line, "error", error);
    log_text(&line, "remedy", remedy);
    log_end(&line);
}

/* ---- how busy ---- */

void candidate_enter(struct stats_upstream *u)
{
    if (u != NULL)
        atomic_fetch_add_explicit(&u->connections, 1, memory_order_relaxed);
}

void candidate_leave(struct stats_upstream **u)
{
    if (*u != NULL)
        atomic_fetch_sub_explicit(&(*u)->connections, 1, memory_order_relaxed);
    *u = NULL;
}
