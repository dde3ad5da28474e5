/* top_state: what a person at the keys has chosen. Pure. */
#ifndef ESCLUSA_VIEW_TOP_STATE_H
#define ESCLUSA_VIEW_TOP_STATE_H

#include "top_order.h"
#include "top_pages.h"

enum top_key { /* what is a character is itself: below 256 */
               TOP_KEY_NONE = 0,
               TOP_KEY_UP = 256,
               TOP_KEY_DOWN,
               TOP_KEY_LEFT,
               TOP_KEY_PAGE_UP,
               TOP_KEY_PAGE_DOWN,
               TOP_KEY_HOME,
               TOP_KEY_END,
               TOP_KEY_ENTER,
               TOP_KEY_BACK,
};

enum top_mode { TOP_LIST, TOP_ONE, TOP_HELP };

struct top_state {
    enum top_mode mode, before_help;
    struct top_order order;
    char selected[128]; /* a service's name: it stays selected wherever it comes to stand */
    size_t scroll;      /* of the page: lines above what is seen */
    size_t list_scroll; /* that of the list while another page is shown */
    size_t visible;     /* lines that are scrolled and seen: as it was drawn last */
};

/* One of those that are there is selected. */
void top_state_settle(struct top_state *s, const struct top_model *m);
/* False: it is to end. */
bool top_state_key(struct top_state *s, const struct top_model *m, int key);

#endif
