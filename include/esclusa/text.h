/* text: a text that grows, for answers made at leisure. Owner: one thread; nothing blocks. Not for
 * a path where memory may not be asked for. Starts zeroed. */
#ifndef ESCLUSA_TEXT_H
#define ESCLUSA_TEXT_H

#include <esclusa/error.h>

#include <stddef.h>

struct text {
    char *data; /* terminated; NULL while nothing was added */
    size_t length, capacity;
    bool failed; /* no memory: what was added since is lost, and so should be the whole */
};

void text_add(struct text *t, const char *format, ...) PRINTF_LIKE(2, 3);
void text_put(struct text *t, const char *bytes, size_t length);
void text_fini(struct text *t); /* empty and usable afterwards */

#endif
