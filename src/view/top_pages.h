/* top_pages: what `esclusa top` shows, as pages of text: the head, the table of services, one
 * service, the help. Pure. */
#ifndef ESCLUSA_VIEW_TOP_PAGES_H
#define ESCLUSA_VIEW_TOP_PAGES_H

#include "model.h"
#include "page.h"
#include "top_order.h"

/* What stands beside the model. */
struct top_said {
    const char *address;
    const char *trouble; /* why the last poll got no answer; "": it got one */
    double answer_age_s; /* how old the model is */
    bool restarted;      /* not long ago */
};

/* The gateway's lines. They are the page's fixed ones. */
void top_head(struct page *p, const struct top_model *m, const struct top_said *said);
/* The titles, and a line a service in that order. width: of the screen, for which columns are left
 * out; 0: none is. selected: the name of a service; "": none, and no mark. */
void top_table(struct page *p, const struct top_model *m, const struct top_said *said,
               struct top_order order, const char *selected);
/* failures: NULL where they are not there yet. */
void top_detail(struct page *p, const struct top_model *m, const struct top_said *said,
                const char *service, const struct failures *failures);
void top_help(struct page *p);

/* The gateway's clock now. */
double top_now(const struct top_model *m, const struct top_said *said);

#endif
