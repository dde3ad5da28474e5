#include "top_model.h"

#include "model.h"
#include "top_counters.h"

#include <esclusa/str.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Between the two answers of one poll, when they are of one process. */
#define SAME_START_S 0.5

/* ---- the first end ---- */

static void take_end(struct top_row *row, int64_t end_s, const char *what, const char *which)
{
    size_t length = 0;
    if (end_s == NUMBER_NONE || (row->end_s != NUMBER_NONE && end_s >= row->end_s))
        return;
    row->end_s = end_s;
    (void)str_append(row->end_of, sizeof row->end_of, &length, "%s %s", what, which);
}

/* An old anchor harms nobody as long as another of the same setting is good. */
static bool is_spare(const struct status_service *s, const struct status_certificate *c,
                     double now_s)
{
    if (strcmp(c->use, "anchor") != 0 || (double)c->end_s > now_s)
        return false;
    for (size_t i = 0; i < s->certificate_count; i++) {
        const struct status_certificate *other = &s->certificates[i];
        if (strcmp(other->use, "anchor") == 0 && strcmp(other->setting, c->setting) == 0 &&
            (double)other->end_s > now_s)
            return true;
    }
    return false;
}

/* A revocation list is made anew every few days: its end is no news until it has passed. */
static void find_end(struct top_row *row, const struct status_service *s, double now_s)
{
    row->end_s = NUMBER_NONE;
    for (size_t i = 0; i < s->certificate_count; i++) {
        const struct status_certificate *c = &s->certificates[i];
        const bool list = strcmp(c->use, "crl") == 0;
        if (!is_spare(s, c, now_s) && !(list && (double)c->end_s > now_s))
            take_end(row, c->end_s, list ? "crl" : c->setting, c->subject);
    }
    for (size_t i = 0; i < s->upstream_count; i++) {
        take_end(row, s->upstreams[i].leaf_end_s, "upstream", s->upstreams[i].address);
        take_end(row, s->upstreams[i].chain_end_s, "chain of", s->upstreams[i].address);
    }
}

/* ---- a row ---- */

static enum top_health health_of(const struct status_service *s)
{
    size_t bad = 0, ok = 0;
    for (size_t i = 0; i < s->upstream_count; i++) {
        const char *state = s->upstreams[i].state;
        ok += strcmp(state, "ok") == 0;
        /* "failing", "ejected", "down", and what may come */
        bad += strcmp(state, "ok") != 0 && strcmp(state, "unknown") != 0 && state[0] != '\0';
    }
    if (!s->usable)
        return TOP_DOWN;
    if (bad > 0)
        return TOP_PART;
    return ok > 0 ? TOP_OK : TOP_UNKNOWN;
}

static double gained(double now, double before, double seconds)
{
    return seconds > 0 && now >= before && before >= 0 ? (now - before) / seconds : TOP_NONE;
}

static double number(int64_t value)
{
    return value == NUMBER_NONE ? TOP_NONE : (double)value;
}

static void quantiles(struct top_row *row, enum top_side side, const struct top_counters *now,
                      const struct top_counters *before, const struct top_row *row_before)
{
    struct histogram since;
    if (!histogram_since(&now->handshakes[side], before != NULL ? &before->handshakes[side] : NULL,
                         &since))
        since = now->handshakes[side];
    if (histogram_total(&since) > 0 || row_before == NULL) {
        row->p50[side] = histogram_quantile(&since, 0.5);
        row->p99[side] = histogram_quantile(&since, 0.99);
    } else { /* nobody came: what was known is as true as it was */
        row->p50[side] = row_before->p50[side];
        row->p99[side] = row_before->p99[side];
    }
}

static void clear(struct top_row *row)
{
    const struct quantile none = {.value = -1};
    memset(row, 0, sizeof *row);
    row->accept_rate = row->handshake_rate = row->up_rate = row->down_rate = row->failure_rate =
        TOP_NONE;
    row->end_s = NUMBER_NONE;
    for (size_t i = 0; i < TOP_SIDES; i++)
        row->p50[i] = row->p99[i] = none;
}

/* before: the model of the same process; NULL: none. */
static void fill(struct top_row *row, const struct top_model *m, const struct top_model *before)
{
    const struct status_service *s = top_service(m, row);
    const struct top_counters *now = top_counters_of(m->counters, m->counter_count, s->name);
    const struct top_row *then = before != NULL ? top_model_row(before, s->name) : NULL;
    const struct status_service *old = then != NULL ? top_service(before, then) : NULL;
    const struct top_counters *counted =
        then != NULL ? top_counters_of(before->counters, before->counter_count, s->name) : NULL;
    row->health = health_of(s);
    row->active = number(s->active);
    row->failures = now != NULL ? now->failures : TOP_NONE;
    find_end(row, s, m->status.time_seconds);
    if (now != NULL) {
        for (enum top_side side = 0; side < TOP_SIDES; side++)
            quantiles(row, side, now, counted, then);
    }
    if (old == NULL)
        return;
    const double seconds = m->status.uptime_seconds - before->status.uptime_seconds;
    row->accept_rate = gained(number(s->accepted), number(old->accepted), seconds);
    row->up_rate = gained(number(s->bytes_up), number(old->bytes_up), seconds);
    row->down_rate = gained(number(s->bytes_down), number(old->bytes_down), seconds);
    if (now == NULL || counted == NULL)
        return;
    row->failure_rate = gained(now->failures, counted->failures, seconds);
    row->handshake_rate = gained(now->handshakes_total, counted->handshakes_total, seconds);
}

/* ---- the whole ---- */

static void add(double *sum, double value)
{
    if (value >= 0)
        *sum = *sum >= 0 ? *sum + value : value;
}

static void total_up(struct top_model *m)
{
    struct top_row *t = &m->total;
    clear(t);
    t->failures = TOP_NONE;
    t->active = number(m->status.active);
    for (size_t i = 0; i < m->status.service_count; i++) {
        const struct top_row *row = &m->rows[i];
        add(&t->accept_rate, row->accept_rate);
        add(&t->handshake_rate, row->handshake_rate);
        add(&t->up_rate, row->up_rate);
        add(&t->down_rate, row->down_rate);
        add(&t->failure_rate, row->failure_rate);
        add(&t->failures, row->failures);
        if (row->end_s != NUMBER_NONE && (t->end_s == NUMBER_NONE || row->end_s < t->end_s)) {
            t->end_s = row->end_s;
            t->service = row->service;
            (void)str_copy(t->end_of, sizeof t->end_of, row->end_of);
        }
    }
}

static bool same_process(const struct status *a, const struct status *b)
{
    return a->pid == b->pid && fabs(a->started_seconds - b->started_seconds) < SAME_START_S &&
           a->uptime_seconds >= b->uptime_seconds;
}

bool top_model_take(struct top_model *m, const char *status, const char *metrics, struct error *err)
{
    struct top_model now = {.known = true};
    double started = -1;
    if (!model_status(&now.status, status, err))
        return false;
    if (!top_counters_read(metrics, &now.counters, &now.counter_count, &started, err)) {
        top_model_fini(&now);
        return false;
    }
    now.rows = calloc(now.status.service_count + 1, sizeof *now.rows);
    if (now.rows == NULL || fabs(started - now.status.started_seconds) > SAME_START_S) {
        const bool memory = now.rows == NULL;
        top_model_fini(&now);
        return memory ? error_set(err, "no memory")
                      : error_set(err, "the gateway was restarted in between");
    }
    const bool same = m->known && same_process(&now.status, &m->status);
    now.restarted = m->known && !same;
    for (size_t i = 0; i < now.status.service_count; i++) {
        clear(&now.rows[i]);
        now.rows[i].service = i;
        fill(&now.rows[i], &now, same ? m : NULL);
    }
    total_up(&now);
    top_model_fini(m);
    *m = now;
    return true;
}

const struct top_row *top_model_row(const struct top_model *m, const char *service)
{
    for (size_t i = 0; i < m->status.service_count; i++) {
        if (strcmp(m->status.services[i].name, service) == 0)
            return &m->rows[i];
    }
    return NULL;
}

void top_model_fini(struct top_model *m)
{
    model_status_free(&m->status);
    free(m->counters);
    free(m->rows);
    memset(m, 0, sizeof *m);
}
