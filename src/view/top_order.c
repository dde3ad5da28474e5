#include "top_order.h"

#include "model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct column {
    const char *title;
    int width, rank;
} columns[COLUMNS] = {
    [COLUMN_SERVICE] = {"SERVICE", 16, 0}, [COLUMN_STATE] = {"STATE", 5, 1},
    [COLUMN_ACTIVE] = {"SESS", 5, 2},      [COLUMN_ACCEPTED] = {"NEW/S", 5, 6},
    [COLUMN_HANDSHAKES] = {"HS/S", 5, 9},  [COLUMN_P50] = {"P50 MS", 6, 5},
    [COLUMN_P99] = {"P99 MS", 6, 4},       [COLUMN_UP] = {"UP B/S", 6, 8},
    [COLUMN_DOWN] = {"DOWN B/S", 8, 10},   [COLUMN_FAILED] = {"FAILED", 6, 3},
    [COLUMN_FAILING] = {"FAIL/S", 6, 11},  [COLUMN_END] = {"EXPIRES", 14, 7},
};

const char *top_column_title(enum top_column column)
{
    return columns[column].title;
}

int top_column_width(enum top_column column)
{
    return columns[column].width;
}

int top_column_rank(enum top_column column)
{
    return columns[column].rank;
}

enum top_side top_row_side(const struct top_row *row)
{
    return row->p99[TOP_UPSTREAM].value < 0 && row->p99[TOP_CONSUMER].value >= 0 ? TOP_CONSUMER
                                                                                 : TOP_UPSTREAM;
}

static enum tone state_cell(char dst[FORMAT_MAX], enum top_health health)
{
    static const struct {
        const char *word;
        enum tone tone;
    } words[] = {
        [TOP_UNKNOWN] = {"-", TONE_PLAIN},
        [TOP_OK] = {"ok", TONE_GOOD},
        [TOP_PART] = {"part", TONE_WARN},
        [TOP_DOWN] = {"DOWN", TONE_BAD},
    };
    (void)snprintf(dst, FORMAT_MAX, "%s", words[health].word);
    return words[health].tone;
}

/* What a cell of numbers holds; < 0: nothing. */
static double value_of(const struct top_row *row, enum top_column column)
{
    switch (column) {
    case COLUMN_SERVICE:
        break;
    case COLUMN_STATE:
        return (double)row->health;
    case COLUMN_ACTIVE:
        return row->active;
    case COLUMN_ACCEPTED:
        return row->accept_rate;
    case COLUMN_HANDSHAKES:
        return row->handshake_rate;
    case COLUMN_P50:
        return row->p50[top_row_side(row)].value;
    case COLUMN_P99:
        return row->p99[top_row_side(row)].value;
    case COLUMN_UP:
        return row->up_rate;
    case COLUMN_DOWN:
        return row->down_rate;
    case COLUMN_FAILED:
        return row->failures;
    case COLUMN_FAILING:
        return row->failure_rate;
    case COLUMN_END:
        return row->end_s == NUMBER_NONE ? TOP_NONE : (double)row->end_s;
    case COLUMNS:
        break;
    }
    return TOP_NONE;
}

enum tone top_cell(char dst[FORMAT_MAX], const struct top_row *row, enum top_column column,
                   double now_s)
{
    const double value = value_of(row, column);
    if (column == COLUMN_STATE)
        return state_cell(dst, row->health);
    if (column == COLUMN_END)
        return format_left(dst, row->end_s, now_s);
    if (column == COLUMN_P50)
        format_ms(dst, row->p50[top_row_side(row)]);
    else if (column == COLUMN_P99)
        format_ms(dst, row->p99[top_row_side(row)]);
    else if (column == COLUMN_ACTIVE || column == COLUMN_FAILED)
        format_count(dst, value);
    else
        format_number(dst, value);
    return column == COLUMN_FAILING && value > 0 ? TONE_BAD : TONE_PLAIN;
}

struct sorting {
    const struct top_model *model;
    struct top_order order;
};

static int by_name(const struct sorting *s, size_t a, size_t b)
{
    const int names = strcmp(top_service(s->model, &s->model->rows[a])->name,
                             top_service(s->model, &s->model->rows[b])->name);
    return names != 0 ? names : (a > b) - (a < b);
}

static int compare(const void *one, const void *other, void *context)
{
    const struct sorting *s = context;
    const size_t a = *(const size_t *)one, b = *(const size_t *)other;
    const enum top_column column = s->order.column;
    if (column == COLUMN_SERVICE)
        return s->order.reverse ? by_name(s, b, a) : by_name(s, a, b);
    const double x = value_of(&s->model->rows[a], column);
    const double y = value_of(&s->model->rows[b], column);
    if (x < 0 || y < 0) /* nothing to say: last, whichever way */
        return (x < 0) != (y < 0) ? (x < 0 ? 1 : -1) : by_name(s, a, b);
    int found = (x > y) - (x < y);
    if (column != COLUMN_END) /* the largest number, the worst state */
        found = -found;
    if (s->order.reverse)
        found = -found;
    return found != 0 ? found : by_name(s, a, b);
}

size_t *top_sorted(const struct top_model *m, struct top_order order)
{
    struct sorting s = {.model = m, .order = order};
    const size_t count = m->status.service_count;
    size_t *sorted = calloc(count + 1, sizeof *sorted);
    for (size_t i = 0; sorted != NULL && i < count; i++)
        sorted[i] = i;
    if (sorted != NULL)
        qsort_r(sorted, count, sizeof *sorted, compare, &s);
    return sorted;
}
