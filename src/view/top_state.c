#include "top_state.h"

#include <esclusa/str.h>

#include <stdlib.h>
#include <string.h>

static void select_row(struct top_state *s, const struct top_model *m, size_t row)
{
    (void)str_copy(s->selected, sizeof s->selected, m->status.services[row].name);
}

void top_state_settle(struct top_state *s, const struct top_model *m)
{
    if (s->mode == TOP_ONE || m->status.service_count == 0 || top_model_row(m, s->selected) != NULL)
        return;
    size_t *sorted = top_sorted(m, s->order);
    if (sorted != NULL)
        select_row(s, m, sorted[0]);
    free(sorted);
}

/* So many rows down, or up, and no further than the ends. */
static void move(struct top_state *s, const struct top_model *m, long by)
{
    const size_t count = m->status.service_count;
    size_t *sorted = top_sorted(m, s->order);
    for (size_t at = 0; sorted != NULL && at < count; at++) {
        if (strcmp(m->status.services[sorted[at]].name, s->selected) != 0)
            continue;
        const long wanted = (long)at + by;
        const size_t to = wanted < 0 ? 0 : (size_t)wanted < count ? (size_t)wanted : count - 1;
        select_row(s, m, sorted[to]);
        break;
    }
    free(sorted);
}

/* The page's own bounds are kept when it is drawn. */
static void scroll(struct top_state *s, long by)
{
    const long to = (long)s->scroll + by;
    s->scroll = to < 0 ? 0 : (size_t)to;
}

/* False: it is no such key. */
static bool go(struct top_state *s, const struct top_model *m, int key)
{
    const long page = s->visible > 1 ? (long)s->visible - 1 : 1, far = 1000000;
    long by = 0;
    if (key == TOP_KEY_UP || key == 'k')
        by = -1;
    else if (key == TOP_KEY_DOWN || key == 'j')
        by = 1;
    else if (key == TOP_KEY_PAGE_UP)
        by = -page;
    else if (key == TOP_KEY_PAGE_DOWN)
        by = page;
    else if (key == TOP_KEY_HOME || key == 'g')
        by = -far;
    else if (key == TOP_KEY_END || key == 'G')
        by = far;
    if (by != 0 && s->mode == TOP_LIST)
        move(s, m, by);
    else if (by != 0)
        scroll(s, by);
    return by != 0;
}

static void back(struct top_state *s)
{
    s->mode = s->mode == TOP_HELP ? s->before_help : TOP_LIST;
    s->scroll = s->mode == TOP_LIST ? s->list_scroll : 0;
}

static void enter(struct top_state *s, enum top_mode mode)
{
    if (s->mode == TOP_LIST)
        s->list_scroll = s->scroll;
    s->before_help = s->mode;
    s->mode = mode;
    s->scroll = 0;
}

bool top_state_key(struct top_state *s, const struct top_model *m, int key)
{
    const bool list = s->mode == TOP_LIST;
    if (key == 'q' || key == 'Q')
        return false;
    if (go(s, m, key))
        return true;
    if (key == '?' || key == 'h') {
        if (s->mode == TOP_HELP)
            back(s);
        else
            enter(s, TOP_HELP);
    } else if (key == TOP_KEY_BACK || key == TOP_KEY_LEFT) {
        back(s);
    } else if (list && key == TOP_KEY_ENTER && top_model_row(m, s->selected) != NULL) {
        enter(s, TOP_ONE);
    } else if (list && (key == 's' || key == '>')) {
        s->order.column = (s->order.column + 1) % COLUMNS;
    } else if (list && key == '<') {
        s->order.column = (s->order.column + COLUMNS - 1) % COLUMNS;
    } else if (list && key == 'r') {
        s->order.reverse = !s->order.reverse;
    }
    return true;
}
