/* What is known of names, for /status and /metrics. */
#include "admin.h"
#include "metrics.h"
#include "names.h"

#include <stdio.h>

static const char *state_of(const struct resolver_view *view)
{
    if (view->count == 0)
        return "unknown";
    return view->stale ? "stale" : "fresh";
}

/* Whether there is something to say. */
static bool view_of(const struct gateway *g, const struct net_endpoint *e,
                    struct resolver_view *view)
{
    return e->scheme != NET_UNIX && !net_addr_from_literal(NULL, e->host, 0) &&
           resolver_view(g->group.resolver, e->host, e->port, view);
}

void names_put(struct json *j, const struct gateway *g, const struct upstream *u)
{
    struct resolver_view view = {.count = 0, .failed = RESOLVE_OK};
    const bool known = view_of(g, &u->endpoint, &view);
    json_open(j, "dns", '{');
    json_text(j, "state", known ? state_of(&view) : NULL);
    json_open(j, "addresses", '[');
    for (size_t i = 0; i < view.count; i++) {
        char text[NET_TEXT_MAX];
        net_addr_format(&view.addresses[i], text, sizeof text);
        json_text(j, NULL, text);
    }
    json_close(j, ']');
    if (view.count > 0)
        json_seconds(j, "age_seconds", view.age_ms * 1000);
    else
        json_null(j, "age_seconds");
    json_text(j, "failed", view.failed != RESOLVE_OK ? resolve_reason_word(view.failed) : NULL);
    json_close(j, '}');
}

void metrics_names(struct metrics *m, const struct metric_row *row)
{
    struct resolver_counts c;
    resolver_count(m->g->group.resolver, &c);
    const uint64_t values[] = {
        [NAMES_LOOKUPS] = c.lookups, [NAMES_KEPT] = c.kept,         [NAMES_STALE] = c.stale,
        [NAMES_WAITED] = c.waited,   [NAMES_NEGATIVE] = c.negative, [NAMES_KNOWN] = c.names};
    metrics_sample(m, row->name, row->labels, values[row->which]);
}

void metrics_names_failed(struct metrics *m, const struct metric_row *row)
{
    struct resolver_counts c;
    resolver_count(m->g->group.resolver, &c);
    for (int reason = RESOLVE_OK + 1; reason < RESOLVE_REASON_COUNT; reason++) {
        char labels[64];
        (void)snprintf(labels, sizeof labels, "reason=\"%s\"",
                       resolve_reason_word((enum resolve_reason)reason));
        metrics_sample(m, row->name, labels, c.ended[reason]);
    }
}
