/* The head of every page, the table of services, and the help. */
#include "top_pages.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

double top_now(const struct top_model *m, const struct top_said *said)
{
    return m->status.time_seconds + said->answer_age_s;
}

/* ---- the gateway ---- */

static void head_trouble(struct page *p, const struct top_model *m, const struct top_said *said)
{
    char age[FORMAT_MAX];
    const struct status *s = &m->status;
    format_span(age, said->answer_age_s);
    if (said->trouble[0] != '\0' && m->known)
        page_add(p, TONE_BAD, "NO ANSWER for %s, trying on: %s", age, said->trouble);
    else if (said->trouble[0] != '\0')
        page_add(p, TONE_BAD, "NO ANSWER yet, trying on: %s", said->trouble);
    if (!m->known)
        return;
    if (said->restarted)
        page_add(p, TONE_WARN, "the gateway was restarted; rates begin anew");
    if (s->not_ready_count > 1)
        page_add(p, TONE_BAD, "not ready, the first of %zu causes: %s", s->not_ready_count,
                 s->not_ready);
    else if (s->not_ready_count > 0)
        page_add(p, TONE_BAD, "not ready: %s", s->not_ready);
    if (!s->reload_ok && s->reload_error[0] != '\0')
        page_add(p, TONE_WARN, "the last reload failed: %s", s->reload_error);
    if (!s->healthy)
        page_add(p, TONE_BAD, "not healthy: a loop does not turn");
}

static void head_state(struct page *p, const struct status *s)
{
    if (s->ready)
        page_more(p, TONE_GOOD, "ready");
    else if (strcmp(s->state, "ready") == 0) /* it serves, but a service has no usable upstream */
        page_more(p, TONE_BAD, "NOT READY");
    else
        page_more(p, TONE_BAD, "%s", s->state);
}

static void head_numbers(struct page *p, const struct top_model *m)
{
    char new[FORMAT_MAX], up[FORMAT_MAX], down[FORMAT_MAX], fail[FORMAT_MAX], lag[FORMAT_MAX];
    const struct quantile largest = {.value = m->status.loop_lag_seconds};
    format_number(new, m->total.accept_rate);
    format_number(up, m->total.up_rate);
    format_number(down, m->total.down_rate);
    format_number(fail, m->total.failure_rate);
    format_ms(lag, largest);
    page_add(p, TONE_PLAIN, "sessions %" PRId64, m->status.active > 0 ? m->status.active : 0);
    if (m->status.max_sessions > 0)
        page_more(p, TONE_PLAIN, " of %" PRId64, m->status.max_sessions);
    page_more(p, TONE_PLAIN, "  new %s/s  up %sB/s  down %sB/s  ", new, up, down);
    page_more(p, m->total.failure_rate > 0 ? TONE_BAD : TONE_PLAIN, "failing %s/s", fail);
    page_more(p, TONE_PLAIN, "  loop lag %s%s", lag, lag[0] == '-' ? "" : " ms");
}

static void head_end(struct page *p, const struct top_model *m, const struct top_said *said)
{
    char left[FORMAT_MAX];
    const enum tone tone = format_left(left, m->total.end_s, top_now(m, said));
    page_add(p, TONE_PLAIN, "soonest expiry ");
    page_more(p, tone, "%s", left);
    if (m->total.end_s != NUMBER_NONE)
        page_more(p, TONE_PLAIN, "  %s: %s", top_service(m, &m->total)->name, m->total.end_of);
}

void top_head(struct page *p, const struct top_model *m, const struct top_said *said)
{
    char uptime[FORMAT_MAX];
    const struct status *s = &m->status;
    page_add(p, TONE_PLAIN, "esclusa");
    if (m->known) {
        format_span(uptime, s->uptime_seconds + said->answer_age_s);
        page_more(p, TONE_PLAIN, " %s  %s  generation %" PRId64 "  up %s  ", s->version,
                  said->address, s->generation > 0 ? s->generation : 0, uptime);
        head_state(p, s);
        head_numbers(p, m);
        head_end(p, m, said);
    } else {
        page_more(p, TONE_PLAIN, "  %s", said->address);
    }
    head_trouble(p, m, said);
    page_add(p, TONE_PLAIN, "%s", "");
    page_fold(p, 0);
    p->fixed = p->count;
}

/* ---- the table ---- */

/* What a column takes, with what stands between it and the one before. */
static size_t taken(enum top_column column, size_t name)
{
    return column == COLUMN_SERVICE ? name + 2 : (size_t)top_column_width(column) + 2;
}

/* Leaves columns out until the others fit: never that of the name, nor the one that it is sorted
 * by. */
static void choose(bool shown[COLUMNS], size_t name, size_t width, enum top_column sorted)
{
    size_t all = 0;
    for (enum top_column c = 0; c < COLUMNS; c++) {
        shown[c] = true;
        all += taken(c, name);
    }
    while (width > 0 && all > width) {
        int rank = 0;
        enum top_column worst = COLUMN_SERVICE;
        for (enum top_column c = 0; c < COLUMNS; c++) {
            if (shown[c] && c != sorted && top_column_rank(c) > rank) {
                rank = top_column_rank(c);
                worst = c;
            }
        }
        if (worst == COLUMN_SERVICE)
            return;
        shown[worst] = false;
        all -= taken(worst, name);
    }
}

static size_t widest_name(const struct top_model *m, size_t width)
{
    const size_t most = width > 0 && width < 120 ? 24 : 48;
    size_t widest = strlen(top_column_title(COLUMN_SERVICE)) + 1;
    for (size_t i = 0; i < m->status.service_count; i++) {
        const size_t length = strlen(m->status.services[i].name);
        widest = length > widest ? length : widest;
    }
    return widest < most ? widest : most;
}

static void titles(struct page *p, const bool shown[COLUMNS], size_t name, struct top_order order)
{
    page_add(p, TONE_HEAD, "%s", "");
    for (enum top_column c = 0; c < COLUMNS; c++) {
        char title[FORMAT_MAX];
        (void)snprintf(title, sizeof title, "%s%s", top_column_title(c),
                       c != order.column ? ""
                       : order.reverse   ? "^"
                                         : "*");
        if (!shown[c])
            continue;
        if (c == COLUMN_SERVICE)
            page_more(p, TONE_HEAD, "  %-*s", (int)name, title);
        else if (c == COLUMN_STATE || c == COLUMN_END)
            page_more(p, TONE_HEAD, "  %-*s", top_column_width(c), title);
        else
            page_more(p, TONE_HEAD, " %*s", top_column_width(c) + 1, title);
    }
}

static void service_line(struct page *p, const struct top_model *m, const struct top_row *row,
                         const bool shown[COLUMNS], size_t name, bool selected, double now_s)
{
    page_add(p, TONE_PLAIN, "%s%-*.*s", selected ? "> " : "  ", (int)name, (int)name,
             top_service(m, row)->name);
    if (selected)
        p->selected = p->count - 1;
    for (enum top_column c = COLUMN_STATE; c < COLUMNS; c++) {
        char cell[FORMAT_MAX];
        const enum tone tone = top_cell(cell, row, c, now_s);
        const int width = top_column_width(c);
        const int blank = width > (int)strlen(cell) ? width - (int)strlen(cell) : 0;
        const bool left = c == COLUMN_STATE || c == COLUMN_END;
        if (!shown[c])
            continue;
        page_more(p, TONE_PLAIN, "  %*s", left ? 0 : blank, "");
        page_more(p, tone, "%s", cell);
        if (c != COLUMN_END)
            page_more(p, TONE_PLAIN, "%*s", left ? blank : 0, "");
    }
}

void top_table(struct page *p, const struct top_model *m, const struct top_said *said,
               struct top_order order, const char *selected)
{
    bool shown[COLUMNS];
    if (!m->known)
        return;
    const size_t name = widest_name(m, p->width);
    size_t *sorted = top_sorted(m, order);
    choose(shown, name, p->width, order.column);
    titles(p, shown, name, order);
    p->fixed = p->count;
    for (size_t i = 0; sorted != NULL && i < m->status.service_count; i++) {
        const struct top_row *row = &m->rows[sorted[i]];
        service_line(p, m, row, shown, name, strcmp(top_service(m, row)->name, selected) == 0,
                     top_now(m, said));
    }
    p->failed = p->failed || sorted == NULL;
    free(sorted);
}

/* ---- the help ---- */

void top_help(struct page *p)
{
    static const char *const lines[] = {
        "q            quit",
        "Up Down j k  select a service; scroll",
        "PgUp PgDn    a page; Home and End: the first, the last",
        "Enter        all about the service that is selected",
        "Esc          back (also Backspace, and Left)",
        "s            sort by the next column; < and > by the one to the left, the right",
        "r            reverse the order",
        "?            this help",
        "",
        "* and ^      sorted by this column; and reversed",
        "STATE        ok; part: an upstream fails or is passed over; DOWN: none usable; -: idle",
        "NEW/S        consumers accepted a second; HS/S: good TLS handshakes, both sides",
        "P50, P99     of TLS handshakes with the upstream (or consumers, if only they speak TLS)",
        "             in the last interval that had any; at first since the start",
        "UP, DOWN     payload from and to consumers",
        "FAILED       sessions that failed since the start",
        "EXPIRES      the first end of its certificates, loaded or shown by an upstream:",
        "             ! in less than 14 days, !! in less than 3",
    };
    page_add(p, TONE_HEAD, "esclusa top: keys");
    p->fixed = p->count;
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++)
        page_add(p, TONE_PLAIN, "%s", lines[i]);
    page_fold(p, p->fixed);
}
