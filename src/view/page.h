/* page: lines of text with a tone each, and parts with a tone of their own: what a screen shows or
 * a pipe gets. Pure. All text is printable ASCII when what it is made of is. */
#ifndef ESCLUSA_VIEW_PAGE_H
#define ESCLUSA_VIEW_PAGE_H

#include <esclusa/error.h>

#include <stddef.h>

#define PAGE_LINE_MAX 1200
#define PAGE_PARTS    3

/* What a tone says is said in words, too: a terminal may have no colours. */
enum tone { TONE_PLAIN, TONE_HEAD, TONE_GOOD, TONE_WARN, TONE_BAD };

struct page_part {
    size_t from, to;
    enum tone tone;
};

struct page_line {
    char text[PAGE_LINE_MAX];
    size_t length;
    enum tone tone;
    struct page_part parts[PAGE_PARTS];
    size_t part_count;
};

struct page {
    struct page_line *lines;
    size_t count, room;
    size_t fixed;    /* the first lines, which stay while the others are scrolled */
    size_t selected; /* a line; PAGE_NO_LINE */
    size_t width;    /* where page_fold() breaks lines; 0: nowhere */
    bool failed;     /* no memory: lines are missing */
};

#define PAGE_NO_LINE ((size_t)-1)

void page_begin(struct page *p, size_t width); /* empties it; its memory is used again */
void page_fini(struct page *p);

void page_add(struct page *p, enum tone tone, const char *format, ...) PRINTF_LIKE(3, 4);
/* To the last line. */
void page_more(struct page *p, enum tone tone, const char *format, ...) PRINTF_LIKE(3, 4);
/* Breaks the lines from that one on where they are too wide, between words; what goes on is
 * indented further than the line was. Before lines are selected. */
void page_fold(struct page *p, size_t from);

/* Where to begin the lines that are scrolled, so that what is selected can be seen in so many. */
size_t page_scroll(const struct page *p, size_t scroll, size_t visible);

#endif
