/* top_order: the columns of the table, and in which order its rows stand. Pure. */
#ifndef ESCLUSA_VIEW_TOP_ORDER_H
#define ESCLUSA_VIEW_TOP_ORDER_H

#include "top_format.h"
#include "top_model.h"

enum top_column {
    COLUMN_SERVICE,
    COLUMN_STATE,
    COLUMN_ACTIVE,
    COLUMN_ACCEPTED,
    COLUMN_HANDSHAKES,
    COLUMN_P50,
    COLUMN_P99,
    COLUMN_UP,
    COLUMN_DOWN,
    COLUMN_FAILED,
    COLUMN_FAILING,
    COLUMN_END,
    COLUMNS
};

struct top_order {
    enum top_column column;
    bool reverse; /* of what is natural: a name from A, a number from the largest, an end the first
                   */
};

const char *top_column_title(enum top_column column);
int top_column_width(enum top_column column);
/* Where the screen is narrow those with the highest go first. */
int top_column_rank(enum top_column column);

/* now_s: the gateway's clock, for what is left of a certificate. */
enum tone top_cell(char dst[FORMAT_MAX], const struct top_row *row, enum top_column column,
                   double now_s);

/* Handshakes are those with the upstream, or with consumers where only these speak TLS. */
enum top_side top_row_side(const struct top_row *row);

/* The rows' numbers in that order; what has nothing to say stands last. The caller frees; NULL: no
 * memory. */
size_t *top_sorted(const struct top_model *m, struct top_order order);

#endif
