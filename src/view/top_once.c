/* `esclusa top --once`: two polls, so that there are rates, and one table for a pipe or a terminal.
 */
#include "top.h"
#include "top_pages.h"
#include "top_poll.h"

#include <esclusa/clock.h>

#include <stdio.h>

static void print(const struct page *p)
{
    for (size_t i = 0; i < p->count; i++) {
        size_t length = p->lines[i].length;
        while (length > 0 && p->lines[i].text[length - 1] == ' ')
            length--;
        printf("%.*s\n", (int)length, p->lines[i].text);
    }
}

bool top_once(const struct view_words *w, struct fetch *fetch, struct error *err)
{
    struct top_poll poll;
    struct page page = {.lines = NULL};
    unsigned answers = 0;
    top_poll_begin(&poll, fetch, w->address.text, w->interval_ms);
    while (answers < 2 && !poll.trouble.set) {
        const int64_t before = poll.answered_ms;
        if (top_poll_wait(&poll, NULL, NULL, 0, 1000) && poll.answered_ms != before)
            answers++;
    }
    if (answers < 2) {
        *err = poll.trouble;
    } else {
        const struct top_said said = {
            .address = w->address.text, .trouble = "", .restarted = poll.model.restarted};
        page_begin(&page, 0);
        top_head(&page, &poll.model, &said);
        top_table(&page, &poll.model, &said, (struct top_order){.column = COLUMN_SERVICE}, "");
        if (page.failed)
            (void)error_set(err, "no memory");
        else
            print(&page);
    }
    page_fini(&page);
    top_poll_end(&poll);
    return !err->set;
}
