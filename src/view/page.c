#include "page.h"

#include <esclusa/str.h>

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINES_MAX ((size_t)100000)

void page_begin(struct page *p, size_t width)
{
    p->count = 0;
    p->fixed = 0;
    p->selected = PAGE_NO_LINE;
    p->width = width;
    p->failed = false;
}

void page_fini(struct page *p)
{
    free(p->lines);
    memset(p, 0, sizeof *p);
}

static struct page_line *new_line(struct page *p, enum tone tone)
{
    if (p->count == p->room) {
        const size_t room = p->room == 0 ? 64 : p->room * 2;
        struct page_line *lines = room > LINES_MAX ? NULL : realloc(p->lines, room * sizeof *lines);
        p->failed = p->failed || lines == NULL;
        if (lines == NULL)
            return NULL;
        p->lines = lines;
        p->room = room;
    }
    struct page_line *line = &p->lines[p->count++];
    line->text[0] = '\0';
    line->length = 0;
    line->part_count = 0;
    line->tone = tone;
    return line;
}

static void PRINTF_LIKE(2, 0) append(struct page_line *line, const char *format, va_list args)
{
    const size_t room = sizeof line->text - line->length;
    const int length = vsnprintf(line->text + line->length, room, format, args);
    if (length > 0)
        line->length += (size_t)length < room ? (size_t)length : room - 1;
}

void page_add(struct page *p, enum tone tone, const char *format, ...)
{
    struct page_line *line = new_line(p, tone);
    va_list args;
    va_start(args, format);
    if (line != NULL)
        append(line, format, args);
    va_end(args);
}

void page_more(struct page *p, enum tone tone, const char *format, ...)
{
    va_list args;
    if (p->count == 0)
        return;
    struct page_line *line = &p->lines[p->count - 1];
    const size_t from = line->length;
    va_start(args, format);
    append(line, format, args);
    va_end(args);
    if (tone != line->tone && line->part_count < PAGE_PARTS)
        line->parts[line->part_count++] =
            (struct page_part){.from = from, .to = line->length, .tone = tone};
}

/* How much of the text goes on a line of that many characters. */
static size_t fitting(const char *text, size_t room)
{
    const size_t length = strlen(text), blank = strspn(text, " ");
    if (length <= room)
        return length;
    for (size_t at = room; at > blank; at--) {
        if (text[at] == ' ')
            return at;
    }
    return room; /* one long word */
}

/* The parts of a line that are on a piece of it, which begins with shift blanks. */
static void take_parts(struct page_line *piece, const struct page_line *line, size_t from,
                       size_t to, size_t shift)
{
    for (size_t i = 0; i < line->part_count; i++) {
        const struct page_part *part = &line->parts[i];
        const size_t first = part->from > from ? part->from : from;
        const size_t last = part->to < to ? part->to : to;
        if (first < last)
            piece->parts[piece->part_count++] = (struct page_part){
                .from = first - from + shift, .to = last - from + shift, .tone = part->tone};
    }
}

static void fold_line(struct page *p, const struct page_line *line)
{
    const size_t indent = strspn(line->text, " ") + 2;
    size_t at = 0, shift = 0;
    do {
        const size_t room = p->width > shift + 10 ? p->width - shift : 10;
        const size_t length = fitting(line->text + at, room);
        const size_t before = p->count;
        page_add(p, line->tone, "%*s%.*s", (int)shift, "", (int)length, line->text + at);
        if (p->count == before)
            return; /* no memory */
        take_parts(&p->lines[before], line, at, at + length, shift);
        at += length;
        at += strspn(line->text + at, " ");
        shift = indent;
    } while (line->text[at] != '\0');
}

void page_fold(struct page *p, size_t from)
{
    struct page folded = {.width = p->width};
    bool wide = false;
    for (size_t i = from; i < p->count; i++)
        wide = wide || p->lines[i].length > p->width;
    if (p->width == 0 || !wide)
        return;
    for (size_t i = from; i < p->count; i++)
        fold_line(&folded, &p->lines[i]);
    p->failed = p->failed || folded.failed;
    p->count = from;
    for (size_t i = 0; i < folded.count; i++) {
        struct page_line *line = new_line(p, TONE_PLAIN);
        if (line != NULL)
            *line = folded.lines[i];
    }
    page_fini(&folded);
}

size_t page_scroll(const struct page *p, size_t scroll, size_t visible)
{
    const size_t lines = p->count - p->fixed;
    const size_t most = lines > visible ? lines - visible : 0;
    if (p->selected != PAGE_NO_LINE && p->selected >= p->fixed && visible > 0) {
        const size_t line = p->selected - p->fixed;
        if (line < scroll)
            scroll = line;
        else if (line >= scroll + visible)
            scroll = line - visible + 1;
    }
    return scroll < most ? scroll : most;
}
