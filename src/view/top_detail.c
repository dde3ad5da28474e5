/* The page of one service. */
#include "top_pages.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define FAILURES_SHOWN 20

#define DASH(text) ((text)[0] != '\0' ? (text) : "-")

static void ago(char dst[FORMAT_MAX], int64_t then_s, double now_s)
{
    if (then_s == NUMBER_NONE)
        (void)snprintf(dst, FORMAT_MAX, "never");
    else {
        format_span(dst, now_s - (double)then_s);
        const size_t length = strlen(dst);
        (void)snprintf(dst + length, FORMAT_MAX - length, " ago");
    }
}

/* ---- upstreams ---- */

/* What it is to the others, and how it is to be had now. */
static void share(struct page *p, const struct status_upstream *u)
{
    char span[FORMAT_MAX];
    page_add(p, TONE_PLAIN, "      connections %" PRId64, u->connections > 0 ? u->connections : 0);
    if (u->weight >= 0)
        page_more(p, TONE_PLAIN, ", weight %" PRId64, u->weight);
    if (u->backup)
        page_more(p, TONE_PLAIN, ", for when no other is usable");
    if (u->check[0] != '\0')
        page_more(p, strcmp(u->check, "up") == 0 ? TONE_GOOD : TONE_BAD, ", checks say %s",
                  u->check);
    if (u->ejected_for_ms > 0) {
        format_span(span, (double)u->ejected_for_ms / 1000);
        page_more(p, TONE_BAD, ", passed over for another %s", span);
    } else if (u->ejections > 0) {
        page_more(p, TONE_PLAIN, ", passed over %" PRId64 " times so far", u->ejections);
    }
}

static void upstream(struct page *p, const struct status_upstream *u, double now_s)
{
    char good[FORMAT_MAX], bad[FORMAT_MAX], leaf[FORMAT_MAX], chain[FORMAT_MAX];
    const bool ok = strcmp(u->state, "ok") == 0;
    const bool bad_one = !ok && u->state[0] != '\0' && strcmp(u->state, "unknown") != 0;
    ago(good, u->last_ok_s, now_s);
    ago(bad, u->last_failure_s, now_s);
    page_add(p, TONE_PLAIN, "  %s  ", u->address);
    page_more(p,
              bad_one ? TONE_BAD
              : ok    ? TONE_GOOD
                      : TONE_PLAIN,
              "%s%s", DASH(u->state), u->usable ? "" : ", NOT USABLE");
    page_add(p, TONE_PLAIN, "      good %s; failed %s", good, bad);
    if (u->last_reason[0] != '\0')
        page_more(p, TONE_PLAIN, " with %s", u->last_reason);
    if (u->failures_in_row > 0)
        page_more(p, TONE_PLAIN, ", %" PRId64 " in a row", u->failures_in_row);
    if (u->weight != NUMBER_NONE || u->connections != NUMBER_NONE)
        share(p, u);
    if (u->dns_state[0] != '\0')
        page_add(p, TONE_PLAIN, "      name %s, addresses: %zu", u->dns_state, u->dns_addresses);
    if (u->leaf_end_s == NUMBER_NONE)
        return;
    const enum tone first = format_left(leaf, u->leaf_end_s, now_s);
    const enum tone second = format_left(chain, u->chain_end_s, now_s);
    page_add(p, TONE_PLAIN, "      its certificate expires in ");
    page_more(p, first, "%s", leaf);
    page_more(p, TONE_PLAIN, "; the first of its chain in ");
    page_more(p, second, "%s", chain);
}

static void upstreams(struct page *p, const struct status_service *s, double now_s)
{
    page_add(p, TONE_PLAIN, "%s", "");
    page_add(p, TONE_HEAD, "Upstreams");
    for (size_t i = 0; i < s->upstream_count; i++)
        upstream(p, &s->upstreams[i], now_s);
}

/* ---- failures ---- */

static void failure(struct page *p, const struct failure *f, double now_s)
{
    char age[FORMAT_MAX];
    format_span(age, now_s - f->time_seconds);
    page_add(p, TONE_PLAIN, "  %s ago  ", age);
    page_more(p, TONE_BAD, "%s", DASH(f->reason));
    page_more(p, TONE_PLAIN, "  phase %s  %s", DASH(f->phase), f->upstream);
    if (f->id != NUMBER_NONE)
        page_more(p, TONE_PLAIN, "  id %" PRId64, f->id);
    if (f->error[0] != '\0' || f->meaning[0] != '\0')
        page_add(p, TONE_PLAIN, "      %s", f->error[0] != '\0' ? f->error : f->meaning);
    if (f->remedy[0] != '\0')
        page_add(p, TONE_PLAIN, "      remedy: %s", f->remedy);
}

static void failed(struct page *p, const struct failures *all, const char *service, double now_s)
{
    size_t shown = 0;
    page_add(p, TONE_PLAIN, "%s", "");
    page_add(p, TONE_HEAD, "Last failures");
    if (all == NULL) {
        page_add(p, TONE_PLAIN, "  (not asked yet)");
        return;
    }
    for (size_t i = 0; i < all->count && shown < FAILURES_SHOWN; i++) {
        if (strcmp(all->items[i].service, service) != 0)
            continue;
        failure(p, &all->items[i], now_s);
        shown++;
    }
    if (shown == 0)
        page_add(p, TONE_PLAIN, "  none is remembered");
}

/* ---- certificates ---- */

static void certificates(struct page *p, const struct status_service *s, double now_s)
{
    page_add(p, TONE_PLAIN, "%s", "");
    page_add(p, TONE_HEAD, "Certificates");
    for (size_t i = 0; i < s->certificate_count; i++) {
        const struct status_certificate *c = &s->certificates[i];
        char left[FORMAT_MAX];
        const enum tone tone = format_left(left, c->end_s, now_s);
        page_add(p, TONE_PLAIN, "  ");
        page_more(p, tone, "%-14s", left);
        page_more(p, TONE_PLAIN, "  %s %s%s%s  %s", c->side, c->use,
                  c->setting[0] != '\0' ? " " : "", c->setting, c->subject);
    }
    if (s->certificate_count == 0)
        page_add(p, TONE_PLAIN, "  none is loaded");
    if (s->trust_upstream[0] != '\0')
        page_add(p, TONE_PLAIN, "  upstreams are verified against: %s", s->trust_upstream);
    if (strcmp(s->verify_upstream, "skipped") == 0)
        page_add(p, TONE_BAD, "  upstreams are NOT VERIFIED (insecure_skip_verify)");
}

/* ---- all of it ---- */

static void numbers(struct page *p, const struct top_row *row, const struct status_service *s)
{
    static const char *const sides[] = {[TOP_UPSTREAM] = "upstream", [TOP_CONSUMER] = "consumers"};
    char a[FORMAT_MAX], b[FORMAT_MAX], c[FORMAT_MAX], d[FORMAT_MAX];
    format_count(a, row->active);
    format_number(b, row->accept_rate);
    format_number(c, row->up_rate);
    format_number(d, row->down_rate);
    page_add(p, TONE_PLAIN, "sessions %s  new %s/s  up %sB/s  down %sB/s", a, b, c, d);
    if (s->max_connections > 0)
        page_more(p, TONE_PLAIN, "  connections %" PRId64 " of %" PRId64, s->connections,
                  s->max_connections);
    format_count(a, row->failures);
    format_number(b, row->failure_rate);
    page_add(p, TONE_PLAIN, "failed %s  ", a);
    page_more(p, row->failure_rate > 0 ? TONE_BAD : TONE_PLAIN, "failing %s/s", b);
    for (enum top_side side = 0; side < TOP_SIDES; side++) {
        if (row->p99[side].value < 0)
            continue;
        format_ms(a, row->p50[side]);
        format_ms(b, row->p99[side]);
        page_add(p, TONE_PLAIN, "handshakes with %s: p50 %s ms, p99 %s ms", sides[side], a, b);
    }
    if (s->warm_ready > 0 || s->warm_hits > 0 || s->warm_misses > 0)
        page_add(p, TONE_PLAIN,
                 "warm pool: %" PRId64 " ready, %" PRId64 " hits, %" PRId64 " misses",
                 s->warm_ready, s->warm_hits, s->warm_misses);
}

void top_detail(struct page *p, const struct top_model *m, const struct top_said *said,
                const char *service, const struct failures *failures)
{
    const struct top_row *row = top_model_row(m, service);
    page_add(p, TONE_HEAD, "%s", service);
    p->fixed = p->count;
    if (row == NULL) {
        page_add(p, TONE_PLAIN,
                 m->known ? "the gateway has no service of this name any more" : "no answer yet");
        return;
    }
    const struct status_service *s = top_service(m, row);
    const double now_s = top_now(m, said);
    page_add(p, TONE_PLAIN, "listens at %s%s", DASH(s->listeners),
             s->required ? "" : "; readiness does not ask it (required = false)");
    numbers(p, row, s);
    upstreams(p, s, now_s);
    failed(p, failures, service, now_s);
    certificates(p, s, now_s);
    page_fold(p, p->fixed);
}
