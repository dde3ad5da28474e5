/* top: `esclusa top`. top_run() is at a terminal until it is told to end; top_once() prints one
 * table. err: why it could not. */
#ifndef ESCLUSA_VIEW_TOP_H
#define ESCLUSA_VIEW_TOP_H

#include "fetch.h"
#include "words.h"

bool top_run(const struct view_words *w, struct fetch *fetch, struct error *err) WARN_UNUSED;
bool top_once(const struct view_words *w, struct fetch *fetch, struct error *err) WARN_UNUSED;

#endif
