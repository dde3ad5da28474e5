/* top_screen: the terminal. The only place that knows ncurses. One thread, one screen; a program
 * that opened it closes it before it ends, or the terminal stays as it is. */
#ifndef ESCLUSA_VIEW_TOP_SCREEN_H
#define ESCLUSA_VIEW_TOP_SCREEN_H

#include "page.h"

/* False: standard input and output are no terminal, or one that is not known. */
bool screen_open(struct error *err) WARN_UNUSED;
void screen_close(void);

/* The next key (top_state.h) that waits, 0: none does. Never waits, but for the rest of a key that
 * sends several bytes. */
int screen_key(void);
/* Nobody is there any more: standard input has ended. Ask where it can be read and has no key. */
bool screen_is_gone(void);

/* The terminal's size may be another one. */
void screen_resize(void);
size_t screen_width(void);
/* Lines of a page that are scrolled and seen. */
size_t screen_visible(const struct page *p);

/* foot: the last line. Draws nothing while the terminal takes nothing: false. */
bool screen_draw(const struct page *p, size_t scroll, const char *foot);
/* The terminal is given back, and this process stops until it is continued (SIGCONT). */
void screen_stop(void);

#endif
